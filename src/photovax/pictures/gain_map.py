"""Gain maps: the second picture in a JPEG from which viewers make an HDR photo of the first.

Google's Ultra HDR Image Format 1.1 announces it in XMP, ISO 21496-1 in an APP2 segment, and Apple
in the gain map's own XMP only. It is found through the Multi-Picture Format (CIPA DC-007), or the
directory of GContainer in XMP, or because it follows the first picture.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from photovax.pictures import multi_picture
from photovax.pictures.compression import LEAST_LOSS
from photovax.pictures.exif import Metadata, tidied
from photovax.pictures.jpeg_segments import Jpeg, segment
from photovax.pictures.orientation import upright
from photovax.pictures.pillow import DECODER_ERRORS
from photovax.pictures.xmp import RDF, described

__all__ = ["CONTAINER", "HDRGM", "ISO", "ITEM", "GainMap", "is_gain_map"]

HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
"""Namespace of the gain map's own properties."""
CONTAINER = "http://ns.google.com/photos/1.0/container/"
"""Namespace of the directory of all pictures in a file."""
ITEM = CONTAINER + "item/"
"""Namespace of the properties of its items."""
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
"""Begin of ISO 21496-1's APP2 segments."""

_APP2 = 0xE2
_ENCODINGS = (0xE0, 0xEE)  # JFIF's and Adobe's segments, which say how colours are encoded
_APPLE = b"aux:hdrgainmap"


@dataclass(frozen=True)
class GainMap:
    """A gain map, and how the first picture announces it.

    Attributes:
        data: The gain map, a JPEG file.
        version: ``hdrgm:Version`` of the first picture's XMP; empty if it has none.
        iso: Content of ISO 21496-1's segment in the first picture; empty if it has none.
    """

    data: bytes
    version: str = ""
    iso: bytes = b""

    @classmethod
    def of(cls, jpeg: Jpeg, data: bytes, primary: Jpeg, version: str) -> GainMap:
        """The gain map of a file.

        Args:
            jpeg: Place of the gain map.
            data: The file.
            primary: Place of the first picture.
            version: ``hdrgm:Version`` of its XMP, of letters, digits and dots, or empty.
        """
        itself = data[jpeg.start : jpeg.end]
        if jpeg.exif is not None:  # which may hold a preview of the photo before it was changed
            known, _, _ = tidied(Metadata(exif=jpeg.exif))
            itself = jpeg.rewritten(data, exif=known.exif, xmp=jpeg.xmp)
        return cls(itself, version, iso=next(primary.payloads(_APP2, ISO), b""))

    def without_gps(self) -> GainMap | None:
        """The same without the location in its own EXIF and XMP.

        None if its XMP is so damaged that it goes as a whole, and says alone that this is a gain
        map.
        """
        jpeg = Jpeg.at(self.data)
        if jpeg is None or (jpeg.exif is None and jpeg.xmp is None):
            return self
        known = Metadata(exif=jpeg.exif, xmp=jpeg.xmp).without_gps()
        data = jpeg.rewritten(self.data, exif=known.exif, xmp=known.xmp)
        still = Jpeg.at(data)
        named = self.version or (still is not None and is_gain_map(still))
        return replace(self, data=data) if named else None

    def turned(self, orientation: int) -> GainMap | None:
        """The same, turned as the photo is; None if it cannot be decoded.

        It is encoded again, with the least loss; its APP segments stay.

        Args:
            orientation: EXIF orientation of the photo that is undone, 1 to 8; 1 changes nothing.
        """
        jpeg = Jpeg.at(self.data)
        if orientation == 1 or jpeg is None:
            return self
        try:
            with Image.open(io.BytesIO(self.data), formats=["JPEG"]) as image:
                if image.mode not in ("L", "RGB"):
                    return None
                array = upright(np.array(image), orientation)
        except (*DECODER_ERRORS, Image.DecompressionBombError):
            return None
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", **LEAST_LOSS.options())
        fresh = Jpeg.at(file.getvalue())
        if fresh is None:
            return None
        kept = (
            segment(each.marker, each.payload)
            for each in jpeg.segments
            if each.application and each.marker not in _ENCODINGS
        )
        return replace(self, data=fresh.extended(file.getvalue(), kept))

    def announced(self, xmp: bytes | None) -> bytes | None:
        """The XMP packet of the first picture with what Ultra HDR 1.1 asks of it.

        Args:
            xmp: Packet without a directory; None if there is none.
        """
        if not self.version:
            return xmp
        primary = '<Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/>'
        second = (
            '<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" '
            f'Item:Length="{len(self.data)}"/>'
        )
        items = "".join(
            f'<rdf:li rdf:parseType="Resource">{item}</rdf:li>' for item in (primary, second)
        )
        return described(
            xmp,
            f'<rdf:Description rdf:about="" xmlns:rdf="{RDF}" xmlns:Container="{CONTAINER}" '
            f'xmlns:Item="{ITEM}" xmlns:hdrgm="{HDRGM}" hdrgm:Version="{self.version}">'
            f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory>"
            "</rdf:Description>",
        )

    def appended(self, base: bytes) -> bytes:
        """The file of a photo with its gain map.

        Args:
            base: The photo as a JPEG file, whose XMP is ``announced``.

        Raises:
            ValueError: If the photo is no JPEG file.
        """
        jpeg = Jpeg.at(base)
        if jpeg is None:
            raise ValueError("a gain map needs a JPEG file before it")
        more = segment(_APP2, ISO + self.iso) if self.iso else b""
        at, size = jpeg.body + len(more), len(base) + len(more)
        index = multi_picture.index(size, len(self.data), at=at)
        return jpeg.extended(base, [more, index]) + self.data


def is_gain_map(jpeg: Jpeg) -> bool:
    """Whether a picture behind the first one says that it is a gain map."""
    xmp = jpeg.xmp or b""
    return (
        HDRGM.encode() in xmp or _APPLE in xmp or next(jpeg.payloads(_APP2, ISO), None) is not None
    )
