"""Pillow, made strict: which formats it may read, how large, and what its errors mean."""

from __future__ import annotations

import math
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from photovax.errors import PhotovaxError, TooManyPixels, UnreadablePhoto
from photovax.extras import extra_installed

__all__ = [
    "DECODER_ERRORS",
    "MAX_PIXELS",
    "check_pixels",
    "decoding",
    "formats_of",
    "heic_ready",
    "printable_name",
    "strict_pillow",
]

MAX_PIXELS = 200_000_000

# An explicit list: otherwise Pillow starts Ghostscript on an EPS, or takes noise for a TGA.
# HEIF comes before AVIF, since Pillow's AVIF reader also accepts some HEIC files.
_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "TIFF", "GIF", "BMP", "JPEG2000", "PPM", "QOI")
_READABLE = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, GIF, BMP, JPEG 2000, PPM or QOI"
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}

# Exceptions that Pillow and its codecs raise on damaged data.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_PILLOW = threading.Lock()


def printable_name(path: str | os.PathLike[str]) -> str:
    """A file's name for a one-line message, even if it holds line ends or is not UTF-8."""
    name = os.fspath(path)
    return name if name.isprintable() else repr(name)


@contextmanager
def strict_pillow(max_pixels: int) -> Iterator[None]:
    """Pillow with a limit on pixels, and strict about cut files, whatever other libraries set.

    Its settings are global, hence the lock. It warns above its limit and raises above twice that.
    """
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        Image.MAX_IMAGE_PIXELS = math.ceil(max_pixels / 2)
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def decoding(name: str, max_pixels: int) -> Iterator[None]:
    """Strict Pillow, whose errors on a picture become one line that names it.

    Raises:
        UnreadablePhoto: If the picture is none, damaged, cut short, missing, or cannot be read.
        TooManyPixels: If it has many more than ``max_pixels``.
    """
    try:
        with strict_pillow(max_pixels):
            yield
    except Image.DecompressionBombError as error:
        found = "".join(filter(str.isdigit, str(error).partition(" pixels")[0]))
        raise _too_many(name, int(found or 0), max_pixels) from error
    except UnidentifiedImageError as error:
        raise UnreadablePhoto(
            f"{name}: not a picture that can be read; allowed are {_READABLE}"
        ) from error
    except DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.strerror:
            raise UnreadablePhoto(f"{name}: cannot be read: {error.strerror}") from error
        why = " ".join(str(error).split()) or type(error).__name__
        raise UnreadablePhoto(f"{name}: damaged or cut short ({why}); try a whole copy") from error


def check_pixels(image: Image.Image, name: str, max_pixels: int) -> None:
    """Refuse a picture that is too large, before it is decoded.

    Raises:
        TooManyPixels: If it has more than ``max_pixels``.
    """
    if (pixels := image.width * image.height) > max_pixels:
        raise _too_many(name, pixels, max_pixels)


def formats_of(file: BinaryIO, name: str) -> list[str]:
    """Pillow's formats to try; HEIC only where it is needed and installed."""
    head = file.read(64)
    file.seek(0)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and b"avif" not in head:
        heic_ready(name, UnreadablePhoto)
    Image.init()
    return [each for each in _FORMATS if each in Image.OPEN]


def heic_ready(name: str, error: type[PhotovaxError]) -> None:
    """Make Pillow read and write HEIC.

    Args:
        name: Printable name of the file that needs it.
        error: Class of the error to raise.

    Raises:
        PhotovaxError: Of that class, if the package for it is missing.
    """
    with extra_installed("heic", user=f"{name}: HEIC", error=error):
        import pillow_heif
    pillow_heif.register_heif_opener()


def _too_many(name: str, pixels: int, max_pixels: int) -> TooManyPixels:
    return TooManyPixels(
        f"{name}: {pixels:,} pixels, more than the {max_pixels:,} allowed",
        hint=f"to read it all the same: --max-pixels {pixels}",
    )
