"""What the rest of photovax asks of a model."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

__all__ = ["Autoencoder", "Encoder"]


class Encoder(Protocol):
    """A model that turns images into latents, differentiably."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [0, 1] to the latents that the denoiser is fed.

        The posterior's mean, not a sample; scaled and shifted as the model's pipelines do.
        """
        ...


class Autoencoder(Encoder, Protocol):
    """An encoder with its decoder."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents as ``encode`` gives them to images (N, 3, H, W) in [0, 1]."""
        ...
