"""Drawing from generators, which are the only source of randomness."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

__all__ = ["draw_noise", "twin"]


def draw_noise(shape: Sequence[int], like: Tensor, generator: Generator) -> Tensor:
    """Gaussian noise drawn where the generator lives, of the type and on the device of ``like``."""
    noise = torch.randn(shape, generator=generator, device=generator.device, dtype=like.dtype)
    return noise.to(like.device)


def twin(generator: Generator) -> Generator:
    """A generator that will draw what the other is about to draw."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other
