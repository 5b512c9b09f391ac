"""What the rest of photovax asks of a model."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Generator, Tensor

from photovax.models.context import Context
from photovax.models.edit import Edit, Mode

__all__ = ["Autoencoder", "Denoiser", "DifferentiableEditor", "Encoder", "Need", "PosteriorEncoder"]

Need = Literal["autoencoder", "denoiser", "editor"]
"""The least of a model that an objective attacks: each is more than the one before."""


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


class Denoiser(Encoder, Protocol):
    """A latent denoiser that is asked for one prediction, differentiably.

    Of either kind: one of a diffusion model tells the noise in a latent (arXiv 2006.11239), one
    of flow matching the velocity towards it (arXiv 2210.02747). The mean square of ``predicted``
    less ``target`` is its training loss, and where the one exceeds the other, it sees too much
    noise.
    """

    def context(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Context:
        """What the denoiser is told of the pictures and the prompt, without guidance at 1."""
        ...

    def random_times(self, count: int, generator: Generator) -> Tensor:
        """Uniform training times (count,), in the denoiser's own unit."""
        ...

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents as the forward process has them at times (N,)."""
        ...

    def target(self, latents: Tensor, noise: Tensor) -> Tensor:
        """What a perfect denoiser predicts of ``noised(latents, noise, times)``."""
        ...

    def predicted(self, noisy: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        """What this one predicts of noisy latents at times (N,).

        Raises:
            UsageError: If the model has no denoiser for this way of editing.
        """
        ...

    def first_prediction(
        self, images: Tensor, context: Context, mode: Mode, generator: Generator
    ) -> Tensor:
        """What the network itself predicts, of whatever kind, from pure noise at its last time."""
        ...


class DifferentiableEditor(Denoiser, Protocol):
    """An editor whose whole edits pass gradients back to the picture."""

    def edit(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Tensor:
        """Edited images (N, 3, H, W), not clipped to [0, 1]."""
        ...
