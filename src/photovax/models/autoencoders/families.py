"""The autoencoders that are no ``AutoencoderKL``: one class for each convention of latents.

Conventions as in diffusers' pipelines; where latents are only rearranged afterwards (into tokens
of 2 x 2), the arrangement before is kept.
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

    Latents (N, 4 C, H / multiple, W / multiple): 2 x 2 neighbours become channels, normalised by
    the running mean and variance of a batch norm (no scaling factor). Its ``posterior`` is of
    latents before that, (N, C, 2 H / multiple, 2 W / multiple).
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
    """An ``AutoencoderDC`` (deep compression, arXiv 2410.10733), as Sana has it.

    Latents (N, 32, H / 32, W / 32), times the scaling factor; no distribution. Sana Sprint also
    multiplies by its scheduler's ``sigma_data``, which is left out here.
    """

    def _downscale(self) -> int:
        return cast(int, 2 ** (len(self.model.config.encoder_block_out_channels) - 1))

    def _encoded(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.model.encode(x).latent)


class VideoAutoencoder(PosteriorAutoencoder):
    """An ``AutoencoderKLQwenImage`` or ``AutoencoderKLWan``, fed one frame.

    Latents (N, C, 1, H / multiple, W / multiple), normalised by each channel's mean and standard
    deviation. The model clips what it decodes.
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
    """A ``VQModel``, as Kandinsky 2 has it (MoVQ, arXiv 2209.09002).

    Latents (N, 4, H / 8, W / 8), neither quantised nor scaled: Kandinsky's pipelines do neither
    between encoder, denoiser and decoder.
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
    """An ``AutoencoderTiny``: the TAESD family in the form that diffusers gives it.

    Latents (N, 4 or 16, H / 8, W / 8) as those of the autoencoder it stands for; its scaling factor
    is 1 and its shift 0 in all that are known.
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
"""The adapter of each of diffusers' classes, by the ``_class_name`` of a config."""
