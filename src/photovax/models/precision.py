"""Passes in low precision, where they take models less time."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from photovax.machine.precision import Quick, has_tiles, quick_passes
from photovax.models.autoencoders.tiny import TinyAutoencoder
from photovax.models.contracts import Autoencoder

__all__ = ["quick_passes_of"]


def quick_passes_of(
    models: Iterable[Autoencoder], precision: str, device: torch.device
) -> Quick | None:
    """``quick_passes`` for the passes of some models.

    With ``auto``, tiny autoencoders stay in float32 on a CPU without AMX: its other instructions
    for bfloat16 take them 1.4 times as long. That is not timed, so that the same seed gives the
    same result.

    Raises:
        UsageError: If there is no such precision.
    """
    quick = quick_passes(precision, device)
    tiny = any(isinstance(model, TinyAutoencoder) for model in models)
    slower = precision == "auto" and device.type == "cpu" and tiny and not has_tiles()
    return None if slower else quick
