"""Autoencoders other than ``AutoencoderKL``: one class for each normalisation of latents.

Latents are normalised as in diffusers' pipelines. Where pipelines only rearrange them afterwards
(into tokens of 2 x 2), they are left as before.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.models.autoencoders.base import (
    FrozenAutoencoder,
    KLAutoencoder,
    PosteriorAutoencoder,
    channel_statistics,
)

__all__ = [
    "FAMILIES",
    "DeepAutoencoder",
    "Flux2Autoencoder",
    "MoVQAutoencoder",
    "TinyKLAutoencoder",
    "VideoAutoencoder",
]


class Flux2Autoencoder(PosteriorAutoencoder):
    """An ``AutoencoderKLFlux2``.

    Latents are (N, 4 C, H / multiple, W / multiple): 2 x 2 neighbours become channels, normalised
    by the running mean and variance of a batch norm (no scaling factor). ``posterior`` returns
    latents before that step, (N, C, 2 H / multiple, 2 W / multiple).
    """

    def _downscale(self) -> int:
        return 2 * super()._downscale()

    def _scaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        return (F.pixel_unshuffle(latents, 2) - mean) / deviation

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean, deviation = self._statistics(latents)
        return F.pixel_shuffle(latents * deviation + mean, 2)

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        norm = self.model.bn
        variance = norm.running_var + self.model.config.batch_norm_eps
        shape = (1, -1, 1, 1)
        return norm.running_mean.view(shape).to(like), variance.sqrt().view(shape).to(like)


class DeepAutoencoder(FrozenAutoencoder):
    """An ``AutoencoderDC`` (deep compression, arXiv 2410.10733), the autoencoder of Sana.

    Latents are (N, 32, H / 32, W / 32), multiplied by the scaling factor; there is no
    distribution. Sana Sprint also multiplies by its scheduler's ``sigma_data``, which is omitted.
    """

    def _downscale(self) -> int:
        return cast(int, 2 ** (len(self.model.config.encoder_block_out_channels) - 1))

    def _encoded(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model.encode(x).latent)


class VideoAutoencoder(PosteriorAutoencoder):
    """An ``AutoencoderKLQwenImage`` or ``AutoencoderKLWan``, fed one frame.

    Latents are (N, C, 1, H / multiple, W / multiple), normalised by each channel's mean and
    standard deviation. The model clips the images that it decodes.
    """

    memory_format = torch.contiguous_format  # its weights have both four and five dimensions

    def _downscale(self) -> int:
        config = self.model.config
        patch = getattr(config, "patch_size", None) or 1
        return cast(int, patch * 2 ** (len(config.dim_mult) - 1))

    def _distribution(self, x: Tensor) -> Any:
        return super()._distribution(x[:, :, None])

    def _decoded(self, latents: Tensor) -> Tensor:
        return cast(Tensor, self.model.decode(latents).sample[:, :, 0])

    def _scaled(self, latents: Tensor) -> Tensor:
        mean, deviation = channel_statistics(self.model.config, latents)
        return (latents - mean) / deviation

    def _unscaled(self, latents: Tensor) -> Tensor:
        mean, deviation = channel_statistics(self.model.config, latents)
        return latents * deviation + mean


class MoVQAutoencoder(FrozenAutoencoder):
    """A ``VQModel`` (MoVQ, arXiv 2209.09002), the autoencoder of Kandinsky 2.

    Latents are (N, 4, H / 8, W / 8), neither quantised nor scaled, as in Kandinsky's pipelines.
    """

    def _encoded(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model.encode(x).latents)

    def _decoded(self, latents: Tensor) -> Tensor:
        return cast(Tensor, self.model.decode(latents, force_not_quantize=True).sample)

    def _scaled(self, latents: Tensor) -> Tensor:
        return latents

    def _unscaled(self, latents: Tensor) -> Tensor:
        return latents


class TinyKLAutoencoder(FrozenAutoencoder):
    """An ``AutoencoderTiny``: the TAESD family in diffusers' form.

    Latents are (N, 4 or 16, H / 8, W / 8), like those of the autoencoder that it approximates. The
    scaling factor is 1 and the shift 0 in all known models.
    """

    def _downscale(self) -> int:
        return cast(int, 2 ** (len(self.model.config.encoder_block_out_channels) - 1))

    def _encoded(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model.encode(x).latents)

    def _scaled(self, latents: Tensor) -> Tensor:
        return super()._scaled(latents - self._shift)

    def _unscaled(self, latents: Tensor) -> Tensor:
        return super()._unscaled(latents) + self._shift

    @property
    def _shift(self) -> float:
        return float(getattr(self.model.config, "shift_factor", 0.0))


FAMILIES: dict[str, type[FrozenAutoencoder]] = {
    "AutoencoderKL": KLAutoencoder,
    "AutoencoderKLFlux2": Flux2Autoencoder,
    "AutoencoderDC": DeepAutoencoder,
    "AutoencoderKLQwenImage": VideoAutoencoder,
    "AutoencoderKLWan": VideoAutoencoder,
    "VQModel": MoVQAutoencoder,
    "AutoencoderTiny": TinyKLAutoencoder,
}
"""Families by the name of diffusers' class, the ``_class_name`` of a configuration."""
