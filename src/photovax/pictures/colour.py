"""Colour that a file tells otherwise than by an ICC profile, as an ICC profile.

PNG has chunks for it (PNG, third edition, section 4.4: cICP goes before iCCP, then sRGB, then cHRM
and gAMA), HEIC and AVIF an ``nclx`` box (ISO/IEC 14496-12), TIFF tags, and cameras an index in EXIF
(DCF 2.0). None of them has a place in all types that are written; a profile has.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from photovax.errors import UnreadablePhoto
from photovax.pictures.containers import boxes, png_chunks, read_at
from photovax.pictures.pillow import DECODER_ERRORS
from photovax.pictures.profiles import (
    ADOBE_RGB,
    BT2020,
    DISPLAY_P3,
    SRGB_CURVE,
    SRGB_PRIMARIES,
    ColourSpace,
)

__all__ = ["FileColour", "colour_in_file", "profile_of"]

_C, _D65 = (0.310, 0.316), SRGB_PRIMARIES[:2]
_BT601 = (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)
# ITU-T H.273, tables 2 and 3: what the numbers in cICP and nclx mean.
_PRIMARIES = {
    1: SRGB_PRIMARIES,
    4: (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: _BT601,
    7: _BT601,
    8: (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: BT2020,
    11: (0.314, 0.351, *DISPLAY_P3[2:]),
    12: DISPLAY_P3,
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_CURVES = {
    # The curves of video cameras: displays do not invert them exactly, and browsers use sRGB's.
    **dict.fromkeys((1, 6, 11, 12, 13, 14, 15), SRGB_CURVE),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912),
    8: (1.0,),
}
_UNSPECIFIED = 2
_HDR = {16: "PQ", 18: "HLG"}
_PQ_PROFILE = b"ITUR_2100_PQ_FULL\0"  # W3C Note "Using the ITU BT.2100 PQ EOTF with PNG"
_ADOBE_GAMMA = 563 / 256
_WHITE_POINT, _PRIMARY_CHROMATICITIES, _TRANSFER_FUNCTION = 318, 319, 301
_EXIF_TABLE, _INTEROP_TABLE, _COLOUR_SPACE = 0x8769, 0xA005, 0xA001


@dataclass(frozen=True)
class FileColour:
    """What only the bytes of a file tell, not Pillow.

    Attributes:
        code_points: Colour primaries and transfer characteristics, as numbers of ITU-T H.273.
        icc: Profile that Pillow does not read.
        bits: Bits per channel; 0 if they are not told.
    """

    code_points: tuple[int, int] | None = None
    icc: bytes | None = None
    bits: int = 0


def colour_in_file(image: Image.Image) -> FileColour:
    """Read what Pillow leaves in the file: cICP of PNG, nclx of AVIF, the profile of JPEG 2000.

    Of AVIF and JPEG 2000 also the number of bits.

    Args:
        image: Opened image that is not loaded yet: Pillow lets the file go then.

    Raises:
        UnreadablePhoto: If a PNG has values of narrow range (without the file's name).
    """
    reader = _READERS.get(image.format or "")
    file: BinaryIO | None = getattr(image, "fp", None)
    if reader is None or file is None or file.closed:
        return FileColour()
    before = file.tell()
    try:
        file.seek(0)
        return reader(file)
    except DECODER_ERRORS:
        return FileColour()  # a damaged box or chunk tells nothing
    finally:
        file.seek(before)


def profile_of(
    image: Image.Image, found: FileColour, exif: bytes | None, notes: list[str]
) -> bytes | None:
    """The profile of a loaded image: the one in the file, or one made of what the file tells.

    Args:
        image: Loaded image.
        found: What ``colour_in_file`` found.
        exif: EXIF block.
        notes: List that a line is added to for what is not kept, or is seen otherwise.

    Returns:
        An ICC profile for RGB or grey, as the image is; None for sRGB.

    Raises:
        UnreadablePhoto: If the colours are PQ or HLG (without the file's name).
    """
    icc, told = image.info.get("icc_profile") or found.icc, found.code_points
    if isinstance(nclx := image.info.get("nclx_profile"), dict):  # of HEIC
        told = int(nclx["color_primaries"]), int(nclx["transfer_characteristics"])
    icc, space = icc if isinstance(icc, bytes) and icc else None, None
    if told is not None and (icc is None or image.format == "PNG"):
        space = _of_code_points(*told)
        if space is None and icc is None and set(told) != {_UNSPECIFIED}:
            notes.append(f"colours by code points {told[0]}, {told[1]} (ITU-T H.273): not kept")
    if space is None and icc is not None:
        _refuse_hdr(_transfer_of(icc))
        return icc
    try:
        space = space or _of_chunks(image.info) or _of_tiff(image, notes) or _of_exif(exif)
        if space is None:
            return None
        if grey := Image.getmodebase(image.mode) == "L":
            space = replace(space, primaries=SRGB_PRIMARIES)  # grey has none
        if space.is_srgb:
            return None
        made = space.profile(grey=grey)
    except DECODER_ERRORS as error:
        notes.append(f"damaged colours ({error}): not kept")
        return None
    if space.is_linear:
        notes.append(
            "linear values: kept, but in shadows a level is seen more than the budget counts"
        )
    return made


def _refuse_hdr(transfer: int | None) -> None:
    if transfer in _HDR:
        raise UnreadablePhoto(
            f"{_HDR[transfer]} colours (HDR), in which a change would be more visible than its "
            "budget says; save it in SDR, such as sRGB or Display P3, first"
        )


def _of_code_points(primaries: int, transfer: int) -> ColourSpace | None:
    _refuse_hdr(transfer)
    if primaries == transfer == _UNSPECIFIED:
        return None
    chosen = _PRIMARIES.get(1 if primaries == _UNSPECIFIED else primaries)
    curve = _CURVES.get(13 if transfer == _UNSPECIFIED else transfer)
    return None if chosen is None or curve is None else ColourSpace(chosen, curve)


def _of_chunks(info: dict[Any, Any]) -> ColourSpace | None:
    """The colour space of PNG's sRGB, or gAMA and cHRM, which Pillow reads."""
    # A text may have the same keyword, hence the types.
    kinds = {"srgb": int, "gamma": float, "chromaticity": tuple}
    found = {key: info[key] for key, kind in kinds.items() if isinstance(info.get(key), kind)}
    if "srgb" in found:
        return ColourSpace()
    gamma, primaries = found.get("gamma"), found.get("chromaticity")
    if not gamma and primaries is None:  # a gamma of zero means nothing
        return None
    curve = (1 / gamma,) if gamma else SRGB_CURVE
    return ColourSpace(primaries or SRGB_PRIMARIES, curve)


def _of_tiff(image: Image.Image, notes: list[str]) -> ColourSpace | None:
    """The colour space of TIFF 6.0, section 20, whose default curve is gamma 2.2."""
    if not isinstance(image, TiffImageFile):
        return None
    tags = image.tag_v2
    if _TRANSFER_FUNCTION in tags:
        notes.append("a transfer function of TIFF: not kept")
    if _WHITE_POINT not in tags or _PRIMARY_CHROMATICITIES not in tags:
        return None
    values = (*tags[_WHITE_POINT], *tags[_PRIMARY_CHROMATICITIES])
    return ColourSpace(tuple(float(each) for each in values), (2.2,))


def _of_exif(exif: bytes | None) -> ColourSpace | None:
    """Adobe RGB where EXIF says so: the index "R03" (DCF 2.0, section 3.3.4)."""
    tables = Image.Exif()
    try:
        tables.load(exif or b"")
        index = tables.get_ifd(_INTEROP_TABLE).get(1)
        srgb = tables.get_ifd(_EXIF_TABLE).get(_COLOUR_SPACE) == 1
    except DECODER_ERRORS:
        return None  # the damage is noted where EXIF is kept
    return ColourSpace(ADOBE_RGB, (_ADOBE_GAMMA,)) if index == "R03" and not srgb else None


def _png(file: BinaryIO) -> FileColour:
    named = None
    for kind, place in png_chunks(file):
        body = read_at(file, place.start + 8, min(len(place) - 12, 32))
        if kind == b"iCCP" and body.startswith(_PQ_PROFILE):
            named = (9, 16)
        if kind == b"cICP":
            primaries, transfer, matrix, full_range = body
            if not full_range:
                raise UnreadablePhoto("narrow-range values (cICP); save it in full range first")
            if matrix == 0:  # others are for YCbCr, which PNG does not have
                return FileColour((primaries, transfer))
    return FileColour(named)


def _avif(file: BinaryIO) -> FileColour:
    """The nclx that belongs to the primary picture (ISO/IEC 23008-12, section 9.3.1)."""
    meta = dict(_boxes(_content(file, b"meta")[4:]))
    (primary,) = struct.unpack_from(">I" if meta[b"pitm"][0] else ">H", meta[b"pitm"], 4)
    parts = dict(_boxes(meta[b"iprp"]))
    properties = _boxes(parts[b"ipco"])
    found = FileColour()
    for index in _associated(parts[b"ipma"], primary):
        kind, body = properties[index - 1]
        if kind == b"colr" and body.startswith(b"nclx") and found.code_points is None:
            primaries, transfer = struct.unpack_from(">HH", body, 4)
            found = replace(found, code_points=(primaries, transfer))
        if kind == b"pixi":  # ISO/IEC 23008-12, section 6.5.6
            found = replace(found, bits=max(body[5 : 5 + body[4]], default=0))
        if kind == b"av1C" and not found.bits:  # AV1 in ISOBMFF, section 2.3.3
            found = replace(found, bits=(8, 10, 12)[bool(body[2] & 64) + bool(body[2] & 32)])
    return found


def _associated(body: bytes, item: int) -> list[int]:
    """The properties of an item, counted from 1, in an ``ipma`` box."""
    named, indexed = ">I" if body[0] else ">H", ">H" if body[3] & 1 else ">B"
    (entries,) = struct.unpack_from(">I", body, 4)
    at = 8
    for _ in range(entries):
        (owner,) = struct.unpack_from(named, body, at)
        at += struct.calcsize(named)
        count, step = body[at], struct.calcsize(indexed)
        found = [struct.unpack_from(indexed, body, at + 1 + step * i)[0] for i in range(count)]
        if owner == item:
            return [index & (0x7FFF if step == 2 else 0x7F) for index in found]
        at += 1 + step * count
    return []


def _jpeg2000(file: BinaryIO) -> FileColour:
    """What is in the ``ihdr`` and ``colr`` boxes of a JP2 (ISO/IEC 15444-1, annex I.5.3)."""
    found = FileColour()
    for kind, body in _boxes(_content(file, b"jp2h")):
        if kind == b"ihdr" and body[10] != 255:  # 255: channels differ
            found = replace(found, bits=(body[10] & 127) + 1)
        if kind == b"colr" and body[0] in (2, 3) and found.icc is None:
            found = replace(found, icc=body[3:])
    return found


def _content(file: BinaryIO, wanted: bytes) -> bytes:
    """Content of a box at the top of a file, without reading the picture; LookupError if none."""
    for box in boxes(file):
        if box.kind == wanted:
            return read_at(file, box.content.start, len(box.content))
    raise LookupError(wanted)


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Type and content of boxes that follow one another."""
    return [(box.kind, data[box.content.start : box.content.stop]) for box in boxes(BytesIO(data))]


_READERS = {"PNG": _png, "AVIF": _avif, "JPEG2000": _jpeg2000}


def _transfer_of(icc: bytes) -> int | None:
    """The transfer characteristics in a profile's ``cicp`` tag (ICC.1:2022, section 9.2.17)."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        for entry in range(min(count, 100)):
            name, at, _ = struct.unpack_from(">4sII", icc, 132 + 12 * entry)
            if name == b"cicp":
                return int(icc[at + 9])
    except (struct.error, IndexError):
        pass
    return None
