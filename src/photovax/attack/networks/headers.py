"""What files of perturbation networks were trained for, read without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from photovax.errors import ModelError

__all__ = ["FORMAT", "OPPOSED", "SHIPPED", "USUAL_WIDTH", "places", "shipped_for", "told_by"]

FORMAT = "photovax perturbation network 1"

OPPOSED = "opposed"
"""Key of the metadata of networks that were trained beside a denoiser."""

USUAL_WIDTH = 32
"""Channels of the finest level of a network. One of 64 does as well, with four times the bytes."""

SHIPPED = tuple(sorted(Path(__file__).parent.glob("*.safetensors")))
"""Files of the networks that ship with photovax."""

_LARGEST_HEADER = 1 << 20


def told_by(file: Path) -> dict[str, str]:
    """The metadata of a network's file: ``model``, ``model_digest`` and ``shape``.

    Source: the header of the safetensors format, which is its length and JSON.

    Raises:
        ModelError: If it cannot be read, or is no perturbation network.
    """
    told = _header(file)[0].get("__metadata__")
    wanted = {"model", "model_digest", "shape"}
    if not isinstance(told, dict) or told.get("format") != FORMAT or wanted - told.keys():
        raise ModelError(
            f"network {file} is no perturbation network of photovax",
            hint="photovax train-immunizer makes one",
        )
    return {str(key): str(value) for key, value in told.items()}


def places(file: Path) -> dict[str, tuple[int, int]]:
    """The place of each tensor in a network's file: the offset of its first byte, and its bytes.

    Raises:
        ModelError: If the file cannot be read.
    """
    header, start = _header(file)
    found = {name: each["data_offsets"] for name, each in header.items() if name != "__metadata__"}
    return {name: (start + begin, end - begin) for name, (begin, end) in found.items()}


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and the offset of what it describes."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length < _LARGEST_HEADER else {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no safetensors file"
        raise ModelError(f"network {file}: cannot be read: {reason}") from None
    return header if isinstance(header, dict) else {}, 8 + length


def shipped_for(model: str, *, opposed: bool = False) -> Path | None:
    """The network that ships with photovax for a model of the catalogue, or None.

    Args:
        model: Name of the model.
        opposed: Whether it is one that was trained beside a denoiser.
    """
    told = {file: told_by(file) for file in SHIPPED}
    fits = (f for f in SHIPPED if told[f]["model"] == model and (OPPOSED in told[f]) == opposed)
    return next(fits, None)
