"""Autoencoders of diffusion models, for images in [0, 1]."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Generator, Tensor

from photovax.machine.random import draw_noise
from photovax.models.catalog.holdings import AS_TOLD
from photovax.models.padding import continued
from photovax.models.recompute import recompute

__all__ = [
    "FrozenAutoencoder",
    "KLAutoencoder",
    "PosteriorAutoencoder",
    "channel_statistics",
]


class FrozenAutoencoder:
    """One of diffusers' autoencoders, frozen; base class of all families.

    A family defines how its model is called and how its latents are normalised for its
    denoisers: ``_encoded``, ``_decoded``, ``_scaled`` and ``_unscaled``.

    Attributes:
        name: Name that the user gave.
        digest: SHA-256 of its weights, in hexadecimal digits.
        size: Short side, in pixels, at which its editors are usually fed a photo.
        identified_by: What says that the weights are of the model of this name.
        multiple: Side of an image divided by that of its latent. Images are padded to multiples
            of it.
        model: Diffusers model, in evaluation mode and without weight gradients.
    """

    decodes = True
    memory_format: ClassVar[torch.memory_format] = torch.channels_last

    def __init__(self, model: Any, *, name: str, digest: str, size: int = 512) -> None:
        self.name = name
        self.size = size
        self.digest = digest
        self.identified_by = AS_TOLD
        # Channels-last convolutions are faster on CPUs and on tensor cores.
        # Any, since a type checker sees no attributes in diffusers' classes.
        self.model: Any = model.eval().requires_grad_(False).to(memory_format=self.memory_format)
        self.multiple = self._downscale()

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, 1 or 3, H, W) in [0, 1] as latents for the denoiser.

        Grey images are encoded as RGB. Images whose sides are not multiples of ``multiple`` are
        padded with their last row or column.
        """
        return self._scaled(self._encoded(self._fed(images))).to(images.dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents of ``encode`` to images (N, 3, H, W) in [0, 1]."""
        return self.decode_unclipped(latents).clamp(0, 1)

    def decode_unclipped(self, latents: Tensor) -> Tensor:
        """As ``decode``, but not clipped to [0, 1]: clipped values have no gradient."""
        return self._decoded(self._unscaled(latents)).to(latents.dtype) / 2 + 0.5

    def sample(self, images: Tensor, generator: Generator) -> Tensor:
        """A latent as pipelines draw it: here, without a distribution, that of ``encode``."""
        del generator
        return self.encode(images)

    def own_latent(self, images: Tensor) -> Tensor:
        """Encode images as ``encode`` does, but without normalising, for instruct denoisers."""
        return self._encoded(self._fed(images)).to(images.dtype)

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.model.config.latent_channels)

    def recompute(self) -> None:
        """Use less memory and more time for the same gradients; see ``recompute.recompute``."""
        recompute(self.model)

    def _fed(self, images: Tensor) -> Tensor:
        """Images as the model takes them: RGB in [-1, 1], padded to multiples of ``multiple``."""
        x = continued(images.expand(-1, 3, -1, -1) * 2 - 1, self.multiple)
        return x.contiguous(memory_format=self.memory_format)

    def _downscale(self) -> int:
        return cast(int, 2 ** (len(self.model.config.block_out_channels) - 1))

    def _encoded(self, x: Tensor) -> Tensor:
        """Encode images in [-1, 1] as the model's own latent, or the mean of its distribution."""
        raise NotImplementedError

    def _decoded(self, latents: Tensor) -> Tensor:
        """Decode the model's own latent to images in [-1, 1]."""
        return cast(Tensor, self.model.decode(latents).sample)

    def _scaled(self, latents: Tensor) -> Tensor:
        return latents * float(self.model.config.scaling_factor)

    def _unscaled(self, latents: Tensor) -> Tensor:
        return latents / float(self.model.config.scaling_factor)


class PosteriorAutoencoder(FrozenAutoencoder):
    """An autoencoder whose encoder gives a distribution; ``encode`` returns its mean."""

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the model's own latent, before any scaling."""
        found = self._distribution(self._fed(images))
        return found.mean.to(images.dtype), found.logvar.to(images.dtype)

    def sample(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw a latent from the posterior, as most pipelines do; scaled as by ``encode``."""
        mean, logvar = self.posterior(images)
        noise = draw_noise(mean.shape, mean, generator)
        return self._scaled(mean + (0.5 * logvar).exp() * noise)

    def _encoded(self, x: Tensor) -> Tensor:
        return cast(Tensor, self._distribution(x).mean)

    def _distribution(self, x: Tensor) -> Any:
        return self.model.encode(x).latent_dist


class KLAutoencoder(PosteriorAutoencoder):
    """An ``AutoencoderKL``: Stable Diffusion 1 to 3.5, SDXL, PixArt, FLUX.1, Z-Image.

    Latents are (N, C, H / multiple, W / multiple) with C of 4 or 16, normalised as
    ``(z - shift) * scale``, or ``(z - mean) * scale / deviation`` if the configuration has a mean
    and standard deviation for each channel.
    """

    def _scaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._moments(latents)
        return super()._scaled((latents - mean) / deviation)

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._moments(latents)
        return super()._unscaled(latents) * deviation + mean

    def _moments(self, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """The mean and the standard deviation that latents are normalised by before scaling."""
        config = self.model.config
        if config.latents_mean is not None and config.latents_std is not None:
            return channel_statistics(config, like)
        return float(config.shift_factor or 0.0), 1.0


def channel_statistics(config: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """``latents_mean`` and ``latents_std`` of a configuration, shaped for broadcasting."""
    shape = (1, -1, *(1 for _ in like.shape[2:]))
    return (
        torch.tensor(config.latents_mean, device=like.device, dtype=like.dtype).view(shape),
        torch.tensor(config.latents_std, device=like.device, dtype=like.dtype).view(shape),
    )
