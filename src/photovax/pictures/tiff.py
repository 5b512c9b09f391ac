"""Writing of TIFF that is compressed and keeps the photo's EXIF tables, which Pillow cannot."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from photovax.pictures.exif import ExifTable
from photovax.pictures.iptc import IIM_TAG
from photovax.pictures.photo import Photo
from photovax.pictures.texts import KEYWORDS, carried

__all__ = ["write_tiff"]

# TIFF tags that describe stored pixels, which must not be copied from another file.
_ABOUT_PIXELS = {
    *(*range(254, 269), *range(273, 285), *range(288, 294), 296, 301, *range(317, 348)),
    *(*range(512, 533), 700, 34675),
    50706,  # DNGVersion, which marks a camera's raw file
}
_EMPTY_EXIF = b"II*\0\x08\0\0\0" + bytes(6)
_STRIP_BYTES = 1 << 18
_SHORT, _LONG, _RATIONAL, _BYTE, _UNDEFINED = 3, 4, 5, 1, 7


def write_tiff(photo: Photo, file: BinaryIO) -> None:
    """Write deflated strips after the photo's own EXIF block.

    An EXIF block is a TIFF without pixels. At the start of the file every offset in it stays
    valid, so that it is kept byte for byte (Pillow would drop its inner tables), and only the
    first table is written anew.

    Args:
        photo: The photo.
        file: Empty seekable file that is open for writing.

    Raises:
        ValueError: If the EXIF block is damaged.
        OSError: If the disk refuses the file.
    """
    known = photo.metadata
    table = ExifTable(known.exif or _EMPTY_EXIF)
    order = table.order
    file.write(table.body)

    def append(data: bytes) -> int:
        file.write(b"\0" * (file.tell() % 2))  # values start at even offsets
        start = file.tell()
        file.write(data)
        return start

    channels = photo.pixels.shape[2] + (photo.alpha is not None)
    rows = max(1, _STRIP_BYTES // (photo.width * channels))
    strips = []
    for top in range(0, photo.height, rows):
        strip = photo.pixels[top : top + rows]
        if photo.alpha is not None:
            strip = np.dstack([strip, photo.alpha[top : top + rows]])
        # differences along the row, modulo 256, deflate better
        strip = np.concatenate([strip[:, :1], strip[:, 1:] - strip[:, :-1]], axis=1)
        data = zlib.compress(strip.tobytes(), 6)
        strips.append((append(data), len(data)))

    values: dict[int, tuple[int, Sequence[int]]] = {
        256: (_LONG, [photo.width]),
        257: (_LONG, [photo.height]),
        258: (_SHORT, [8] * channels),
        259: (_SHORT, [8]),  # deflate
        262: (_SHORT, [1 if photo.grey else 2]),
        273: (_LONG, [start for start, _ in strips]),
        277: (_SHORT, [channels]),
        278: (_LONG, [rows]),
        279: (_LONG, [size for _, size in strips]),
        317: (_SHORT, [2]),  # horizontal differences
    }
    if photo.alpha is not None:
        values[338] = (_SHORT, [2])  # alpha is not multiplied into the colours
    if known.dpi is not None:
        for tag, dots in zip((282, 283), known.dpi, strict=True):
            values[tag] = (_RATIONAL, [round(dots * 1000), 1000])
        values[296] = (_SHORT, [2])  # an inch
    if (xmp := carried(known, keywords=KEYWORDS)) is not None:
        values[700] = (_BYTE, xmp)
    if known.iptc is not None:
        values[IIM_TAG] = (_UNDEFINED, known.iptc)
    if known.icc is not None:
        values[34675] = (_UNDEFINED, known.icc)

    entries = {table.tag_of(entry): entry for entry in table.entries}
    for tag in _ABOUT_PIXELS.intersection(entries):
        del entries[tag]
    for tag, (kind, value) in values.items():
        code = {_SHORT: "H", _LONG: "I", _RATIONAL: "I"}.get(kind, "B")
        data = struct.pack(f"{order}{len(value)}{code}", *value)
        count = len(value) // 2 if kind == _RATIONAL else len(value)
        field = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", append(data))
        entries[tag] = struct.pack(order + "HHI", tag, kind, count) + field
    first = append(
        struct.pack(order + "H", len(entries))
        + b"".join(entries[tag] for tag in sorted(entries))
        + bytes(4)
    )
    file.seek(4)
    file.write(struct.pack(order + "I", first))
