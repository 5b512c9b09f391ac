"""Folders of pipelines whose parts come from several models, as links in the hub's cache.

Imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from photovax.errors import ModelError, first_line

__all__ = ["assembled", "link"]


def assembled(name: str, files: Mapping[str, Path]) -> Path:
    """The folder that holds some files under other names; it is made where it is missing.

    Args:
        name: Name of the model.
        files: Each file, by its place in the folder: ``PART/FILE`` or ``FILE``.

    Returns:
        A folder below ``HF_HOME``, of its own for each choice and each version of the files.

    Raises:
        ModelError: If it cannot be written.
    """
    from huggingface_hub import constants

    shelf = Path(constants.HF_HOME) / "photovax"
    whole = shelf / f"{name}-{_key(files)}"
    if whole.is_dir():
        return whole
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=shelf))
        try:
            for place, file in files.items():
                (made / place).parent.mkdir(exist_ok=True)
                link(made / place, file)
            made.chmod(shelf.stat().st_mode)  # a temporary one is its owner's alone
            made.rename(whole)
        except OSError:
            if not whole.is_dir():  # else another process was faster
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)  # where it was not renamed
    except OSError as error:
        raise ModelError(
            f"model {name}: its parts cannot be linked in {shelf} ({first_line(error)})",
            hint="set HF_HOME to a folder that can be written",
        ) from error
    return whole


def link(place: Path, file: Path) -> None:
    """Make ``place`` a link to a file, or a copy where links need a permission (on Windows)."""
    try:
        place.symlink_to(file.resolve())
    except OSError:
        shutil.copyfile(file, place)


def _key(files: Mapping[str, Path]) -> str:
    told = hashlib.sha256()
    for place, file in sorted(files.items()):
        state = file.stat()  # of a copy, what it was made from may have changed
        told.update(f"{place}\0{file.resolve()}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return told.hexdigest()[:16]
