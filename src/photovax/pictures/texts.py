"""Texts of a photo that are neither EXIF nor XMP: IPTC-IIM, chunks of PNG, comments.

Each type of file has a place for some of them. What it has no place for is carried into XMP, which
all types hold and viewers read.
"""

from __future__ import annotations

from collections.abc import Collection

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from photovax.pictures.exif import Metadata
from photovax.pictures.gain_map import GainMap
from photovax.pictures.iptc import (
    CREATOR,
    DESCRIPTION,
    IIM_BLOCK,
    IIM_TAG,
    RIGHTS,
    TITLE,
    as_properties,
    iim_in_blocks,
    not_in_xmp,
)
from photovax.pictures.xmp import EMPTY, Property, read_properties, with_properties

__all__ = [
    "BLOCKS_TAG",
    "KEYWORDS",
    "bytes_of_tag",
    "carried",
    "comment_of",
    "iptc_of",
    "jpeg_xmp",
    "raw_profile",
    "text_notes",
    "texts_of",
]

_COMMENT = "Comment"  # as PNG calls it
_PACKET, _RAW = "XML:com.adobe.xmp", "Raw profile type "
_USED_PROFILES = {_RAW + kind for kind in ("exif", "iptc", "xmp")}
BLOCKS_TAG = 34377
"""Tag of TIFF that holds Photoshop's blocks."""

# PNG's keywords (section 11.3.3.1) that XMP has properties for.
_PROPERTIES = {
    "Title": TITLE,
    "Author": CREATOR,
    "Description": DESCRIPTION,
    "Copyright": RIGHTS,
    _COMMENT: DESCRIPTION,
}
KEYWORDS = frozenset(_PROPERTIES)
"""Keywords of PNG's texts that can be carried into XMP."""

# What programs say of files, and EXIF repeated by ImageMagick: nobody misses it.
_TECHNICAL = ("Software", "Thumb::", "date:", "exif:", "icc:", "png:", "signature", "tiff:")


def iptc_of(image: Image.Image, block: bytes | None = None) -> bytes | None:
    """The IIM of a loaded image, as in its file.

    Args:
        image: Loaded image.
        block: IIM of its file that Pillow does not read, or None.

    Raises:
        ValueError: If there is one that is damaged.
    """
    found = [block or b"", raw_profile(image, "iptc") or b""]
    if isinstance(blocks := image.info.get("photoshop"), dict):  # of JPEG
        found.append(blocks.get(IIM_BLOCK, b""))
    if isinstance(image, TiffImageFile):
        found += (bytes_of_tag(image, IIM_TAG), bytes_of_tag(image, BLOCKS_TAG))
    for value in filter(None, found):
        if iim := iim_in_blocks(value):
            return iim
    if any(value.strip(b"\0") for value in found if not value.startswith(b"8BIM")):
        raise ValueError("no dataset")
    return None


def texts_of(image: Image.Image, notes: list[str]) -> tuple[tuple[str, str], ...]:
    """Keywords and texts of a loaded PNG, and the comment of another type.

    Args:
        image: Loaded image.
        notes: List that a line is added to for what is not kept.
    """
    found = {
        str(key): str(value)
        for key, value in getattr(image, "text", {}).items()
        if key not in _USED_PROFILES | {_PACKET}
    }
    if raw := [key.removeprefix(_RAW) for key in found if key.startswith(_RAW)]:
        notes.append(f"raw profiles in PNG text ({', '.join(map(repr, raw))}): not kept")
    texts = {key: text for key, text in found.items() if not key.startswith(_RAW)}
    # A JPEG may have several, of which Pillow's information has the last.
    several = [each for name, each in getattr(image, "applist", ()) if name == "COM"]
    comment = b"\n".join(each.rstrip(b"\0") for each in several) or image.info.get("comment")
    if isinstance(comment, bytes) and (comment := comment.rstrip(b"\0")):
        try:
            texts[_COMMENT] = comment.decode("utf-8")
        except UnicodeDecodeError:
            texts[_COMMENT] = comment.decode("latin-1")
    return tuple(texts.items())


