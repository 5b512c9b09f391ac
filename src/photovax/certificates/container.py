"""Finds the C2PA manifest in a photo's file, and reconstructs the file before it was signed.

The places are those of appendix A of the C2PA specification: a ``caBX`` chunk in PNG, a ``C2PA``
chunk in WebP, tag 52545 in TIFF. The C2PA library inserts the manifest and, in TIFF, writes a new
first table behind the old one. Every other byte stays the same, so a digest of the unsigned file
can be computed from the signed one.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

__all__ = ["holds_manifest", "media_type", "photo_digest", "stream_digest"]

_TAG = 52545
_PADDING = 3  # bytes at most before a table, which starts at a multiple of four
_MOST_CHUNKS = 1000  # more chunks before the pixels mean damage or an attack
_BLOCK = 1 << 20


def media_type(file: Path) -> str | None:
    """Media type of a PNG, TIFF or WebP file by its content; None for other files."""
    with file.open("rb") as stream:
        return _media_type(stream.read(12))


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


def _media_type(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "image/tiff"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def _manifest(file: BinaryIO) -> _Manifest | None:
    head = _read(file, 0, 12)
    try:
        match _media_type(head):
            case "image/png":
                places = [place for name, place in _png_chunks(file) if name == b"caBX"]
                return _Manifest(tuple(places)) if places else None
            case "image/webp":
                places = [place for name, place in _webp_chunks(file) if name == b"C2PA"]
                (size,) = struct.unpack_from("<I", head, 4)
                before = struct.pack("<I", size - sum(map(len, places)))
                return _Manifest(tuple(places), b"RIFF" + before + b"WEBP") if places else None
            case "image/tiff":
                return _in_tiff(file, head)
    except struct.error:  # cut short, or impossible sizes
        pass
    return None


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """The chunks before the pixels."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        size, name = struct.unpack(">I4s", _read(file, at, 8))
        if name == b"IDAT":
            return
        yield name, range(at, at + 12 + size)
        at += 12 + size


def _webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    at = 12
    for _ in range(_MOST_CHUNKS):
        if len(header := _read(file, at, 8)) < 8:
            return
        name, size = struct.unpack("<4sI", header)
        yield name, range(at, at + 8 + size + size % 2)
        at += 8 + size + size % 2


def _in_tiff(file: BinaryIO, head: bytes) -> _Manifest | None:
    order = "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", head, 4)
    (count,) = struct.unpack(order + "H", _read(file, at, 2))
    table = _read(file, at + 2, 12 * count + 4)
    entries = [table[i : i + 12] for i in range(0, 12 * count, 12)]
    kept = [entry for entry in entries if struct.unpack_from(order + "H", entry) != (_TAG,)]
    if len(kept) == count:
        return None
    # The old table must have the same entries but the manifest's: else a new table could point at
    # other pixels behind the certified ones.
    old = struct.pack(order + "H", len(kept)) + b"".join(kept) + table[12 * count :]
    for start in range(at - len(old), at - len(old) - _PADDING - 1, -1):
        if start >= 8 and _read(file, start, len(old)) == old:
            end = file.seek(0, os.SEEK_END)
            before = head[:4] + struct.pack(order + "I", start)
            return _Manifest((range(start + len(old), end),), before)
    return _Manifest()


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
