"""Photos to files, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from PIL import PngImagePlugin

from photovax.pictures.atomic import write_atomically
from photovax.pictures.channels import as_image
from photovax.pictures.compression import Compression, heic_encoder, least_loss
from photovax.pictures.exif import Metadata
from photovax.pictures.iptc import jpeg_segment
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo
from photovax.pictures.texts import KEYWORDS, carried, comment_of, jpeg_xmp
from photovax.pictures.tiff import write_tiff
from photovax.pictures.types import HEIC_SUFFIXES, JPEG_SUFFIXES

__all__ = ["write_photo"]


def write_photo(
    photo: Photo,
    destination: Destination | str | os.PathLike[str],
    *,
    compression: Compression | None = None,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a photo: the whole file appears at once, or nothing does.

    The suffix names the type. .png and .tif/.tiff are lossless, and so are .webp and .heic/.heif by
    default; .jpg, .jpeg and .avif are written with the least loss by default. The lossless types
    keep pixels, alpha, colour profile, EXIF and XMP. WebP has no grey (it becomes RGB); it, AVIF
    and HEIC have no resolution, and drop an alpha that is opaque everywhere; so does JPEG, which
    has no alpha. JPEG and TIFF hold IPTC, PNG holds texts; the other types have them in XMP. Only
    JPEG keeps a gain map.

    Args:
        photo: The photo.
        destination: Where to write it; a path stands for a file that must not exist yet.
        compression: Compression of a JPEG, WebP, AVIF or HEIC file, ignored for other suffixes. By
            default JPEG and AVIF are written with the least loss, and WebP and HEIC without loss.
        verify: Function that is called with the finished file under a temporary name in the same
            folder, before it is renamed; if it raises, nothing is left behind.

    Raises:
        OutputExists: If the file exists, even if only since this one was being written.
        SaveError: If the type is not written or takes no sides as long as the photo's, or the disk
            refuses the file.
    """
    if not isinstance(destination, Destination):
        destination = Destination(Path(destination))
    destination.check_sides(photo)
    writer = _WRITERS[destination.suffix]
    fitting = destination.fitting(compression) or least_loss(destination.suffix)
    write_atomically(
        destination.path,
        lambda file: writer(photo, file, fitting),
        overwrite=destination.overwrite,
        verify=verify,
    )


def _write_png(photo: Photo, file: BinaryIO, compression: Compression | None) -> None:
    known, more = photo.metadata, PngImagePlugin.PngInfo()
    if known.icc is not None and len(known.icc) > PngImagePlugin.MAX_TEXT_CHUNK:
        raise ValueError("its colour profile is longer than PNG readers accept; use .tif")
    if (xmp := carried(known, iptc=True)) is not None:
        more.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    for key, text in known.texts:
        more.add_text(key, text)
    options = {"icc_profile": known.icc, "exif": known.exif, "dpi": known.dpi}
    as_image(photo.channels).save(file, "PNG", compress_level=3, pnginfo=more, **options)


def _write_avif(photo: Photo, file: BinaryIO, compression: Compression | None) -> None:
    assert compression is not None  # noqa: S101 - for the type checker: AVIF has a least loss
    how = compression.options(grey=photo.grey)
    as_image(photo.held(compression)).save(file, "AVIF", **how, **_without_places(photo.metadata))


def _write_heic(photo: Photo, file: BinaryIO, compression: Compression | None) -> None:
    how: dict[str, Any]
    if compression is None:
        # Red, green and blue are coded as they are (ITU-T H.273, matrix 0), not as luma and colour.
        whole = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
        how = {**whole, "enc_params": heic_encoder()}
    else:
        how = compression.options()
    held = photo.pixels if photo.grey else photo.channels  # there is no alpha beside grey
    try:
        as_image(held).save(file, "HEIF", **how, **_without_places(photo.metadata))
    except RuntimeError as error:  # of libheif
        raise ValueError(f"{error}; use .png") from error


def _write_webp(photo: Photo, file: BinaryIO, compression: Compression | None) -> None:
    how: dict[str, Any]
    if compression is None:
        # exact: keeps colours under full transparency; more effort makes files hardly smaller
        how = {"lossless": True, "exact": True, "quality": 25, "method": 1}
    else:
        how = compression.options()
    as_image(photo.channels).save(file, "WEBP", **how, **_without_places(photo.metadata))


def _without_places(known: Metadata) -> dict[str, bytes]:
    """Metadata as options of Pillow's ``save``, for types without places for IPTC and texts."""
    xmp = carried(known, iptc=True, keywords=KEYWORDS)
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": xmp}
    return {key: value for key, value in options.items() if value is not None}


def _write_jpeg(photo: Photo, file: BinaryIO, compression: Compression | None) -> None:
    assert compression is not None  # noqa: S101 - for the type checker: JPEG has a least loss
    known, more = photo.metadata, photo.gain_map
    options = {
        "icc_profile": known.icc,
        "exif": known.exif,
        "xmp": jpeg_xmp(known, more),
        "dpi": known.dpi,
        "comment": comment_of(known),
        "extra": known.iptc and jpeg_segment(known.iptc),
    }
    given = {key: value for key, value in options.items() if value is not None}
    base = compression.encoded(as_image(photo.held(compression)), **given)
    file.write(base if more is None else more.appended(base))


def _write_tiff(photo: Photo, file: BinaryIO, compression: Compression | None) -> None:
    write_tiff(photo, file)


_WRITERS: dict[str, Callable[[Photo, BinaryIO, Compression | None], None]] = {
    ".png": _write_png,
    ".tif": _write_tiff,
    ".tiff": _write_tiff,
    ".webp": _write_webp,
    ".avif": _write_avif,
    **dict.fromkeys(HEIC_SUFFIXES, _write_heic),
    **dict.fromkeys(JPEG_SUFFIXES, _write_jpeg),
}