def raw_profile(image: Image.Image, kind: str) -> bytes | None:
    """A block of metadata in the text of a PNG, in hexadecimal digits, as ImageMagick writes it.

    Raises:
        ValueError: If it has other characters.
    """
    lines = str(getattr(image, "text", {}).get(_RAW + kind, "")).strip().splitlines()
    return bytes.fromhex("".join(lines[2:])) or None  # after its name and its length


def bytes_of_tag(image: TiffImageFile, tag: int) -> bytes:
    """A tag's bytes, which some programs call whole numbers, and then write from the last on."""
    value: bytes = image.tag.tagdata.get(tag, b"")
    if value[3:4] == b"\x1c" != value[:1]:
        value = b"".join(value[at : at + 4][::-1] for at in range(0, len(value), 4))
    return value


def text_notes(metadata: Metadata) -> list[str]:
    """Lines on texts that not all types of file keep."""
    notes = []
    if metadata.iptc and (left := not_in_xmp(metadata.iptc)):
        notes.append(f"IPTC without a name in XMP ({', '.join(left)}): only JPEG and TIFF keep it")
    left = [
        repr(key)
        for key, _ in metadata.texts
        if key not in KEYWORDS and not key.startswith(_TECHNICAL)
    ]
    if left:
        shown = ", ".join(left[:4]) + (f" and {len(left) - 4} more" if len(left) > 4 else "")
        notes.append(f"PNG text ({shown}): only PNG keeps it")
    wanted = _wanted(metadata, iptc=True, keywords=KEYWORDS)
    if metadata.xmp and wanted:
        try:
            _with(metadata.xmp, wanted)
        except ValueError:
            notes.append("damaged XMP: a new packet replaces it where texts are carried into XMP")
    return notes


def carried(
    metadata: Metadata, *, iptc: bool = False, keywords: Collection[str] = ()
) -> bytes | None:
    """The XMP packet with what a type of file has no other place for.

    A property that the packet has already is left as it is; IPTC goes before PNG's texts.

    Args:
        metadata: Metadata of the photo that is written.
        iptc: Whether to carry IPTC-IIM.
        keywords: Keywords of the texts to carry, of ``KEYWORDS``.

    Returns:
        The packet, a new one if it is damaged; None if there is nothing to say.
    """
    wanted = _wanted(metadata, iptc=iptc, keywords=keywords)
    if not wanted:
        return metadata.xmp
    try:
        return _with(metadata.xmp or EMPTY, wanted)
    except ValueError:
        return _with(EMPTY, wanted)


def _wanted(
    metadata: Metadata, *, iptc: bool, keywords: Collection[str]
) -> dict[Property, list[str]]:
    found, texts = dict[Property, list[str]](), dict(metadata.texts)
    for key, each in reversed(_PROPERTIES.items()):  # so that a description goes before a comment
        if key in keywords and (text := texts.get(key)):
            found[each] = [text]
    return found | as_properties(metadata.iptc) if iptc and metadata.iptc else found


def _with(packet: bytes, wanted: dict[Property, list[str]]) -> bytes:
    """A packet with the properties that it lacks; ValueError if it is damaged."""
    there, end = read_properties(packet, wanted)
    missing = {each: texts for each, texts in wanted.items() if not there[each]}
    return with_properties(packet, end, missing) if missing else packet


def jpeg_xmp(metadata: Metadata, gain_map: GainMap | None = None) -> bytes | None:
    """The XMP packet of a JPEG, which holds IPTC and a comment in places of their own.

    Args:
        metadata: Metadata of the photo.
        gain_map: Gain map that is to be announced in it.
    """
    xmp = carried(metadata, keywords=KEYWORDS - {_COMMENT})
    return xmp if gain_map is None else gain_map.announced(xmp)


def comment_of(metadata: Metadata) -> bytes | None:
    """The comment, in UTF-8."""
    text = dict(metadata.texts).get(_COMMENT)
    return text.encode() if text else None
