"""Back to disk, whole or not at all; and what the results are called."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from photovax.errors import SaveError
from photovax.pictures.atomic import check_free, write_atomically
from photovax.pictures.channels import as_image
from photovax.pictures.photo import Photo, printable_name
from photovax.pictures.tiff import write_tiff
from photovax.pictures.types import JPEG_SUFFIXES

__all__ = [
    "LEAST_LOSS",
    "check_fits",
    "check_output",
    "write_photo",
]

_WEBP_SIDE = 16383

_JPEG_BLOCKS = {"EXIF": 65_533, "XMP": 65_504}  # bytes of a segment, less what names its kind

LEAST_LOSS: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
"""How JPEG files are written: a decoded channel is then seldom more than two levels off."""


def write_photo(
    photo: Photo,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a photo: the whole file appears at once, or nothing does.

    The suffix tells the type: .png, .tif/.tiff and .webp without loss, .jpg/.jpeg with as little
    as there can be. Pixels, alpha, colour profile, EXIF and XMP are kept by all that are without
    loss. WebP has no grey (it becomes RGB), no place for the resolution, and drops an alpha that
    is opaque everywhere; so does JPEG, which has no alpha at all.

    Args:
        photo: what to write.
        path: where; its folder must be there.
        overwrite: whether a file of that name may be replaced.
        verify: called with the finished file under a temporary name in the same folder, before
            it gets its own; if it raises, nothing is left behind.

    Raises:
        OutputExists: the file is there, or came to be while this one was written.
        SaveError: another type, no such folder, no space, not allowed, ...
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    writer = _WRITERS[path.suffix.lower()]
    write_atomically(path, lambda file: writer(photo, file), overwrite=overwrite, verify=verify)


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Say at once what writing a photo would say after minutes of work.

    Raises:
        OutputExists: the file is there.
        SaveError: a type that is not written, or no such folder.
    """
    name = printable_name(path)
    if path.suffix.lower() not in _WRITERS:
        raise SaveError(
            f"{name}: {path.suffix or 'no suffix'} is not a type that is written; use .png, .tif, "
            ".webp or .jpg"
        )
    if os.path.isdir(path):
        raise SaveError(f"{name}: is a folder; name a file")
    if not os.path.isdir(path.parent):
        folder = printable_name(path.parent)
        raise SaveError(f"{name}: there is no folder {folder}; make it first")
    check_free(path, overwrite=overwrite)


def check_fits(photo: Photo, path: Path, *, masked: bool) -> None:
    """Say at once that a file type cannot hold a photo.

    Args:
        photo: what is to be written.
        path: where.
        masked: whether pixels outside a mask must stay as they are.

    Raises:
        SaveError: WebP and grey; JPEG and transparency, a mask, or much EXIF or XMP.
    """
    name, suffix = printable_name(path), path.suffix.lower()
    if suffix == ".webp" and photo.grey:
        raise SaveError(f"{name}: the photo is grey, which WebP cannot hold; use .png or .tif")
    if suffix in JPEG_SUFFIXES and photo.alpha is not None and (photo.alpha < 255).any():
        raise SaveError(
            f"{name}: the photo is transparent, which JPEG cannot hold; use .png, .tif or .webp"
        )
    if suffix in JPEG_SUFFIXES and masked:
        raise SaveError(
            f"{name}: JPEG would change pixels outside the mask, too; use .png, .tif or .webp"
        )
    held = {"EXIF": photo.metadata.exif, "XMP": photo.metadata.xmp}
    for kind, block in held.items():
        if suffix in JPEG_SUFFIXES and block is not None and len(block) > _JPEG_BLOCKS[kind]:
            raise SaveError(
                f"{name}: the photo has {len(block)} bytes of {kind}, of which JPEG holds "
                f"{_JPEG_BLOCKS[kind]}; use .png or .tif"
            )


def _image(photo: Photo) -> Image.Image:
    channels = photo.pixels
    if photo.alpha is not None:
        channels = np.dstack([channels, photo.alpha])
    return as_image(channels)


def _write_png(photo: Photo, file: BinaryIO) -> None:
    known, more = photo.metadata, PngImagePlugin.PngInfo()
    if known.icc is not None and len(known.icc) > PngImagePlugin.MAX_TEXT_CHUNK:
        raise ValueError("its colour profile is longer than PNG readers accept; use .tif")
    if known.xmp is not None:
        more.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + known.xmp)
    options = {"icc_profile": known.icc, "exif": known.exif, "dpi": known.dpi}
    _image(photo).save(file, "PNG", compress_level=6, pnginfo=more, **options)


def _write_webp(photo: Photo, file: BinaryIO) -> None:
    if max(photo.height, photo.width) > _WEBP_SIDE:
        raise ValueError(
            f"{photo.width} x {photo.height}, and WebP takes {_WEBP_SIDE} a side; use .png"
        )
    known = photo.metadata
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": known.xmp}
    given = {key: value for key, value in options.items() if value is not None}
    # exact: colour under full transparency stays too; effort: hardly smaller beyond this
    _image(photo).save(file, "WEBP", lossless=True, exact=True, quality=25, method=1, **given)


def _write_jpeg(photo: Photo, file: BinaryIO) -> None:
    known = photo.metadata
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": known.xmp, "dpi": known.dpi}
    given = {key: value for key, value in options.items() if value is not None}
    _image(replace(photo, alpha=None)).save(file, "JPEG", **LEAST_LOSS, **given)


_WRITERS: dict[str, Callable[[Photo, BinaryIO], None]] = {
    ".png": _write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".webp": _write_webp,
    **dict.fromkeys(JPEG_SUFFIXES, _write_jpeg),
}
