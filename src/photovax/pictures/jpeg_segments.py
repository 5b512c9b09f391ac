"""The segments of a JPEG file (ITU-T T.81, annex B), and where its picture ends.

A file may hold more than one picture, one after another, and other data behind them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Jpeg", "Segment", "segment"]

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP15 = 0xE0, 0xE1, 0xEF
# In compressed data, FF is followed by 00 or by the number of a restart.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


@dataclass(frozen=True)
class Segment:
    """A marker segment before the compressed data.

    Attributes:
        marker: Second byte of its marker: 0xE1 for APP1.
        payload: Its bytes behind the length.
        start: Offset of the marker in the file.
    """

    marker: int
    payload: bytes
    start: int

    @property
    def application(self) -> bool:
        """Whether it is one of APP0 to APP15, which hold metadata."""
        return _APP0 <= self.marker <= _APP15


@dataclass(frozen=True)
class Jpeg:
    """One picture in a file.

    Attributes:
        start: Offset of its first byte, the SOI marker.
        end: Offset behind its last byte, the EOI marker.
        segments: Its segments up to the compressed data.
        body: Offset of the first segment that is not an APP segment.
    """

    start: int
    end: int
    segments: tuple[Segment, ...]
    body: int

    @classmethod
    def at(cls, data: bytes, start: int = 0) -> Jpeg | None:
        """Read the picture at an offset; None if there is none, or it is cut short."""
        try:
            return cls._whole(data, start)
        except (IndexError, struct.error):
            return None

    @classmethod
    def _whole(cls, data: bytes, start: int) -> Jpeg | None:
        if data[start : start + 3] != b"\xff\xd8\xff":
            return None
        found: list[Segment] = []
        body, at, compressed = None, start + 2, False
        while True:
            while data[at] == 0xFF == data[at + 1]:  # filling
                at += 1
            marker = data[at + 1]
            if data[at] != 0xFF or marker == _SOI:
                return None
            if marker == _EOI:
                end = at + 2
                return cls(start, end, tuple(found), end if body is None else body)
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2:
                return None
            if not compressed:
                found.append(Segment(marker, data[at + 4 : at + 2 + length], at))
                if body is None and not found[-1].application:
                    body = at
            at += 2 + length
            if marker == _SOS:
                compressed = True
                following = _MARKER.search(data, at)
                if following is None:
                    return None
                at = following.start()

    def payloads(self, marker: int, prefix: bytes) -> Iterator[bytes]:
        """The payloads of segments of one kind, without the prefix that identifies it."""
        for each in self.segments:
            if each.marker == marker and each.payload.startswith(prefix):
                yield each.payload[len(prefix) :]

    @property
    def xmp(self) -> bytes | None:
        """The XMP packet, without its extension."""
        return next(self.payloads(_APP1, _XMP), None)

    @property
    def exif(self) -> bytes | None:
        """The EXIF block, with its prefix."""
        found = next(self.payloads(_APP1, _EXIF), None)
        return None if found is None else _EXIF + found

    def rewritten(self, data: bytes, *, exif: bytes | None, xmp: bytes | None) -> bytes:
        """The picture with other EXIF and XMP, which None removes; all else keeps its bytes."""
        fresh = {_EXIF: exif, _XMP: None if xmp is None else _XMP + xmp}
        parts = [data[self.start : self.start + 2]]
        for each in self._applications():
            kind = next((kind for kind in fresh if each.payload.startswith(kind)), None)
            if each.marker != _APP1 or kind is None:
                parts.append(segment(each.marker, each.payload))
            elif (payload := fresh[kind]) is not None:
                parts.append(segment(_APP1, payload))
                fresh[kind] = None  # it stands once, even if it was in several segments
        return b"".join([*parts, data[self.body : self.end]])

    def extended(self, data: bytes, more: Iterable[bytes]) -> bytes:
        """The picture with further segments behind its APP segments."""
        return b"".join([data[self.start : self.body], *more, data[self.body : self.end]])

    def _applications(self) -> list[Segment]:
        return [each for each in self.segments if each.start < self.body]


def segment(marker: int, payload: bytes) -> bytes:
    """A segment as it stands in a file.

    Raises:
        struct.error: If the payload is longer than a segment holds.
    """
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
