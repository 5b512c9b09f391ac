"""The index of several pictures in one JPEG file: CIPA DC-007, Multi-Picture Format."""

from __future__ import annotations

import io
import struct

from photovax.pictures.containers import TIFF_ORDERS, TiffTable
from photovax.pictures.jpeg_segments import Jpeg, segment

__all__ = ["PREFIX", "grown", "index", "offsets", "with_larger_first"]

_APP2 = 0xE2
PREFIX = b"MPF\0"
"""Begin of the index's APP2 segment."""

_VERSION, _COUNT, _ENTRIES = 0xB000, 0xB001, 0xB002
_LONG, _UNDEFINED = 4, 7
_PRIMARY = 0x030000  # type "baseline MP primary image", format JPEG
_MOST = 1000  # more pictures mean damage or an attack


def offsets(jpeg: Jpeg) -> list[int]:
    """Offsets of all pictures but the first in the file, as the index of the first one says.

    Args:
        jpeg: First picture of the file.

    Returns:
        Offsets from the start of the file, unchecked; empty without an index, or with a damaged
        one.
    """
    for each in jpeg.segments:
        if each.marker == _APP2 and each.payload.startswith(PREFIX):
            header = each.start + 4 + len(PREFIX)  # offsets count from here
            try:
                return [header + offset for offset in _entries(each.payload[len(PREFIX) :])[1:]]
            except struct.error:
                return []
    return []


def index(primary: int, second: int, *, at: int) -> bytes:
    """A segment with the index of two pictures, the second right behind the first.

    Args:
        primary: Size of the first picture in bytes, without this segment.
        second: Size of the second one.
        at: Offset of this segment in the file.
    """
    head = len(PREFIX) + 4
    behind = 8 + 2 + 3 * 12 + 4  # of the block, where the entries are
    primary += head + behind + 2 * 16
    entries = struct.pack(">IIIHH", _PRIMARY, primary, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, second, primary - (at + head), 0, 0)
    table = struct.pack(">HHI4s", _VERSION, _UNDEFINED, 4, b"0100")
    table += struct.pack(">HHII", _COUNT, _LONG, 1, 2)
    table += struct.pack(">HHII", _ENTRIES, _UNDEFINED, len(entries), behind)
    block = b"MM\0*" + struct.pack(">IH", 8, 3) + table + bytes(4) + entries
    return segment(_APP2, PREFIX + block)


def grown(block: bytes, by: int) -> bytes:
    """The content of an index, behind ``PREFIX``, with the first picture larger by some bytes.

    Raises:
        struct.error: If it is damaged, or the size out of range.
    """
    order, rows = _rows(block)
    if not rows:
        return block
    at = rows.start + 4
    (size,) = struct.unpack_from(order + "I", block, at)
    return block[:at] + struct.pack(order + "I", size + by) + block[at + 4 :]


def with_larger_first(data: bytes, by: int) -> bytes:
    """A file whose index says that the first picture is larger; as it is if it has no index.

    Raises:
        struct.error: If the index is damaged.
    """
    jpeg = Jpeg.at(data)
    for each in () if jpeg is None else jpeg.segments:
        if each.marker == _APP2 and each.payload.startswith(PREFIX):
            at = each.start + 4 + len(PREFIX)
            block = grown(each.payload[len(PREFIX) :], by)
            return data[:at] + block + data[at + len(block) :]
    return data


def _entries(block: bytes) -> list[int]:
    """Offsets of all pictures from the start of the block, but for the first, which has 0."""
    order, rows = _rows(block)
    return [struct.unpack_from(order + "I", block, row + 8)[0] for row in rows]


def _rows(block: bytes) -> tuple[str, range]:
    """The order of bytes, and the offsets of the entries, of 16 bytes each."""
    if block[:4] not in TIFF_ORDERS:
        return "", range(0)
    table = TiffTable.of(io.BytesIO(block))
    for entry in table.entries:
        if table.tag(entry) == _ENTRIES:
            size, start = table.outside(entry)
            return table.order, range(start, start + 16 * min(size // 16, _MOST), 16)
    return table.order, range(0)
