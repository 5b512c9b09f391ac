"""Reconstructs a picture file before a C2PA manifest was added, for its digest.

The C2PA library inserts the manifest (``photovax.pictures.content_credentials`` says where). In
TIFF it writes a new first table behind the old one, and in AVIF and HEIC it moves the offsets of
what lies behind the manifest. In a JPEG with an index of pictures,
``photovax.certificates.manifest`` adds the manifest to the size of the first. Every other byte
stays the same, so a digest of the unsigned file can be computed from the signed one.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from photovax.pictures import content_credentials
from photovax.pictures.containers import (
    TiffTable,
    boxes,
    jpeg_segments,
    png_chunks,
    read_at,
    webp_chunks,
)
from photovax.pictures.content_credentials import TIFF_TAG, holds_store, jpeg_store
from photovax.pictures.multi_picture import PREFIX, grown

__all__ = ["holds_manifest", "media_type", "photo_digest", "stream_digest"]

_PADDING = 3  # bytes at most before a table, which starts at a multiple of four
_BLOCK = 1 << 20
_APP2 = 0xE2
_MOST_META = 1 << 22  # bytes of the tables in an AVIF or HEIC, which are read one by one


def media_type(file: Path) -> str | None:
    """Media type of a file that C2PA can sign, by its content; None for other files."""
    with file.open("rb") as stream:
        return content_credentials.media_type(stream.read(12))


def holds_manifest(file: Path) -> bool:
    """Whether a file of such a type holds a C2PA manifest."""
    with file.open("rb") as stream:
        return _manifest(stream) is not None


def photo_digest(file: Path) -> str:
    """Return ``stream_digest`` of a file on disk."""
    with file.open("rb") as stream:
        return stream_digest(stream)


def stream_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of a file without its C2PA manifest, in hexadecimal digits.

    Only the manifest is left out, so two files with one digest have the same pixels and metadata.
    The whole file is hashed if it has no manifest, is of another type, or if the manifest cannot be
    removed byte for byte (a TIFF whose table was not at its end, an AVIF or HEIC with the manifest
    elsewhere than the C2PA library puts it).

    Args:
        file: File open for reading, seekable.
    """
    digest = hashlib.sha256()
    at = 0
    end = file.seek(0, os.SEEK_END)
    pieces = _manifest(file) or []
    if any(piece.place.stop > end for piece in pieces):  # sizes that cannot be
        pieces = []
    for piece in (*pieces, _Piece(range(end, end))):
        file.seek(at)
        while block := file.read(min(_BLOCK, piece.place.start - file.tell())):
            digest.update(block)
        digest.update(piece.before)
        at = piece.place.stop
    return digest.hexdigest()


@dataclass(frozen=True)
class _Piece:
    """A part of a signed file, and the bytes that were there before it was signed."""

    place: range
    before: bytes = b""


def _manifest(file: BinaryIO) -> list[_Piece] | None:
    """What a manifest changed, in order; None without a manifest, empty if it cannot be told."""
    head = read_at(file, 0, 12)
    try:
        match content_credentials.media_type(head):
            case "image/png":
                places = [place for name, place in png_chunks(file) if name == b"caBX"]
                return [_Piece(place) for place in places] or None
            case "image/jpeg":
                return _in_jpeg(file)
            case "image/webp":
                places = [place for name, place in webp_chunks(file) if name == b"C2PA"]
                (size,) = struct.unpack_from("<I", head, 4)
                before = struct.pack("<I", size - sum(map(len, places)))
                first = _Piece(range(4, 8), before)
                return [first, *map(_Piece, places)] if places else None
            case "image/tiff":
                return _in_tiff(file)
            case "image/avif" | "image/heic":
                return _in_boxes(file)
    except struct.error:  # cut short, or impossible sizes
        pass
    return None


def _in_jpeg(file: BinaryIO) -> list[_Piece] | None:
    stores = jpeg_store(file)
    if not stores:
        return None
    pieces = [_Piece(place) for place in stores]
    for marker, place in jpeg_segments(file):
        payload = read_at(file, place.start + 4, len(place) - 4) if marker == _APP2 else b""
        if payload.startswith(PREFIX):
            try:
                before = grown(payload.removeprefix(PREFIX), -sum(map(len, stores)))
            except struct.error:  # damaged, or not counting the manifest
                return []
            pieces.append(_Piece(range(place.stop - len(before), place.stop), before))
    return sorted(pieces, key=lambda piece: piece.place.start)


def _in_tiff(file: BinaryIO) -> list[_Piece] | None:
    table = TiffTable.of(file)
    order, at = table.order, table.start
    kept = [entry for entry in table.entries if table.tag(entry) != TIFF_TAG]
    if len(kept) == len(table.entries):
        return None
    # The old table must have the same entries but the manifest's: else a new table could point at
    # other pixels behind the certified ones.
    old = struct.pack(order + "H", len(kept)) + b"".join(kept) + table.following
    for start in range(at - len(old), at - len(old) - _PADDING - 1, -1):
        if start >= 8 and read_at(file, start, len(old)) == old:
            end = file.seek(0, os.SEEK_END)
            before = struct.pack(order + "I", start)
            return [_Piece(range(4, 8), before), _Piece(range(start + len(old), end))]
    return []


def _in_boxes(file: BinaryIO) -> list[_Piece] | None:
    found = list(boxes(file))
    stores = [box.place for box in found if holds_store(file, box)]
    if not stores:
        return None
    metas = [box.place for box in found if box.kind == b"meta"]
    behind = found[0].place.stop  # of the file's type
    if len(stores) != 1 or len(metas) != 1 or stores[0].start != behind:
        return []
    ((store,), (meta,)) = stores, metas
    if meta.start < store.stop or len(meta) > _MOST_META:
        return []
    return [_Piece(store), _Piece(meta, _moved(read_at(file, meta.start, len(meta)), -len(store)))]


def _moved(meta: bytes, by: int) -> bytes:
    """A ``meta`` box whose items lie elsewhere in the file (ISO/IEC 14496-12, section 8.11.3).

    Args:
        meta: The box.
        by: Number that is added to the offsets of its items.

    Raises:
        struct.error: If it is damaged.
    """
    moved = bytearray(meta)
    for box in boxes(io.BytesIO(meta), 12):
        if box.kind == b"iloc":
            _move(moved, box.content.start, by)
    return bytes(moved)


def _move(meta: bytearray, at: int, by: int) -> None:
    """Move the items of an ``iloc`` box, whose content begins at an offset."""

    def take(size: int) -> int:
        nonlocal at
        if at + size > len(meta):
            raise struct.error("cut short")
        at += size
        return int.from_bytes(meta[at - size : at], "big")

    def shift(value: int, size: int) -> None:
        if not 0 <= value + by < 1 << 8 * size:
            raise struct.error("an offset out of the file")
        meta[at - size : at] = (value + by).to_bytes(size, "big")

    version = take(4) >> 24
    sizes, more = take(1), take(1)
    offset, length, base, index = sizes >> 4, sizes & 15, more >> 4, more & 15
    if offset + length == 0:  # any number of extents without a byte
        raise struct.error("extents without a place")
    number = 4 if version == 2 else 2
    for _ in range(take(number)):
        take(number)
        # 0: offsets count from the start of the file.
        counted = version == 0 or take(2) & 15 == 0
        take(2)
        start = take(base)
        if counted and start:
            shift(start, base)
        for _ in range(take(2)):
            take(index if version else 0)
            value = take(offset)
            if counted and not start:
                shift(value, offset)
            take(length)
