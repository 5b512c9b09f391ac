"""Metadata of a photo's file, and edits of EXIF: orientation, thumbnails and location removed.

EXIF is a small TIFF file: tables of tags whose values lie at offsets from its start. Rewriting it
would move those offsets, and a maker note, whose layout only its camera knows, would then point
at the wrong bytes. It is therefore edited in place: entries are removed, bytes are set to zero,
and everything else keeps its offset.
"""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass, replace

from photovax.pictures.containers import TIFF_ORDERS
from photovax.pictures.iptc import without_places
from photovax.pictures.xmp import IPTC_CORE, PHOTOSHOP, property_names, without_properties

__all__ = [
    "ExifTable",
    "Metadata",
    "tidied",
]

_PREFIX = b"Exif\0\0"
_X_RESOLUTION = 0x011A
_ORIENTATION, _GPS = 0x0112, 0x8825
_EXIF_TABLE, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003
_PACKETS = (700, 33723, 34377)  # XMP, IPTC and Photoshop's blocks, whose places are others
_MOST_GPS_TAGS = 64  # the standard has 32; more is damage or an attack
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_THUMBNAIL_TAGS = ((0x0201, 0x0202), (0x0111, 0x0117))  # (where, how many bytes): JPEG, strips

_NS_TIFF = b"http://ns.adobe.com/tiff/1.0/"
_NS_XMP = b"http://ns.adobe.com/xap/1.0/"
# Properties with the location, by namespace. Those called GPS... are removed in any namespace,
# since makers of drones have their own.
_PLACES = {
    PHOTOSHOP.encode(): rb"(?:City|State|Country)",
    IPTC_CORE.encode(): rb"(?:Location|CountryCode)",
    b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/": rb"Location(?:Created|Shown)",
}


