"""Photos to files, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from PIL import PngImagePlugin

from photovax.pictures.atomic import write_atomically
from photovax.pictures.channels import as_image
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo
from photovax.pictures.tiff import write_tiff
from photovax.pictures.types import JPEG_SUFFIXES

__all__ = ["LEAST_LOSS", "write_photo"]

_WEBP_SIDE = 16383

LEAST_LOSS: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
"""How JPEG files are written: a decoded channel is then seldom more than two levels off."""


def write_photo(
    photo: Photo,
    destination: Destination | str | os.PathLike[str],
    *,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a photo: the whole file appears at once, or nothing does.

    The suffix tells the type: .png, .tif/.tiff and .webp without loss, .jpg/.jpeg with as little
    as there can be. Pixels, alpha, colour profile, EXIF and XMP are kept by all that are without
    loss. WebP has no grey (it becomes RGB), no place for the resolution, and drops an alpha that
    is opaque everywhere; so does JPEG, which has no alpha at all.

    Args:
        photo: what to write.
        destination: where; a path stands for a file that must not exist yet.
        verify: called with the finished file under a temporary name in the same folder, before
            it gets its own; if it raises, nothing is left behind.

    Raises:
        OutputExists: the file is there, or came to be while this one was written.
        SaveError: another type, no such folder, no space, not allowed, ...
    """
    if not isinstance(destination, Destination):
        destination = Destination(Path(destination))
    writer = _WRITERS[destination.suffix]
    write_atomically(
        destination.path,
        lambda file: writer(photo, file),
        overwrite=destination.overwrite,
        verify=verify,
    )


def _write_png(photo: Photo, file: BinaryIO) -> None:
    known, more = photo.metadata, PngImagePlugin.PngInfo()
    if known.icc is not None and len(known.icc) > PngImagePlugin.MAX_TEXT_CHUNK:
        raise ValueError("its colour profile is longer than PNG readers accept; use .tif")
    if known.xmp is not None:
        more.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + known.xmp)
    options = {"icc_profile": known.icc, "exif": known.exif, "dpi": known.dpi}
    as_image(photo.channels).save(file, "PNG", compress_level=6, pnginfo=more, **options)


def _write_webp(photo: Photo, file: BinaryIO) -> None:
    if max(photo.height, photo.width) > _WEBP_SIDE:
        raise ValueError(
            f"{photo.width} x {photo.height}, and WebP takes {_WEBP_SIDE} a side; use .png"
        )
    known = photo.metadata
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": known.xmp}
    given = {key: value for key, value in options.items() if value is not None}
    # exact: colour under full transparency stays too; effort: hardly smaller beyond this
    as_image(photo.channels).save(
        file, "WEBP", lossless=True, exact=True, quality=25, method=1, **given
    )


def _write_jpeg(photo: Photo, file: BinaryIO) -> None:
    known = photo.metadata
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": known.xmp, "dpi": known.dpi}
    given = {key: value for key, value in options.items() if value is not None}
    as_image(photo.pixels).save(file, "JPEG", **LEAST_LOSS, **given)


_WRITERS: dict[str, Callable[[Photo, BinaryIO], None]] = {
    ".png": _write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".webp": _write_webp,
    **dict.fromkeys(JPEG_SUFFIXES, _write_jpeg),
}
