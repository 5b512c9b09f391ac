"""Distance between latents."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["latent_distance", "latent_unit"]


def latent_distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference of two batches of latents (N, ...), per image (N,)."""
    # A norm, not the root of a mean: its gradient at zero distance is zero, not NaN.
    lengths: Tensor = torch.linalg.vector_norm((first - second).flatten(1), dim=1)
    distances: Tensor = lengths / first[0].numel() ** 0.5
    return distances


def latent_unit(clean: Tensor) -> Tensor:
    """The standard deviation of each clean latent (N,), which is the unit of latent losses.

    That of a one-colour photo is close to zero; a lower bound keeps its losses finite.
    """
    return clean.flatten(1).std(1).clamp_min(1e-3)