@dataclass(frozen=True)
class Metadata:
    """Metadata that is kept along with the pixels.

    Attributes:
        icc: Colour profile of the pixel values; None means sRGB.
        exif: EXIF block as in a JPEG, with its ``Exif`` prefix, without orientation and thumbnails.
        xmp: XMP packet, XML in UTF-8, without orientation and thumbnails.
        dpi: Dots per inch, (horizontal, vertical), both above 1 and finite.
        iptc: IPTC-IIM as in the file.
        texts: Keywords and texts, as in PNG; ``Comment`` is also that of a JPEG.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    iptc: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()

    def without_gps(self) -> Metadata:
        """The same without the EXIF GPS table, ``GPS…`` of XMP and texts, and names of places.

        A block that is too damaged to be searched is removed as a whole. A maker note, which only
        its camera can read, is left unchanged.
        """
        exif, xmp = self.exif, self.xmp
        if exif is not None:
            try:
                exif = ExifTable(exif).without_gps()
            except ValueError:
                exif = None
        if xmp is not None:
            xmp = without_properties(xmp, None, rb"(?i:gps)\w*")
            for namespace, names in _PLACES.items():
                xmp = xmp and without_properties(xmp, namespace, names)
            xmp = xmp and (None if _names_a_place(xmp) else xmp)
        iptc = self.iptc and without_places(self.iptc)
        texts = tuple(each for each in self.texts if "gps" not in each[0].lower())
        return replace(self, exif=exif, xmp=xmp, iptc=iptc, texts=texts)


def _names_a_place(xmp: bytes) -> bool:
    """Whether a packet still has what was cut out of it, in a spelling that was not found."""
    try:
        names = property_names(xmp)
    except ValueError:
        return True  # too damaged to be searched
    return any(
        name.lower().startswith("gps")
        or re.fullmatch(_PLACES.get(space.encode(), rb"(?!)"), name.encode()) is not None
        for space, name in names
    )


def has_dpi(exif: bytes | None) -> bool:
    """Whether an EXIF block, or none, has a resolution."""
    try:
        return exif is not None and ExifTable(exif).has_resolution()
    except ValueError:
        return False


def tidied(metadata: Metadata) -> tuple[Metadata, int, list[str]]:
    """Remove what is wrong for a picture that is turned upright and changed.

    Args:
        metadata: Metadata as found in a file.

    Returns:
        The metadata without orientation and thumbnails; the orientation that was in it (1 to 8,
        as in EXIF); and a note for each block that was too damaged to keep.
    """
    orientation, notes = None, []
    exif, xmp = metadata.exif, metadata.xmp
    if exif is not None:
        try:
            table = ExifTable(exif)
            orientation = table.orientation()
            if orientation is not None and orientation > 4:  # turned by a quarter
                table.turn()
            exif = table.tidied()
        except ValueError as error:
            exif = None
            notes.append(f"damaged EXIF ({error}): not kept")
    if xmp is not None:
        if orientation is None and (found := re.search(rb'tiff:Orientation(?:="|>)([1-8])', xmp)):
            orientation = int(found[1])
        xmp = without_properties(xmp, _NS_TIFF, rb"Orientation")
        xmp = xmp and without_properties(xmp, _NS_XMP, rb"Thumbnails")
        with suppress(ValueError):
            # Parsed only where the name is left at all: every photo that is read comes here.
            if (
                xmp
                and b"Thumbnails" in xmp
                and (_NS_XMP.decode(), "Thumbnails") in property_names(xmp)
            ):
                xmp = None  # in a spelling that was not found
        if xmp is None:
            notes.append("XMP that is not whole XML in UTF-8: not kept")
    return replace(metadata, exif=exif, xmp=xmp), orientation or 1, notes


class ExifTable:
    """An EXIF block and its first table (IFD0).

    Args:
        exif: The block, with or without the ``Exif`` prefix.

    Attributes:
        body: Block from its TIFF header on, where offsets count from.
        order: Byte order, ``<`` or ``>`` as in ``struct``.
        entries: Entries of the first table, 12 bytes each, as in the file.

    Raises:
        ValueError: If the first table cannot be found or is cut short.
    """

    def __init__(self, exif: bytes) -> None:
        while exif.startswith(_PREFIX):
            exif = exif[len(_PREFIX) :]
        self.body = bytearray(exif)
        order = TIFF_ORDERS.get(exif[:4])
        if order is None or len(exif) < 8:
            raise ValueError("no TIFF header")
        self.order = order
        (self._at,) = struct.unpack(order + "I", exif[4:8])
        self.entries, self._next = self._table(self._at)

    def tag_of(self, entry: bytes) -> int:
        """The number of an entry's tag."""
        (tag,) = struct.unpack_from(self.order + "H", entry)
        return int(tag)

    def orientation(self) -> int | None:
        """The orientation, 1 to 8; None if there is none or it is out of range."""
        for entry in self.entries:
            if self.tag_of(entry) == _ORIENTATION:
                values = self._numbers(entry)
                return values[0] if values and values[0] in range(1, 9) else None
        return None

    def has_resolution(self) -> bool:
        """Whether it says how many pixels an inch has."""
        return any(self.tag_of(entry) == _X_RESOLUTION for entry in self.entries)

    def tidied(self) -> bytes | None:
        """The block without orientation and thumbnails; None if nothing is left."""
        if self._next:
            self._blank_thumbnail(self._next)
        self._blank_jpegs()
        return self._without(_ORIENTATION)

    def turn(self) -> None:
        """Exchange the width and the height that the table of the photo states."""
        for entry in self.entries:
            if self.tag_of(entry) != _EXIF_TABLE:
                continue
            for at in self._numbers(entry):
                with suppress(ValueError):  # a photo may be kept with a damaged inner table
                    places = {
                        self.tag_of(inner): at + 2 + 12 * number
                        for number, inner in enumerate(self._table(at)[0])
                    }
                    if places.keys() >= {_WIDTH, _HEIGHT}:
                        first, second = (
                            slice(places[tag] + 2, places[tag] + 12) for tag in (_WIDTH, _HEIGHT)
                        )
                        self.body[first], self.body[second] = self.body[second], self.body[first]

    def without_gps(self) -> bytes | None:
        """The block with its GPS table set to zero and unlinked; None if nothing is left.

        Packets of XMP and IPTC inside it, which repeat what stands beside it, go as well.
        """
        for entry in self.entries:
            if self.tag_of(entry) in _PACKETS:
                self._blank(*self._place(entry))
        for entry in self.entries:
            if self.tag_of(entry) == _GPS:
                for at in self._numbers(entry):
                    table, _ = self._table(at)
                    if len(table) > _MOST_GPS_TAGS:
                        raise ValueError("a GPS table that is too long")
                    for value in table:
                        self._blank(*self._place(value))
                    self._blank(at, 2 + 12 * len(table))
        return self._without(_GPS, *_PACKETS)

    def _table(self, at: int) -> tuple[list[bytes], int]:
        """The entries of the table at an offset, and the offset of the next table or 0."""
        if at < 8 or at + 2 > len(self.body):
            raise ValueError("a table outside the block")
        (count,) = struct.unpack_from(self.order + "H", self.body, at)
        start, end = at + 2, at + 2 + 12 * count
        if end > len(self.body):
            raise ValueError("a table that is cut short")
        entries = [bytes(self.body[i : i + 12]) for i in range(start, end, 12)]
        following = bytes(self.body[end : end + 4])  # some cameras omit it at the very end
        return entries, struct.unpack(self.order + "I", following)[0] if len(following) == 4 else 0

    def _place(self, entry: bytes) -> tuple[int, int]:
        """Offset and length of a value outside its entry; (0, 0) where it is inside."""
        _, kind, count, offset = struct.unpack(self.order + "HHII", entry)
        size = _TYPE_SIZES.get(kind, 1) * count
        return (offset, size) if size > 4 else (0, 0)

    def _numbers(self, entry: bytes) -> tuple[int, ...]:
        """The values of an entry of whole numbers; none if it has another type."""
        _, kind, count = struct.unpack_from(self.order + "HHI", entry)
        code = {3: "H", 4: "I", 13: "I"}.get(kind)
        at, size = self._place(entry)
        data = bytes(self.body[at : at + size]) if size else entry[8:]
        if code is None or count * _TYPE_SIZES[kind] > len(data):
            return ()
        return struct.unpack_from(f"{self.order}{count}{code}", data)

    def _blank(self, at: int, size: int) -> None:
        end = min(at + size, len(self.body))
        self.body[at:end] = bytes(max(end - at, 0))

    def _blank_thumbnail(self, at: int) -> None:
        """Set the second table (IFD1), which describes the thumbnail, and the thumbnail to zero."""
        try:
            entries, _ = self._table(at)
        except ValueError:
            return  # its offset is invalid, and it is unlinked in any case
        values = {self.tag_of(entry): self._numbers(entry) for entry in entries}
        for where, how_many in _THUMBNAIL_TAGS:
            for start, size in zip(values.get(where, ()), values.get(how_many, ()), strict=False):
                self._blank(start, size)
        self._blank(at, 2 + 12 * len(entries))

    def _blank_jpegs(self) -> None:
        """Set every JPEG to zero: maker notes hold further previews, some of them large."""
        end = 0
        while (start := self.body.find(b"\xff\xd8\xff", end)) >= 0:
            end = self.body.find(b"\xff\xd9", start) + 2
            if end < 2:
                return
            self._blank(start, end - start)

    def _without(self, *tags: int) -> bytes | None:
        """Rewrite the first table in place without some tags, and unlink the next table."""
        kept = [entry for entry in self.entries if self.tag_of(entry) not in tags]
        table = struct.pack(self.order + "H", len(kept)) + b"".join(kept) + bytes(4)
        size = 2 + 12 * len(self.entries) + 4
        self.body[self._at : self._at + size] = table.ljust(size, b"\0")
        return _PREFIX + bytes(self.body) if kept else None
