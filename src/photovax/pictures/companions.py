"""What a photo's file holds beside the photo, and the XMP that points at it.

Gain maps, videos of motion photos (Google's Motion Photo 1.0 and MicroVideo), depth maps and other
pictures (CIPA DC-007; Google's GContainer, GDepth and Dynamic Depth), Content Credentials (C2PA).
Only a gain map can be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import BinaryIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from photovax.pictures import multi_picture
from photovax.pictures.containers import boxes, read_at
from photovax.pictures.content_credentials import manifest_store
from photovax.pictures.exif import Metadata
from photovax.pictures.gain_map import CONTAINER, HDRGM, ISO, ITEM, GainMap, is_gain_map
from photovax.pictures.iptc import SIGNATURE
from photovax.pictures.jpeg_segments import Jpeg
from photovax.pictures.texts import BLOCKS_TAG, bytes_of_tag
from photovax.pictures.xmp import without_properties

__all__ = ["Companions", "companions", "without_pointers"]

_PHOTOS = "http://ns.google.com/photos/"
_CAMERA = _PHOTOS + "1.0/camera/"
_TERMS = "http://purl.org/dc/terms/"
_DYNAMIC = _PHOTOS + "dd/1.0/"
_CONTAINERS = ((CONTAINER, ITEM), (_DYNAMIC + "container/", _DYNAMIC + "item/"))
# What older phones put into XMP itself, as base64.
_IN_XMP = {
    _PHOTOS + "1.0/depthmap/": "a depth map",
    _PHOTOS + "1.0/image/": "a picture before it was blurred",
    _PHOTOS + "1.0/audio/": "a sound",
}
# Properties that point at what is not in a new file, by namespace.
_POINTERS = {
    **dict.fromkeys([HDRGM, *_IN_XMP, *sum(_CONTAINERS, ()), _DYNAMIC + "device/"], rb"\w+"),
    _CAMERA: rb"(?:MotionPhoto|MicroVideo)\w*",
    "http://ns.oplus.com/photos/1.0/camera/": rb"(?:MotionPhoto\w*|OLivePhoto\w*|VideoLength)",
    "http://ns.xiaomi.com/photos/1.0/camera/": rb"XMPMeta",
    "http://ns.adobe.com/xmp/note/": rb"HasExtendedXMP",
    _TERMS: rb"provenance",  # the address of a C2PA manifest
}
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_EXTENSION_HEAD = 40  # identifier of the whole, its length, an offset

_APP1, _APP2, _APP13 = 0xE1, 0xE2, 0xED
_PATH = re.compile(
    rb"8BIM(?:\x07[\xd0-\xff]|[\x08-\x0a].|\x0b[\x00-\xb7])", re.DOTALL
)  # 2000 to 2999
# Beginnings of APP segments that are kept, or told of elsewhere.
_KNOWN = {
    0xE0: (b"JFIF\0", b"JFXX\0"),
    _APP1: (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", _EXTENSION),
    _APP2: (b"ICC_PROFILE\0", multi_picture.PREFIX, ISO),
    0xEB: (b"JP",),  # C2PA
    0xEC: (b"Ducky",),  # the quality asked of Photoshop
    _APP13: (SIGNATURE,),
    0xEE: (b"Adobe",),
}
_IN_TIFF = {
    34735: "its place on a map (GeoTIFF): not kept",
    37724: "Photoshop's layers: not kept",
}
_VERSION = re.compile(r"[\w.]{1,16}")  # it is written as it is
_NOT_ZERO = re.compile(rb"[^\0]")
_VIDEO = re.compile(rb"\0\0\0[\x08-\xff]ftyp")


@dataclass(frozen=True)
class Companions:
    """What a file holds beside its photo.

    Attributes:
        gain_map: Gain map of the photo as it is stored; None without one.
        notes: Lines, one for each thing that cannot be kept.
    """

    gain_map: GainMap | None = None
    notes: tuple[str, ...] = ()

    def upright(self, orientation: int) -> Companions:
        """The same for the photo turned upright, from its EXIF orientation (1 to 8)."""
        if self.gain_map is None:
            return self
        turned = self.gain_map.turned(orientation)
        lost = () if turned else ("an HDR gain map that cannot be turned upright: not kept",)
        return Companions(turned, (*self.notes, *lost))


def companions(image: Image.Image, file: BinaryIO | None) -> Companions:
    """Find what a picture's file holds beside the picture.

    In a JPEG, other pictures are found by the Multi-Picture Format's index, by GContainer's
    directory, and behind one another.

    Args:
        image: Opened picture; a further one of its file has no gain map.
        file: Its file; None if that is closed. Its position is restored.
    """
    found = Companions()
    at_hand = file is not None and not file.closed
    if file is not None and at_hand and image.format in ("JPEG", "MPO") and image.tell() == 0:
        at = file.tell()
        file.seek(0)
        found = _in_jpeg(file.read())
        file.seek(at)
    notes = [*found.notes]
    if image.format == "HEIF" and (count := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"{count} pictures in one file: only the primary one is kept")
    if image.info.get("aux") or image.info.get("depth_images"):
        notes.append("auxiliary pictures (depth, gain map): not kept")
    if image.format == "AVIF" and file is not None and at_hand and _is_tone_mapped(file):
        notes.append("an HDR gain map: not kept")
    if isinstance(image, TiffImageFile):
        notes += [what for tag, what in _IN_TIFF.items() if tag in image.tag_v2]
        if _draws(bytes_of_tag(image, BLOCKS_TAG)):
            notes.append("clipping paths: not kept")
    xmp = image.info.get("xmp")
    facts = _Facts.of(xmp if isinstance(xmp, bytes) else None)
    if image.format in ("HEIF", "AVIF") and facts.moving:
        notes.append("a motion photo's video: not kept")
    store = manifest_store(file) if file is not None and at_hand else None
    if store is not None or facts.provenance:
        notes.append("Content Credentials (C2PA): not kept; sign with the original to go on")
    return replace(found, notes=tuple(notes))


def _is_tone_mapped(file: BinaryIO) -> bool:
    """Whether an AVIF is of the brand of pictures with a gain map (ISO 21496-1, annex C)."""
    at = file.tell()
    first = next(boxes(file), None)
    brands = b"" if first is None else read_at(file, first.content.start, 248)
    file.seek(at)
    return first is not None and first.kind == b"ftyp" and b"tmap" in brands[: len(first.content)]


def without_pointers(metadata: Metadata) -> Metadata:
    """Remove what points at a gain map, video, depth map or manifest from the XMP packet."""
    xmp = metadata.xmp
    for namespace, names in _POINTERS.items():
        rest = xmp and without_properties(xmp, namespace.encode(), names)
        xmp = rest or xmp  # a property without an end is none that a reader finds
    return replace(metadata, xmp=xmp)


def _in_jpeg(data: bytes) -> Companions:
    primary = Jpeg.at(data)
    if primary is None:
        return Companions()
    facts = _Facts.of(primary.xmp)
    listed = facts.listed(primary.end)
    starts = [primary.end, *multi_picture.offsets(primary), *listed]
    pictures = _pictures(data, starts, behind=primary.end)
    mapped = next((each for each in pictures if is_gain_map(each)), None)
    if mapped is None and facts.version:
        mapped = next((each for each in pictures if listed.get(each.start) == "GainMap"), None)
    others = [each for each in pictures if each is not mapped]
    notes = [
        *_of_pictures(len(others), facts.semantics),
        *_of_segments(primary),
        *_of_the_rest(data, primary.end, pictures),
    ]
    found = None if mapped is None else GainMap.of(mapped, data, primary, facts.version)
    return Companions(found, tuple(notes))


@dataclass
class _Facts:
    """What an XMP packet says about the other contents of its file."""

    items: list[dict[str, str]] = field(default_factory=list)
    version: str = ""
    moving: bool = False
    provenance: bool = False

    @classmethod
    def of(cls, xmp: bytes | None) -> _Facts:
        facts = cls()
        try:
            root = fromstring((xmp or b"<none/>").rstrip(b"\0"), forbid_dtd=True)
        except (ParseError, DefusedXmlException, ValueError, LookupError):
            return facts  # ``tidied`` tells of damaged packets
        for each in root.iter():
            said = _properties(each)
            version = said.get(f"{{{HDRGM}}}Version", "")
            facts.version = version if _VERSION.fullmatch(version) else facts.version
            kinds = (said.get(f"{{{_CAMERA}}}{name}") for name in ("MotionPhoto", "MicroVideo"))
            facts.moving |= "1" in kinds
            facts.provenance |= f"{{{_TERMS}}}provenance" in said
            for container, item in _CONTAINERS:
                if each.tag == f"{{{container}}}Item":
                    own = f"{{{item}}}"
                    facts.items.append(
                        {key[len(own) :]: said[key] for key in said if key.startswith(own)}
                    )
        return facts

    @property
    def semantics(self) -> list[str]:
        """What the other items are for, but for gain map and video."""
        usual = {"Primary", "GainMap", "MotionPhoto", ""}
        found = (each.get("Semantic", "") for each in self.items)
        return [each for each in found if each not in usual]

    def listed(self, at: int) -> dict[int, str]:
        """Offsets of the items behind the first one, which ends at ``at``, and what they are."""
        places: dict[int, str] = {}
        for each in self.items:
            if each.get("Semantic") != "Primary":
                places.setdefault(at, each.get("Semantic", ""))
                at += _number(each.get("Length"))
            at += _number(each.get("Padding"))
        return places


def _properties(element: Element) -> dict[str, str]:
    """Properties of an element, as attributes or as elements in it."""
    children = {child.tag: (child.text or "").strip() for child in element}
    return {**children, **element.attrib}


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else 0


def _pictures(data: bytes, starts: Iterable[int], *, behind: int) -> list[Jpeg]:
    """JPEGs at given offsets, and those that follow them, in order."""
    found: dict[int, Jpeg] = {}
    waiting = [at for at in starts if behind <= at < len(data)]
    while waiting:
        at = _after_zeros(data, waiting.pop())
        jpeg = None if at in found else Jpeg.at(data, at)
        if jpeg is not None:
            found[at] = jpeg
            waiting.append(jpeg.end)
    return [found[at] for at in sorted(found)]


def _after_zeros(data: bytes, at: int) -> int:
    found = _NOT_ZERO.search(data, at)
    return len(data) if found is None else found.start()


def _of_pictures(others: int, semantics: list[str]) -> list[str]:
    named = f" ({', '.join(semantics)})" if semantics else ""
    if others:
        return [f"{others + 1} pictures in one file{named}: only the primary one is kept"]
    return []


def _of_segments(primary: Jpeg) -> list[str]:
    """What is lost of the first picture's segments."""
    notes = []
    extension = list(primary.payloads(_APP1, _EXTENSION))
    whole = b"".join([primary.xmp or b"", *(each[_EXTENSION_HEAD:] for each in extension)])
    held = [what for namespace, what in _IN_XMP.items() if namespace.encode() in whole]
    if held:
        notes.append(f"{' and '.join(held)} in its XMP: not kept")
    elif extension:
        size = sum(len(each) - _EXTENSION_HEAD for each in extension)
        notes.append(f"{size:,} bytes of extended XMP: not kept")
    unknown = {
        f"APP{each.marker & 15}"
        for each in primary.segments
        if each.application and not each.payload.startswith(_KNOWN.get(each.marker, ()))
    }
    if any(map(_draws, primary.payloads(_APP13, SIGNATURE))):
        notes.append("clipping paths: not kept")
    if unknown:
        notes.append(f"its maker's own data ({', '.join(sorted(unknown))}): not kept")
    return notes


def _draws(blocks: bytes) -> bool:
    """Whether Photoshop's blocks hold a path (Photoshop File Formats, image resource IDs)."""
    return _PATH.search(blocks) is not None


def _of_the_rest(data: bytes, start: int, pictures: list[Jpeg]) -> list[str]:
    """What is lost of the bytes from ``start`` that are not in one of the pictures."""
    notes, gaps, at = [], list[bytes](), start
    for each in pictures:
        gaps.append(data[at : each.start])
        at = max(at, each.end)
    last = data[at:]
    if found := _VIDEO.search(last):
        end = _boxes_end(last, found.start())
        notes.append(f"a motion photo's video ({end - found.start():,} bytes): not kept")
        gaps.append(last[: found.start()])
        last = last[end:]
    if unknown := sum(len(each.strip(b"\0")) for each in (*gaps, last)):
        notes.append(f"{unknown:,} bytes behind the picture: not kept")
    return notes


def _boxes_end(data: bytes, at: int) -> int:
    """The end of the MP4 boxes that begin at an offset."""
    for box in boxes(BytesIO(data), at):
        if len(box.place) < 8 or not box.kind.isalnum():
            break
        at = box.place.stop
    return min(at, len(data))
