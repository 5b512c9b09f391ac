"""What the rest of photovax asks of a model."""

from __future__ import annotations

from typing import Protocol

from torch import Generator, Tensor

from photovax.edit import Edit, Mode
from photovax.models.context import Context

__all__ = ["Autoencoder", "DifferentiableEditor", "Encoder", "PosteriorEncoder"]


class Encoder(Protocol):
    """A model that turns images into latents, differentiably."""

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [0, 1] to the latents that the denoiser is fed.

        The posterior's mean, not a sample; scaled and shifted as the model's pipelines do.
        """
        ...


class PosteriorEncoder(Encoder, Protocol):
    """An encoder that gives a distribution of latents."""

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, before any scaling."""
        ...


class Autoencoder(Encoder, Protocol):
    """An encoder, with its decoder where there is one."""

    name: str
    """What the user calls it."""
    digest: str
    """SHA-256 of its weights."""

    size: int
    """Short side, in pixels, at which its editors are usually fed a photo."""

    @property
    def decodes(self) -> bool:
        """Whether there is a decoder."""
        ...

    def recompute(self) -> None:
        """Take less memory and more time for the same gradients from now on."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents as ``encode`` gives them to images (N, 3, H, W) in [0, 1]."""
        ...


class DifferentiableEditor(Encoder, Protocol):
    """An editor whose edits, and the parts of them, pass gradients back to the picture."""

    def edit(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Tensor:
        """Edited images (N, 3, H, W), not clipped to [0, 1]."""
        ...

    def context(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Context:
        """What the denoiser is told of the pictures and the prompt."""
        ...

    def random_times(self, count: int, generator: Generator) -> Tensor:
        """Uniform training timesteps (count,)."""
        ...

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents as the forward process has them at timesteps (N,)."""
        ...

    def noise_in(self, latents: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        """The noise that the denoiser sees in noisy latents."""
        ...

    def first_prediction(
        self, images: Tensor, context: Context, mode: Mode, generator: Generator
    ) -> Tensor:
        """What the denoiser predicts, of whatever kind, from pure noise at its last timestep."""
        ...
