"""A decoded photo as a file that is safe to open: arrays only, no codec, no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from photovax.pictures.compression import Compression
from photovax.pictures.gain_map import GainMap
from photovax.pictures.photo import Metadata, Photo

__all__ = ["read_parcel", "write_parcel"]

_BYTES = ("icc", "exif", "xmp", "iptc")


def write_parcel(photo: Photo, path: Path) -> None:
    """Write a photo to a ``.npz`` file."""
    known = photo.metadata
    more = photo.gain_map or GainMap(b"")
    facts = {
        "format": photo.format,
        "notes": photo.notes,
        "dpi": known.dpi,
        "texts": known.texts,
        "gain_map_version": more.version,
        "compression": None if photo.compression is None else asdict(photo.compression),
    }
    arrays = {"pixels": photo.pixels, "facts": _array(json.dumps(facts).encode())}
    if photo.alpha is not None:
        arrays["alpha"] = photo.alpha
    if photo.gain_map is not None:
        arrays |= {"gain_map": _array(more.data), "gain_map_iso": _array(more.iso)}
    for name in _BYTES:
        if (value := getattr(known, name)) is not None:
            arrays[name] = _array(value)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_parcel(path: Path) -> Photo:
    """Read a photo from a ``.npz`` file."""
    with np.load(path, allow_pickle=False) as arrays:
        facts = json.loads(arrays["facts"].tobytes())
        more = None
        if "gain_map" in arrays:
            data, iso = (arrays[name].tobytes() for name in ("gain_map", "gain_map_iso"))
            more = GainMap(data, facts["gain_map_version"], iso)
        found = {name: arrays[name].tobytes() for name in _BYTES if name in arrays}
        return Photo(
            pixels=arrays["pixels"],
            alpha=arrays.get("alpha"),
            metadata=Metadata(
                **found,
                dpi=facts["dpi"] and tuple(facts["dpi"]),
                texts=tuple((key, text) for key, text in facts["texts"]),
            ),
            format=facts["format"],
            notes=tuple(facts["notes"]),
            gain_map=more,
            compression=_compression(facts["compression"]),
        )


def _compression(facts: dict[str, Any] | None) -> Compression | None:
    if facts is None:
        return None
    tables = facts["tables"] and tuple(tuple(table) for table in facts["tables"])
    return Compression(**(facts | {"tables": tables}))


def _array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)
