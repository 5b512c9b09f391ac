"""Writing of files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from photovax.errors import OutputExists, SaveError
from photovax.pictures.pillow import printable_name

__all__ = [
    "as_save_error",
    "check_free",
    "check_writable",
    "remove_leftovers",
    "write_atomically",
    "write_bytes",
    "write_text",
]

_TEMPORARY = ".photovax-"


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Refuse a file that exists and must not be replaced.

    Raises:
        OutputExists: If it does.
    """
    if not overwrite and os.path.lexists(path):
        raise _exists(path)


def check_writable(path: Path) -> None:
    """Refuse a file whose folder takes no new files.

    Raises:
        SaveError: If the disk refuses one.
    """
    temporary = _temporary(path)
    with as_save_error(path):
        temporary.open("xb").close()
        temporary.unlink()


def write_text(text: str, path: Path, *, overwrite: bool = False) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Raises:
        OutputExists: If the file exists and must not be replaced.
        SaveError: If the disk refuses the file: no such folder, no space, not allowed.
    """
    write_bytes(text.encode(), path, overwrite=overwrite)


def write_bytes(
    data: bytes,
    path: Path,
    *,
    overwrite: bool = False,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a file, whole or not at all; ``verify`` is as for ``write_photo``.

    Raises:
        OutputExists: If the file exists and must not be replaced.
        SaveError: If the disk refuses the file: no such folder, no space, not allowed.
    """
    write_atomically(path, lambda file: file.write(data), overwrite=overwrite, verify=verify)


def write_atomically(
    path: Path,
    write: Callable[[BinaryIO], object],
    *,
    overwrite: bool,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a temporary file in the same folder, verify it, then rename it to ``path``."""
    temporary = _temporary(path)
    try:
        with as_save_error(path), temporary.open("x+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
        with as_save_error(path):
            _put_in_place(temporary, path, overwrite=overwrite)
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_leftovers(folder: Path, *, seconds: float) -> None:
    """Remove temporary files of processes that were killed.

    Args:
        folder: Folder, whose own folders are not entered.
        seconds: Age from which a file is left over; younger ones may be in use.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_TEMPORARY):
                with suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > seconds:
                        os.unlink(entry.path)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}{path.suffix.lower()}")


def _exists(path: Path) -> OutputExists:
    return OutputExists(
        f"{printable_name(path)}: exists already", hint="to replace it: --overwrite"
    )


@contextmanager
def as_save_error(path: Path | str) -> Iterator[None]:
    """Turn what the disk or an encoder raises into one line that names the file."""
    try:
        yield
    except (OSError, ValueError, TypeError, OverflowError, MemoryError, struct.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(why.split()) or type(error).__name__
        raise SaveError(f"{printable_name(path)}: cannot be written: {reason}") from error


def _put_in_place(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
    else:
        try:
            path.hardlink_to(temporary)  # unlike a rename, it never replaces a file
        except FileExistsError as error:
            raise _exists(path) from error
        except (OSError, NotImplementedError):  # the disk has no hard links
            _claim_and_replace(temporary, path)
    with suppress(OSError):  # not every system opens folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _claim_and_replace(temporary: Path, path: Path) -> None:
    """Claim the name with an empty file, which only one process can do, and replace that."""
    try:
        path.open("xb").close()
    except FileExistsError as error:
        raise _exists(path) from error
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink()
        raise
