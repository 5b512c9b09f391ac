"""Protocols of the models: encoder, autoencoder, denoiser and editor."""

from __future__ import annotations

from typing import Literal, Protocol

from torch import Generator, Tensor

from photovax.models.attention import Attention
from photovax.models.context import Context
from photovax.models.edit import Edit, Mode

__all__ = [
    "AttentiveDenoiser",
    "Autoencoder",
    "Denoiser",
    "DifferentiableEditor",
    "EditorAutoencoder",
    "Encoder",
    "Need",
    "PosteriorEncoder",
]

Need = Literal["autoencoder", "denoiser", "editor"]
"""The least of a model that an objective attacks: each is more than the one before."""


class Encoder(Protocol):
    """A model that turns images into latents, differentiably."""

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, 1 or 3, H, W) in [0, 1] as latents for the denoiser.

        They are the posterior's mean, not a sample, scaled and shifted as in the model's pipelines.
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
    """Name that the user gave."""
    digest: str
    """SHA-256 of the weights, in hexadecimal digits."""

    size: int
    """Short side, in pixels, at which its editors are usually fed a photo."""

    identified_by: str
    """What says that the weights are of the named model, in words."""

    @property
    def decodes(self) -> bool:
        """Whether there is a decoder."""
        ...

    def recompute(self) -> None:
        """Use less memory and more time for the same gradients from now on."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents of ``encode`` to images (N, 3, H, W) in [0, 1]."""
        ...

    def decode_unclipped(self, latents: Tensor) -> Tensor:
        """As ``decode``, but not clipped to [0, 1]: clipped values have no gradient."""
        ...


class EditorAutoencoder(Autoencoder, Protocol):
    """An autoencoder as a UNet's edits use it."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        ...

    @property
    def multiple(self) -> int:
        """Side of an image divided by that of its latent."""
        ...

    def sample(self, images: Tensor, generator: Generator) -> Tensor:
        """A latent as pipelines draw it: from the posterior, where there is one."""
        ...

    def own_latent(self, images: Tensor) -> Tensor:
        """The latent of ``encode`` before it is normalised, as instruct denoisers are shown it."""
        ...


class Denoiser(Encoder, Protocol):
    """A latent denoiser whose single predictions are differentiable.

    There are two kinds: diffusion models predict the noise in a latent (arXiv 2006.11239), models
    trained by flow matching the velocity towards it (arXiv 2210.02747). The mean square of
    ``predicted - target`` is the training loss. Where ``predicted`` exceeds ``target``, the
    denoiser sees too much noise.
    """

    def context(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Context:
        """The conditioning by pictures and prompt; without a negative prompt at a guidance of 1."""
        ...

    def random_times(self, count: int, generator: Generator) -> Tensor:
        """Uniformly drawn training times (count,), in the denoiser's own unit."""
        ...

    def noised(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Noised latents of the forward process at times (N,)."""
        ...

    def target(self, latents: Tensor, noise: Tensor) -> Tensor:
        """The prediction of a perfect denoiser for ``noised(latents, noise, times)``."""
        ...

    def predicted(self, noisy: Tensor, times: Tensor, context: Context, mode: Mode) -> Tensor:
        """The prediction for noisy latents at times (N,).

        Raises:
            UsageError: If the model has no denoiser for this way of editing.
        """
        ...

    def first_prediction(
        self, images: Tensor, context: Context, mode: Mode, generator: Generator
    ) -> Tensor:
        """The raw output of the network for pure noise at its last time."""
        ...


class AttentiveDenoiser(Denoiser, Protocol):
    """A denoiser whose attention can be seen."""

    name: str
    """Name that the user gave."""

    def attention(
        self,
        images: Tensor,
        context: Context,
        mode: Mode,
        levels: Tensor,
        generator: Generator,
        *,
        start: float = 0.0,
        end: float = 1.0,
    ) -> list[Attention]:
        """The attention of each block in a prediction for pure noise, differentiable.

        Args:
            images: Images (N, C, H, W), which give only shape, type and device.
            context: Conditioning, from ``context``, through which the photo acts.
            mode: Way of editing.
            levels: Times of the prediction (N,), as shares of the schedule: 1 is the noisiest.
            generator: Source of the noise.
            start: Share of the network's blocks that are left out before the first.
            end: Share of the network's blocks up to the last.
        """
        ...


class DifferentiableEditor(Denoiser, Protocol):
    """An editor whose whole edits are differentiable with respect to the picture."""

    def edit(
        self, images: Tensor, edit: Edit, generator: Generator, *, repaint: Tensor | None = None
    ) -> Tensor:
        """Edited images (N, 3, H, W), not clipped to [0, 1]."""
        ...
