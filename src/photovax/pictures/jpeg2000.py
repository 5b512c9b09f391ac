"""Metadata of JPEG 2000 files, which Pillow does not read: EXIF, XMP and IPTC-IIM in boxes."""

from __future__ import annotations

from typing import BinaryIO
from uuid import UUID

from photovax.pictures.containers import boxes, read_at

__all__ = ["blocks_in_boxes"]

# XMP specification, part 3 (2020), section 1.1.6; the others are those that programs write.
_KINDS = {
    UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes: "xmp",
    b"JpgTiffExif->JP2": "exif",
    UUID("33c7a4d2-b81d-4723-a0ba-f1a3e097ad38").bytes: "iptc",
}
_EXIF_HEAD = b"Exif\0\0"


def blocks_in_boxes(file: BinaryIO) -> dict[str, bytes]:
    """The metadata in ``uuid`` boxes at the top of a JP2 (ISO/IEC 15444-1, annex I.7.2).

    Returns:
        Blocks by their kind, ``exif``, ``xmp`` or ``iptc``; EXIF with the head that it has in JPEG.
    """
    found: dict[str, bytes] = {}
    for box in boxes(file):
        start = box.content.start
        if box.kind != b"uuid" or (kind := _KINDS.get(read_at(file, start, 16))) is None:
            continue
        block = read_at(file, start + 16, max(0, len(box.content) - 16))
        if kind == "exif" and not block.startswith(_EXIF_HEAD):
            block = _EXIF_HEAD + block
        found.setdefault(kind, block)
    return found
