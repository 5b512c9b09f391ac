"""Finds a C2PA manifest store (Content Credentials) in a picture's file, without reading it.

The places are those of appendix A of the C2PA specification: APP11 segments in JPEG, a ``caBX``
chunk in PNG, a ``C2PA`` chunk in WebP, tag 52545 in TIFF, a ``uuid`` box in HEIC and AVIF.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from photovax.pictures.jpeg_segments import Jpeg

__all__ = [
    "CERTIFICATE",
    "IMMUNIZATION",
    "TIFF_TAG",
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

_MOST_CHUNKS = 1000  # more chunks before the pixels mean damage or an attack
_MOST_BYTES = 1 << 26
_APP11 = 0xEB
_BOX_HEAD = 16  # in each APP11 segment: "JP", number of the box, of the segment, and a box's head
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
    """Media type of a PNG, TIFF or WebP file by its first 12 bytes; None for other files."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "image/tiff"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


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


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Up to ``size`` bytes of a file from an offset."""
    file.seek(at)
    return file.read(size)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    head = read_at(file, 0, 12)
    match media_type(head):
        case "image/png":
            named, chunks = b"caBX", png_chunks(file)
        case "image/webp":
            named, chunks = b"C2PA", webp_chunks(file)
        case "image/tiff":
            yield _in_tiff(file, head)
            return
        case _:
            if head.startswith(b"\xff\xd8\xff"):
                yield from _in_jpeg(file)
            elif head[4:8] == b"ftyp":
                yield from _in_boxes(file)
            return
    for name, place in chunks:
        if name == named:
            yield read_at(file, place.start + 8, min(len(place) - 8, _MOST_BYTES))


def _in_tiff(file: BinaryIO, head: bytes) -> bytes:
    order = "<" if head.startswith(b"II") else ">"
    (at,) = struct.unpack_from(order + "I", head, 4)
    (count,) = struct.unpack(order + "H", read_at(file, at, 2))
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, _, size, start = struct.unpack(order + "HHII", read_at(file, entry, 12))
        if tag == TIFF_TAG:
            return read_at(file, start, min(size, _MOST_BYTES))
    return b""


def _in_jpeg(file: BinaryIO) -> Iterator[bytes]:
    """The store from APP11 segments, which ISO/IEC 19566-5 splits it over."""
    jpeg = Jpeg.at(read_at(file, 0, -1))
    number = None
    for each in () if jpeg is None else jpeg.payloads(_APP11, b"JP"):
        if number is None and _STORE in each[:128]:
            number = each[:2]
        if each[:2] == number:
            yield each[_BOX_HEAD - 2 :]


def _in_boxes(file: BinaryIO) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_CHUNKS):
        if len(head := read_at(file, at, 32)) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
        if name == b"uuid" and _BOX in head:
            yield read_at(file, at + 24, min(max(size - 24, 0), _MOST_BYTES))
        if size < 8:
            return
        at += size
