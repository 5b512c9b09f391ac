"""Weights of a module of diffusers or transformers: all, since what lacks would be random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import safe_open

from photovax.errors import ModelError
from photovax.models.catalog.objects import json_object
from photovax.models.damaged import loading
from photovax.models.quiet import FROM_DISK, quiet_loading

__all__ = [
    "kept_precision",
    "load_encoder",
    "load_module",
]


def load_module(
    folder: Path,
    kind: str,
    variant: str | None,
    *,
    name: str,
    shown: Path,
    precision: torch.dtype = torch.float32,
) -> Any:
    """A model of diffusers from a folder in its layout.

    Args:
        folder: With ``config.json`` and weights.
        kind: Its class.
        variant: Of the weights, as ``places.weight_files`` tells it.
        name: What the user calls it.
        shown: What errors call the folder.
        precision: What its weights become.

    Raises:
        ModelError: If it cannot be loaded, or weights are missing.
    """
    with loading(name, shown), quiet_loading():
        json_object(folder / "config.json")
        model, found = getattr(diffusers, kind).from_pretrained(
            folder,
            **{**FROM_DISK, "torch_dtype": precision},
            variant=variant,
            output_loading_info=True,
        )
    # diffusers only warns of these, and leaves the weights random.
    missing = [*found["missing_keys"], *found["mismatched_keys"]]
    if missing:
        raise ModelError(
            f"model {name}: {shown} cannot be loaded: {len(missing)} weights are missing or of "
            f"other shapes, {missing[0]} for one"
        )
    return model


def load_encoder(folder: Path, kind: str, *, variant: str | None = None) -> Any:
    """A model of transformers from a folder in its layout, in float32.

    Args:
        folder: With ``config.json`` and weights.
        kind: Its class.
        variant: Of the weights, as ``places.weight_files`` tells it.

    Raises:
        ValueError: If weights are missing; on damaged files any of ``DAMAGED``.
    """
    json_object(folder / "config.json")
    model, found = getattr(transformers, kind).from_pretrained(
        folder,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        variant=variant,
        output_loading_info=True,
    )
    if found["missing_keys"]:  # transformers would draw them at random
        raise ValueError(f"{folder.name} lacks {min(found['missing_keys'])}")
    return model


def kept_precision(files: Sequence[Path]) -> torch.dtype:
    """In what precision weights too many for float32 are computed: bfloat16 if stored so.

    Weights in float16 are widened, since its range is too small for gradients.

    Raises:
        ValueError: If the first file holds no weights; on damaged files any of ``DAMAGED``.
    """
    with safe_open(files[0], framework="pt") as opened:
        names = list(opened.keys())
        if not names:
            raise ValueError(f"{files[0].name} holds no weights")
        stored = opened.get_slice(names[0]).get_dtype()
    return torch.bfloat16 if stored == "BF16" else torch.float32
