"""Types of picture files, by suffix."""

from __future__ import annotations

from typing import Any, Literal

__all__ = [
    "JPEG_SUFFIXES",
    "LEAST_LOSS",
    "MEDIA_TYPES",
    "PICTURE_SUFFIXES",
    "WRITTEN_SUFFIXES",
    "FileType",
]

PICTURE_SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2"),
    *(".jpe", ".jpeg", ".jpg", ".jpx", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi"),
    *(".tif", ".tiff", ".webp"),
}
"""Suffixes of files that count as pictures."""

JPEG_SUFFIXES = {".jpeg", ".jpg"}
"""Suffixes of JPEG, the lossy type: decoded pixels differ from those that were written."""

LEAST_LOSS: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
"""Options of JPEG files: a decoded channel is then seldom more than two levels off."""

WRITTEN_SUFFIXES = {".png", ".tif", ".tiff", ".webp", *JPEG_SUFFIXES}
"""Suffixes of files that photovax writes."""

FileType = Literal["same", "png", "tif", "webp", "jpg"]
"""File types of results; ``same`` is the photo's own, or PNG where that is not written."""

MEDIA_TYPES = {
    ".png": "image/png",
    ".tif": "image/tiff",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
}
"""Media types of results, by suffix."""
