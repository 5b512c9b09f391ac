"""Where the parts of a picture's file lie, without reading the picture.

Chunks of PNG and WebP, segments of JPEG, boxes of HEIC, AVIF, JPEG 2000 and MP4, and the first
table of TIFF, which EXIF and the index of several pictures in a JPEG have, too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

__all__ = [
    "TIFF_ORDERS",
    "Box",
    "TiffTable",
    "boxes",
    "jpeg_segments",
    "png_chunks",
    "read_at",
    "webp_chunks",
]

TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
"""The order of bytes, as in ``struct``, by the first four bytes."""

_MOST_PARTS = 1000  # more before the pixels mean damage or an attack
_MOST_BYTES = 1 << 62  # larger ranges have no length
_SOS = 0xDA


class Box(NamedTuple):
    """A box of ISO/IEC 14496-12, section 4.2.

    Attributes:
        kind: Its type, four bytes.
        place: Where it lies.
        content: Where it lies without its head.
    """

    kind: bytes
    place: range
    content: range


class TiffTable(NamedTuple):
    """The first table of a TIFF file or block.

    Attributes:
        order: Order of bytes, as in ``struct``.
        start: Where it begins.
        entries: Its entries, 12 bytes each.
        following: The four bytes behind them, the place of the next table.
    """

    order: str
    start: int
    entries: list[bytes]
    following: bytes

    @classmethod
    def of(cls, file: BinaryIO) -> TiffTable:
        """Read it.

        Raises:
            struct.error: If the file is cut short or not a TIFF.
        """
        head = read_at(file, 0, 8)
        order = TIFF_ORDERS.get(head[:4])
        if order is None:
            raise struct.error("no TIFF header")
        (start,) = struct.unpack_from(order + "I", head, 4)
        (count,) = struct.unpack(order + "H", read_at(file, start, 2))
        table = read_at(file, start + 2, 12 * count + 4)
        if len(table) < 12 * count:
            raise struct.error("a table that is cut short")
        entries = [table[at : at + 12] for at in range(0, 12 * count, 12)]
        return cls(order, start, entries, table[12 * count :])

    def tag(self, entry: bytes) -> int:
        """The number of an entry's tag."""
        return int(struct.unpack_from(self.order + "H", entry)[0])

    def outside(self, entry: bytes) -> tuple[int, int]:
        """Number and place of the values of an entry that do not fit into it."""
        count, start = struct.unpack_from(self.order + "II", entry, 4)
        return count, start


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    """Up to ``size`` bytes of a file from an offset."""
    file.seek(at)
    return file.read(size)


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Name and place of each chunk before the pixels, with its head of 8 bytes and its checksum.

    Raises:
        struct.error: If the file is cut short.
    """
    at = 8
    for _ in range(_MOST_PARTS):
        size, name = struct.unpack(">I4s", read_at(file, at, 8))
        if name == b"IDAT":
            return
        yield name, range(at, at + 12 + size)
        at += 12 + size


def webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, range]]:
    """Name and place of each chunk, with its head and padding."""
    at = 12
    for _ in range(_MOST_PARTS):
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
    for _ in range(_MOST_PARTS):
        if read_at(file, at, 2) == b"\xff\xff":  # filling
            at += 1
            continue
        start, marker, length = struct.unpack(">BBH", read_at(file, at, 4))
        if start != 0xFF or marker == _SOS or length < 2:
            return
        yield marker, range(at, at + 2 + length)
        at += 2 + length


def boxes(file: BinaryIO, at: int = 0) -> Iterator[Box]:
    """The boxes that follow one another from an offset."""
    for _ in range(_MOST_PARTS):
        if len(head := read_at(file, at, 16)) < 8:
            return
        (size, kind), inner = struct.unpack_from(">I4s", head), 8
        if size == 1 and len(head) == 16:
            (size,), inner = struct.unpack_from(">Q", head, 8), 16
        if size == 0:  # to the end of the file
            size = file.seek(0, os.SEEK_END) - at
        if size > _MOST_BYTES:
            return
        yield Box(kind, range(at, at + size), range(at + inner, at + size))
        if size < inner:
            return
        at += size
