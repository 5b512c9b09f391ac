"""Loading of modules of diffusers and transformers, without any weight missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import safe_open

from photovax.errors import ModelError
from photovax.models.catalog.objects import json_object
from photovax.models.damaged import loading
from photovax.models.quiet import FROM_DISK, quiet_loading

__all__ = [
    "kept_precision",
    "load_encoder",
    "load_module",
    "misfit",
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
    """Load a model of diffusers from a folder in its layout.

    Args:
        folder: Folder with ``config.json`` and weights.
        kind: Name of its class.
        variant: Variant of the weights, from ``places.weight_files``.
        name: Name that the user gave the model.
        shown: Path that errors name.
        precision: Type that the weights are converted to.

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
    # diffusers only warns of these, and initialises them at random.
    missing = [*found["missing_keys"], *found["mismatched_keys"]]
    if missing:
        raise misfit(name, shown, missing)
    return model


def misfit(name: str, shown: Path, missing: Sequence[str]) -> ModelError:
    """The error for weights that are missing, or of other shapes than the model's."""
    return ModelError(
        f"model {name}: {shown} cannot be loaded: {len(missing)} weights are missing or of "
        f"other shapes, {missing[0]} for one"
    )


def load_encoder(folder: Path, kind: str, *, variant: str | None = None) -> Any:
    """Load a model of transformers from a folder in its layout, in float32.

    Args:
        folder: Folder with ``config.json`` and weights.
        kind: Name of its class.
        variant: Variant of the weights, from ``places.weight_files``.

    Raises:
        ValueError: If weights are missing; on damaged files any of ``DAMAGED``.
    """
    import transformers  # a slow import, which autoencoders do without

    json_object(folder / "config.json")
    with quiet_loading():  # a context that began before that import does not cover it
        model, found = getattr(transformers, kind).from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            variant=variant,
            output_loading_info=True,
        )
    if found["missing_keys"]:  # transformers initialises them at random
        raise ValueError(f"{folder.name} lacks {min(found['missing_keys'])}")
    return model


def kept_precision(files: Sequence[Path]) -> torch.dtype:
    """The precision of models that are too large for float32: bfloat16 if stored in it.

    Weights in float16 are converted to float32, since its range is too small for gradients.

    Raises:
        ValueError: If the first file holds no weights; on damaged files any of ``DAMAGED``.
    """
    with safe_open(files[0], framework="pt") as opened:
        names = list(opened.keys())
        if not names:
            raise ValueError(f"{files[0].name} holds no weights")
        stored = opened.get_slice(names[0]).get_dtype()
    return torch.bfloat16 if stored == "BF16" else torch.float32
