"""Reconstructs a PNG, WebP or TIFF file before a C2PA manifest was added, for its digest.

The C2PA library inserts the manifest (``photovax.pictures.content_credentials`` says where) and, in
TIFF, writes a new first table behind the old one. Every other byte stays the same, so a digest of
the unsigned file can be computed from the signed one.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from photovax.pictures import content_credentials
from photovax.pictures.content_credentials import TIFF_TAG, png_chunks, read_at, webp_chunks

__all__ = ["holds_manifest", "media_type", "photo_digest", "stream_digest"]

_PADDING = 3  # bytes at most before a table, which starts at a multiple of four
_BLOCK = 1 << 20


def media_type(file: Path) -> str | None:
    """Media type of a PNG, TIFF or WebP file by its content; None for other files."""
    with file.open("rb") as stream:
        return content_credentials.media_type(stream.read(12))


def holds_manifest(file: Path) -> bool:
    """Whether a PNG, WebP or TIFF file holds a C2PA manifest."""
    with file.open("rb") as stream:
        return _manifest(stream) is not None


def photo_digest(file: Path) -> str:
    """Return ``stream_digest`` of a file on disk."""
    with file.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file without its C2PA manifest, in hexadecimal digits.

    Only the manifest is left out, so two files with one digest have the same pixels and metadata.
    The whole file is hashed if it has no manifest, is of another type, or if the manifest cannot be
    removed byte for byte (a TIFF whose table was not at its end).

    Args:
        file: File open for reading, seekable.
    """
    found = _manifest(file) or _Manifest()
    digest = hashlib.sha256(found.head)
    at = len(found.head)
    end = file.seek(0, os.SEEK_END)
    for gap in (*found.places, range(end, end)):
        file.seek(at)
        while block := file.read(min(_BLOCK, gap.start - file.tell())):
            digest.update(block)
        at = gap.stop
    return digest.hexdigest()


@dataclass(frozen=True)
class _Manifest:
    """The places of a manifest in order, and the first bytes of the file without it."""

    places: tuple[range, ...] = ()
    head: bytes = b""


def _manifest(file: BinaryIO) -> _Manifest | None:
    head = read_at(file, 0, 12)
    try:
        match content_credentials.media_type(head):
            case "image/png":
                places = [place for name, place in png_chunks(file) if name == b"caBX"]
                return _Manifest(tuple(places)) if places else None
            case "image/webp":
                places = [place for name, place in webp_chunks(file) if name == b"C2PA"]
                (size,) = struct.unpack_from("<I", head, 4)
                before = struct.pack("<I", size - sum(map(len, places)))
                return _Manifest(tuple(places), b"RIFF" + before + b"WEBP") if places else None
            case "image/tiff":
                return _in_tiff(file, head)
    except struct.error:  # cut short, or impossible sizes
        pass
    return None


def _in_tiff(file: BinaryIO, head: bytes) -> _Manifest | None:
    order = "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", head, 4)
    (count,) = struct.unpack(order + "H", read_at(file, at, 2))
    table = read_at(file, at + 2, 12 * count + 4)
    entries = [table[i : i + 12] for i in range(0, 12 * count, 12)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry) != (TIFF_TAG,)]
    if len(kept) == count:
        return None
    # The old table must have the same entries but the manifest's: else a new table could point at
    # other pixels behind the certified ones.
    old = struct.pack(order + "H", len(kept)) + b"".join(kept) + table[12 * count :]
    for start in range(at - len(old), at - len(old) - _PADDING - 1, -1):
        if start >= 8 and read_at(file, start, len(old)) == old:
            end = file.seek(0, os.SEEK_END)
            before = head[:4] + struct.pack(order + "I", start)
            return _Manifest((range(start + len(old), end),), before)
    return _Manifest()
