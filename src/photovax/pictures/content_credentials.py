"""Finds a C2PA manifest store (Content Credentials) in a picture's file, without reading it.

The places are those of appendix A of the C2PA specification: APP11 segments in JPEG, a ``caBX``
chunk in PNG, a ``C2PA`` chunk in WebP, tag 52545 in TIFF, a ``uuid`` box in HEIC and AVIF.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

__all__ = [
    "CERTIFICATE",
    "IMMUNIZATION",
    "TIFF_TAG",
    "boxes",
    "holds_store",
    "jpeg_segments",
    "jpeg_store",
    "manifest_store",
    "media_type",
    "png_chunks",
    "read_at",
    "webp_chunks",
]

IMMUNIZATION = "photovax.immunization"
"""Label of the assertion with the SHA-256 of the record and of the photo before it was signed."""
CERTIFICATE = "photovax.certificate"
"""Label of the assertion that is the signed certificate."""
TIFF_TAG = 52545
"""The tag of a TIFF that holds the manifest store."""

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
    b"\xff\xd8\xff": "image/jpeg",
}
# Major brands; that of structure alone, mif1, is HEIC's in practice.
_BRANDS = {
    **dict.fromkeys([b"avif", b"avis"], "image/avif"),
    **dict.fromkeys([b"heic", b"heix", b"heim", b"heis", b"mif1"], "image/heic"),
}

_MOST_CHUNKS = 1000  # more chunks before the pixels mean damage or an attack
_MOST_BYTES = 1 << 26
_APP11, _SOS = 0xEB, 0xDA
# In each APP11 segment: its marker and length, "JP", number of the box, of the segment, and a box's
# head (ISO/IEC 19566-5).
_BOX_HEAD = 4 + 16
_UUID_HEAD = 8 + 16  # of a box, and the UUID
_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_STORE = b"c2pa\0"  # label of the store, near its beginning


def manifest_store(file: BinaryIO) -> bytes | None:
    """The bytes of a file's manifest store, unverified; None if there is none.

    Args:
        file: File open for reading, seekable; its position is restored.
    """
    before = file.tell()
    try:
        store = b"".join(_pieces(file))
    except (struct.error, OSError):  # cut short, or impossible sizes
        return None
    finally:
        file.seek(before)
    return store or None


def media_type(head: bytes) -> str | None:
    """Media type of a PNG, TIFF, WebP, JPEG, AVIF or HEIC file by its first 12 bytes, or None."""
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Name and place of each chunk before the pixels, with its head and checksum.

    Raises:
        struct.error: If the file is cut short.
    """
    at = 8
    for _ in range(_MOST_CHUNKS):
        size, name = struct.unpack(">I4s", read_at(file, at, 8))
        if name == b"IDAT":
            return
        yield name, range(at, at + 12 + size)
        at += 12 + size


def webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Name and place of each chunk, with its head and padding."""
    at = 12
    for _ in range(_MOST_CHUNKS):
        if len(header := read_at(file, at, 8)) < 8:
            return
        name, size = struct.unpack("<4sI", header)
        yield name, range(at, at + 8 + size + size % 2)
        at += 8 + size + size % 2


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, range]]:
    """Marker and place of each segment before the pixels.

    Raises:
        struct.error: If the file is cut short.
    """
    at = 2
    for _ in range(_MOST_CHUNKS):
        if read_at(file, at, 2) == b"\xff\xff":  # filling
            at += 1
            continue
        start, marker, length = struct.unpack(">BBH", read_at(file, at, 4))
        if start != 0xFF or marker == _SOS or length < 2:
            return
        yield marker, range(at, at + 2 + length)
        at += 2 + length


def jpeg_store(file: BinaryIO) -> list[range]:
    """Places of the APP11 segments that hold the store, with their markers.

    Raises:
        struct.error: If the file is cut short.
    """
    found: list[range] = []
    number = None
    for marker, place in jpeg_segments(file):
        head = read_at(file, place.start + 4, 128) if marker == _APP11 else b""
        if not head.startswith(b"JP"):
            continue
        if number is None and _STORE in head:
            number = head[2:4]
        if head[2:4] == number:
            found.append(place)
    return found


def boxes(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Type and place of each box of a HEIC or AVIF file (ISO/IEC 14496-12), with its head."""
    at = 0
    for _ in range(_MOST_CHUNKS):
        if len(head := read_at(file, at, 16)) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
        if size == 0:  # to the end of the file
            size = file.seek(0, os.SEEK_END) - at
        yield name, range(at, at + size)
        if size < 8:
            return
        at += size


def holds_store(file: BinaryIO, name: bytes, place: range) -> bool:
    """Whether a box holds the store."""
    return name == b"uuid" and read_at(file, place.start + 8, len(_BOX)) == _BOX


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Up to ``size`` bytes of a file from an offset."""
    file.seek(at)
    return file.read(size)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    head = read_at(file, 0, 12)
    before, places = 8, list[range]()
    match media_type(head):
        case "image/png":
            places = [place for name, place in png_chunks(file) if name == b"caBX"]
        case "image/webp":
            places = [place for name, place in webp_chunks(file) if name == b"C2PA"]
        case "image/jpeg":
            before, places = _BOX_HEAD, jpeg_store(file)
        case "image/tiff":
            yield _in_tiff(file, head)
        case _ if head[4:8] == b"ftyp":
            before = _UUID_HEAD
            places = [place for name, place in boxes(file) if holds_store(file, name, place)]
    for place in places:
        yield read_at(file, place.start + before, min(max(len(place) - before, 0), _MOST_BYTES))


def _in_tiff(file: BinaryIO, head: bytes) -> bytes:
    order = "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", head, 4)
    (count,) = struct.unpack(order + "H", read_at(file, at, 2))
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, _, size, start = struct.unpack(order + "HHII", read_at(file, entry, 12))
        if tag == TIFF_TAG:
            return read_at(file, start, min(size, _MOST_BYTES))
    return b""
