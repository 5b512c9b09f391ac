"""Types of picture files, by suffix. Plain data."""

from __future__ import annotations

from typing import Literal

__all__ = ["JPEG_SUFFIXES", "MEDIA_TYPES", "PICTURE_SUFFIXES", "WRITTEN_SUFFIXES", "FileType"]

PICTURE_SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2"),
    *(".jpe", ".jpeg", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi"),
    *(".tif", ".tiff", ".webp"),
}
"""Of files that are taken for pictures."""

JPEG_SUFFIXES = {".jpeg", ".jpg"}
"""Of the one type with losses: decoded pixels are not those that were written."""

WRITTEN_SUFFIXES = {".png", ".tif", ".tiff", ".webp", *JPEG_SUFFIXES}
"""Of files that photovax writes."""

FileType = Literal["same", "png", "tif", "webp", "jpg"]
"""What results can be asked to be; ``same``: the photo's own, or PNG where that is not written."""

MEDIA_TYPES = {
    ".png": "image/png",
    ".tif": "image/tiff",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
}
"""Of results, by their suffix."""
