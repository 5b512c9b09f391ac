"""Types of picture files, by suffix."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "HEIC_SUFFIXES",
    "INEXACT_SUFFIXES",
    "JPEG_SUFFIXES",
    "LOSSY_SUFFIXES",
    "MEDIA_TYPES",
    "OTHER_SUFFIXES",
    "OWN_SUFFIXES",
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
"""Suffixes of JPEG."""

HEIC_SUFFIXES = {".heic", ".heif", ".hif"}
"""Suffixes of HEIC."""

INEXACT_SUFFIXES = {".avif", *JPEG_SUFFIXES}
"""Suffixes of types that are always lossy: decoded pixels differ from those that were written."""

LOSSY_SUFFIXES = {".webp", *HEIC_SUFFIXES, *INEXACT_SUFFIXES}
"""Suffixes of types that can be compressed with loss."""

OTHER_SUFFIXES = {**dict.fromkeys((".jfif", ".jpe", ".mpo"), ".jpg"), ".apng": ".png"}
"""Usual suffixes of types that are written, by other suffixes of theirs."""

WRITTEN_SUFFIXES = {".png", ".tif", ".tiff", *LOSSY_SUFFIXES}
"""Suffixes of files that photovax writes."""

OWN_SUFFIXES = {
    "AVIF": ".avif",
    "HEIF": ".heic",
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
}
"""Suffix of a photo's own type by Pillow's name of its format; others are not written."""

FileType = Literal["same", "png", "tif", "webp", "jpg", "avif", "heic"]
"""File types of results; ``same`` is the photo's own, or PNG where that is not written."""

MEDIA_TYPES = {
    ".png": "image/png",
    ".tif": "image/tiff",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".hif": "image/heif",
}
"""Media types of results, by suffix."""
