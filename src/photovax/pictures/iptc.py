"""IPTC-IIM: captions, credits and copyright as agencies and libraries write them.

IPTC-NAA Information Interchange Model 4.2. JPEG holds it in a block of Photoshop's, TIFF in a tag.
PNG and WebP have no place for it: there its properties are carried into XMP, under the names that
the IPTC Photo Metadata Standard gives them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from photovax.pictures.xmp import DC, IPTC_CORE, PHOTOSHOP, Property

__all__ = [
    "CREATOR",
    "DESCRIPTION",
    "IIM_BLOCK",
    "IIM_TAG",
    "LARGEST_IN_JPEG",
    "RIGHTS",
    "SIGNATURE",
    "TITLE",
    "as_properties",
    "iim_in_blocks",
    "jpeg_segment",
    "not_in_xmp",
    "without_places",
]

IIM_TAG = 33723
"""Tag of TIFF that holds IIM."""

IIM_BLOCK = 0x0404
"""Number of Photoshop's block that holds IIM."""
SIGNATURE = b"Photoshop 3.0\0"
"""Beginning of JPEG's segment with Photoshop's blocks."""

LARGEST_IN_JPEG = 65_506
"""Bytes of an IIM that a segment of a JPEG holds, beside its identifier and the block's header."""

_LATIN_1 = {b"\x1b.A", b"\x1b-A", b"\x1b,A"}  # escape sequences of ISO 2022 in dataset 1:90
_PLACES = {26, 27, 90, 92, 95, 100, 101}
# The model's version, service identifier, editor's status, and what names programs or dates that
# EXIF has: nobody misses them.
_TECHNICAL = {0, 3, 7, 47, 60, 62, 63, 65, 70, 75, 200, 201, 202}
_DATE, _TIME = 55, 60

TITLE = Property(DC, "title", "Alt")
CREATOR = Property(DC, "creator", "Seq")
DESCRIPTION = Property(DC, "description", "Alt")
RIGHTS = Property(DC, "rights", "Alt")

# IPTC Photo Metadata Standard 2023.2, table "Mapping to IIM".
_PROPERTIES = {
    4: Property(IPTC_CORE, "IntellectualGenre"),
    5: TITLE,
    10: Property(PHOTOSHOP, "Urgency"),
    12: Property(IPTC_CORE, "SubjectCode", "Bag"),
    15: Property(PHOTOSHOP, "Category"),
    20: Property(PHOTOSHOP, "SupplementalCategories", "Bag"),
    25: Property(DC, "subject", "Bag"),
    40: Property(PHOTOSHOP, "Instructions"),
    _DATE: Property(PHOTOSHOP, "DateCreated"),
    80: CREATOR,
    85: Property(PHOTOSHOP, "AuthorsPosition"),
    90: Property(PHOTOSHOP, "City"),
    92: Property(IPTC_CORE, "Location"),
    95: Property(PHOTOSHOP, "State"),
    100: Property(IPTC_CORE, "CountryCode"),
    101: Property(PHOTOSHOP, "Country"),
    103: Property(PHOTOSHOP, "TransmissionReference"),
    105: Property(PHOTOSHOP, "Headline"),
    110: Property(PHOTOSHOP, "Credit"),
    115: Property(PHOTOSHOP, "Source"),
    116: RIGHTS,
    120: DESCRIPTION,
    122: Property(PHOTOSHOP, "CaptionWriter"),
}


def as_properties(iim: bytes) -> dict[Property, list[str]]:
    """The texts of an IIM, under their names in XMP."""
    charset, found, time = b"", dict[int, list[bytes]](), b""
    for record, dataset, value in _datasets(iim):
        if (record, dataset) == (1, 90):
            charset = value
        elif (record, dataset) == (2, _TIME):
            time = value
        elif record == 2 and dataset in _PROPERTIES:
            found.setdefault(dataset, []).append(value)
    made = {}
    for dataset, values in found.items():
        texts = [_text(value, charset) for value in values]
        if dataset == _DATE:
            texts = [_date(text, _text(time, charset)) for text in texts]
        if texts := [text for text in texts if text]:
            made[_PROPERTIES[dataset]] = texts
    return made


def not_in_xmp(iim: bytes) -> list[str]:
    """Numbers of the datasets, as in ``2:118``, that XMP has no name for and somebody may miss."""
    known = {*_PROPERTIES, *_TECHNICAL}
    left = {(r, d) for r, d, _ in _datasets(iim) if r > 2 or (r == 2 and d not in known)}
    return [f"{record}:{dataset}" for record, dataset in sorted(left)]


def without_places(iim: bytes) -> bytes | None:
    """An IIM without countries, cities and locations; None if nothing is left."""
    kept = b""
    for record, dataset, value in _datasets(iim):
        if record != 2 or dataset not in _PLACES:
            size = len(value)
            length = struct.pack(">H", size) if size < 1 << 15 else struct.pack(">HI", 0x8004, size)
            kept += bytes([0x1C, record, dataset]) + length + value
    return kept or None


def iim_in_blocks(blocks: bytes) -> bytes | None:
    """The IIM among Photoshop's blocks; the bytes themselves where they are IIM."""
    at = len(SIGNATURE) if blocks.startswith(SIGNATURE) else 0
    while blocks.startswith(b"8BIM", at) and at + 12 <= len(blocks):
        (code,) = struct.unpack_from(">H", blocks, at + 4)
        at += 6 + (blocks[at + 6] + 2) // 2 * 2  # a name, padded to an even length
        size = int.from_bytes(blocks[at : at + 4], "big")
        at += 4
        if code == IIM_BLOCK:
            blocks, at = blocks[at : at + size], 0
            break
        at += size + size % 2
    return blocks if at == 0 and blocks.startswith(b"\x1c") else None


def jpeg_segment(iim: bytes) -> bytes:
    """The segment of a JPEG (APP13) with an IIM of at most ``LARGEST_IN_JPEG`` bytes."""
    block = b"8BIM" + struct.pack(">HHI", IIM_BLOCK, 0, len(iim)) + iim + bytes(len(iim) % 2)
    return b"\xff\xed" + struct.pack(">H", 2 + len(SIGNATURE) + len(block)) + SIGNATURE + block


def _datasets(iim: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and value of each dataset, up to the end or damage."""
    at = 0
    while at + 5 <= len(iim) and iim[at] == 0x1C:
        record, dataset, size = struct.unpack_from(">BBH", iim, at + 1)
        at += 5
        if size & 0x8000:  # the length of the length
            at, size = at + (size & 0x7FFF), int.from_bytes(iim[at : at + (size & 0x7FFF)], "big")
        if at + size > len(iim):
            return
        yield record, dataset, iim[at : at + size]
        at += size


def _text(value: bytes, charset: bytes) -> str:
    """Text, often in UTF-8 or the Latin alphabet of Windows without saying so."""
    value = value.rstrip(b"\0 ")
    if charset not in _LATIN_1:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return value.decode("cp1252", "replace")


def _date(date: str, time: str) -> str:
    """CCYYMMDD and HHMMSS±HHMM in the form of ISO 8601; the date as it is if it has another."""
    if not (found := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", date)):
        return date
    year, month, day = found.groups()
    if "00" in (month, day):  # not known
        return year if month == "00" else f"{year}-{month}"
    shown = f"{year}-{month}-{day}"
    if found := re.fullmatch(r"(\d\d)(\d\d)(\d\d)(?:([+-]\d\d)(\d\d))?", time):
        hour, minute, second, zone, more = found.groups()
        shown += f"T{hour}:{minute}:{second}" + (f"{zone}:{more}" if zone else "")
    return shown
