"""What the optimiser lowers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Generator, Tensor

__all__ = ["LossFn"]


LossFn = Callable[[Tensor, Generator], Tensor]
"""Images (N, C, H, W) in [0, 1] and a source of randomness to losses (N,)."""
