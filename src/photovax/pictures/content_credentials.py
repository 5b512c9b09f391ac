"""Finds a C2PA manifest store (Content Credentials) in a picture's file, without reading it.

The places are those of appendix A of the C2PA specification: APP11 segments in JPEG, a ``caBX``
chunk in PNG, a ``C2PA`` chunk in WebP, tag 52545 in TIFF, a ``uuid`` box in HEIC and AVIF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from photovax.pictures.containers import (
    TIFF_ORDERS,
    Box,
    TiffTable,
    boxes,
    jpeg_segments,
    png_chunks,
    read_at,
    webp_chunks,
)

__all__ = [
    "CERTIFICATE",
    "IMMUNIZATION",
    "TIFF_TAG",
    "holds_store",
    "jpeg_store",
    "manifest_store",
    "media_type",
]

IMMUNIZATION = "photovax.immunization"
"""Label of the assertion with the SHA-256 of the record and of the photo before it was signed."""
CERTIFICATE = "photovax.certificate"
"""Label of the assertion that is the signed certificate."""
TIFF_TAG = 52545
"""The tag of a TIFF that holds the manifest store."""

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    **dict.fromkeys(TIFF_ORDERS, "image/tiff"),
    b"\xff\xd8\xff": "image/jpeg",
}
# Major brands; that of structure alone, mif1, is HEIC's in practice.
_BRANDS = {
    **dict.fromkeys([b"avif", b"avis"], "image/avif"),
    **dict.fromkeys([b"heic", b"heix", b"heim", b"heis", b"mif1"], "image/heic"),
}

_MOST_BYTES = 1 << 26
_APP11 = 0xEB
# In each APP11 segment: its marker and length, "JP", number of the box, of the segment, and a box's
# head (ISO/IEC 19566-5).
_BOX_HEAD = 4 + 16
_UUID_HEAD = 8 + 16  # of a box, and the UUID
_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
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


def holds_store(file: BinaryIO, box: Box) -> bool:
    """Whether a box holds the store."""
    return box.kind == b"uuid" and read_at(file, box.content.start, len(_UUID)) == _UUID


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
            yield _in_tiff(file)
        case _ if head[4:8] == b"ftyp":
            before = _UUID_HEAD
            places = [box.place for box in boxes(file) if holds_store(file, box)]
    for place in places:
        yield read_at(file, place.start + before, min(max(len(place) - before, 0), _MOST_BYTES))


def _in_tiff(file: BinaryIO) -> bytes:
    table = TiffTable.of(file)
    for entry in table.entries:
        if table.tag(entry) == TIFF_TAG:
            size, start = table.outside(entry)
            return read_at(file, start, min(size, _MOST_BYTES))
    return b""
