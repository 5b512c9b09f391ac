"""Locks on the provider's files and folders, also between machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from photovax.errors import SaveError

__all__ = ["locked"]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file or folder, which need not exist yet. Waits for other holders.

    Data that is to be changed must be read under the lock.

    Raises:
        SaveError: If the lock cannot be created.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire()
    except OSError as error:
        raise SaveError(f"{path}: cannot be locked: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
