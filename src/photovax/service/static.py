"""The page that immunizes in the visitor's browser, as files for any web server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from photovax.attack.networks.headers import SHIPPED
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.pictures.atomic import as_save_error, check_free, write_bytes

__all__ = ["FOLDER", "PAGE", "WEIGHTS", "write_page"]

PAGE = Path(__file__).parent / "page"

FOLDER = "device"
"""Folder of the page's network and the runtime of ONNX."""

WEIGHTS = next(file for file in SHIPPED if file.stem == DEFAULT_MODEL)
"""Weights of its network, which the service serves, too, in ``FOLDER``."""

_START = "device.html"
# What it shares with the page of the service.
_SHARED = ("device.js", "compare.js", "dom.js", "strength.js", "page.css", "icon.svg")


def write_page(folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write the page into a folder, with ``index.html`` as its start.

    The web server computes nothing, and browsers ask it for nothing but these files.

    Args:
        folder: Folder, which is created.
        overwrite: Whether existing files may be replaced.

    Returns:
        The files.

    Raises:
        OutputExists: If one exists and must not be replaced; none is written then.
        SaveError: If the disk refuses one.
    """
    files = {folder / name: source for name, source in _sources()}
    for file in files:
        check_free(file, overwrite=overwrite)
    for file, source in files.items():
        with as_save_error(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(source.read_bytes(), file, overwrite=overwrite)
    return list(files)


def _sources() -> Iterator[tuple[str, Path]]:
    """Names in the folder, and the files of this package."""
    yield "index.html", PAGE / _START
    yield from ((name, PAGE / name) for name in _SHARED)
    for file in sorted((PAGE / FOLDER).rglob("*")):
        if file.is_file():
            yield file.relative_to(PAGE).as_posix(), file
    yield f"{FOLDER}/{WEIGHTS.name}", WEIGHTS
