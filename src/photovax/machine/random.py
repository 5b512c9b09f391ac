"""Random numbers, which always come from a generator that is passed in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

__all__ = ["draw_noise", "twin"]


def draw_noise(shape: Sequence[int], like: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise with the type and device of ``like``, drawn on the generator's."""
    noise = torch.randn(shape, generator=generator, device=generator.device, dtype=like.dtype)
    return noise.to(like.device)


def twin(generator: Generator) -> Generator:
    """A copy of a generator with the same state, which returns the same numbers next."""
    other = Generator(generator.device)
    other.set_state(generator.get_state())
    return other
