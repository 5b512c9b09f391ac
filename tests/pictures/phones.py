"""Files as phones write them: JPEGs with gain maps, videos and other pictures behind them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

from tests.pictures.made import smooth

HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
APPLE = (
    'xmlns:apdi="http://ns.apple.com/pixeldatainfo/1.0/" '
    'apdi:AuxiliaryImageType="urn:com:apple:photo:2020:aux:hdrgainmap"'
)
# What a reader needs to make HDR of it: up to four times as bright.
SETTINGS = (
    f'xmlns:hdrgm="{HDRGM}" hdrgm:Version="1.0" hdrgm:GainMapMin="0.0" hdrgm:GainMapMax="2.0" '
    'hdrgm:Gamma="1.0" hdrgm:OffsetSDR="0.015625" hdrgm:OffsetHDR="0.015625" '
    'hdrgm:HDRCapacityMin="0.0" hdrgm:HDRCapacityMax="2.0" hdrgm:BaseRenditionIsHDR="False"'
)
PHOTOS = "http://ns.google.com/photos/1.0/"
MP4 = (
    struct.pack(">I4s8s", 16, b"ftyp", b"mp42\0\0\0\0")
    + struct.pack(">I4s", 24, b"mdat")
    + b"\xff\xd8\xff\xdbno picture\0\0"
)


def packet(attributes: str, content: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="kept" {attributes}>{content}'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def directory(*items: tuple[str, int]) -> str:
    """A GContainer directory of the primary picture and of further items (semantic, length)."""
    listed = [("Primary", 0), *items]
    return (
        f'<Container:Directory xmlns:Container="{PHOTOS}container/" '
        f'xmlns:Item="{PHOTOS}container/item/"><rdf:Seq>'
        + "".join(
            f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{semantic}" '
            f'Item:Mime="image/jpeg" Item:Length="{length}" Item:Padding="0"/></rdf:li>'
            for semantic, length in listed
        )
        + "</rdf:Seq></Container:Directory>"
    )


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg(
    pixels: np.ndarray, *segments: bytes, xmp: bytes | None = None, exif: bytes | None = None
) -> bytes:
    """A JPEG with further segments behind its JFIF segment."""
    options: dict[str, Any] = {"xmp": xmp, "exif": exif}
    given = {key: value for key, value in options.items() if value is not None}
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0, **given)
    data = file.getvalue()
    return data[:20] + b"".join(segments) + data[20:]


def gain_map(*segments: bytes, xmp: bytes | None = None, exif: bytes | None = None) -> bytes:
    """A gain map of a quarter of the sides of ``base``: bright in the bottom right corner."""
    pixels = smooth(16, 24)[..., 2]
    return jpeg(pixels, *segments, xmp=packet(SETTINGS) if xmp is None else xmp, exif=exif)


def base() -> np.ndarray:
    return smooth(64, 96)


def indexed(first: bytes, *others: bytes, order: str = "<") -> bytes:
    """A file of several JPEGs with an index of them, as CIPA DC-007 has it."""
    size = 20 + 90 + 16 * (len(others) - 1) + len(first) - 20
    header, offset = 20 + 8, size
    rows = struct.pack(order + "IIIHH", 0x030000, size, 0, 0, 0)
    for each in others:
        rows += struct.pack(order + "IIIHH", 0, len(each), offset - header, 0, 0)
        offset += len(each)
    table = struct.pack(order + "HHHI4s", 3, 0xB000, 7, 4, b"0100")
    table += struct.pack(order + "HHII", 0xB001, 4, 1, 1 + len(others))
    table += struct.pack(order + "HHII", 0xB002, 7, len(rows), 50) + bytes(4)
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    index = segment(0xE2, b"MPF\0" + start + table + rows)
    return b"".join([first[:20], index, first[20:], *others])


def ultra_hdr(
    mapped: bytes,
    *,
    mpf: bool = True,
    listed: bool = True,
    exif: bytes | None = None,
    iso: bytes | None = None,
    behind: bytes = b"",
    attributes: str = "",
) -> bytes:
    """A photo with its gain map, as Ultra HDR Image Format 1.1 has it.

    ``attributes`` are further ones of XMP; ``behind`` is a video that the directory lists too.
    """
    items = [("GainMap", len(mapped)), *([("MotionPhoto", len(behind))] if behind else [])]
    version = f'xmlns:hdrgm="{HDRGM}" hdrgm:Version="1.0" '
    xmp = packet(version + attributes, directory(*items)) if listed else None
    more = [] if iso is None else [segment(0xE2, ISO + iso)]
    first = jpeg(base(), *more, xmp=xmp, exif=exif)
    return (indexed(first, mapped) if mpf else first + mapped) + behind


def parts(data: bytes) -> tuple[bytes, bytes]:
    """The two pictures that the index of a file points at, read byte for byte."""
    header = data.index(b"MPF\0") + 4
    order = {b"II*\0": "<", b"MM\0*": ">"}[data[header : header + 4]]
    (first,) = struct.unpack_from(order + "I", data, header + 4)
    (count,) = struct.unpack_from(order + "H", data, header + first)
    tags = {}
    for at in range(header + first + 2, header + first + 2 + 12 * count, 12):
        tag, _, size, value = struct.unpack_from(order + "HHII", data, at)
        tags[tag] = (size, value)
    assert data[header + first + 10 :][:4] == b"0100"
    assert tags[0xB001][1] == 2
    assert tags[0xB002][0] == 32
    rows = [
        struct.unpack_from(order + "IIIHH", data, header + tags[0xB002][1] + 16 * i) for i in (0, 1)
    ]
    (kind, size, offset, *_), (_, second_size, second, *_) = rows
    assert (kind, offset) == (0x030000, 0)
    at = header + second
    assert at == size
    assert at + second_size == len(data)
    return data[:size], data[at:]
