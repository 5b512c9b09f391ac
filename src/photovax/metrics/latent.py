"""Effect on an autoencoder: how far latents and reconstructions of a photo move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator

from photovax.metrics.distortion import image_psnr
from photovax.models.contracts import Autoencoder
from photovax.models.latents import latent_distance, latent_unit
from photovax.models.views import ShortSide
from photovax.tensors import tensor

__all__ = [
    "LatentEffect",
    "latent_effect",
]


@dataclass(frozen=True)
class LatentEffect:
    """The effect of a change on an autoencoder.

    Attributes:
        size: Short side, in pixels, at which the model was fed the pictures.
        shift: Root mean square shift of the latent, in units of the clean latent's standard
            deviation.
        damage: Loss of PSNR, in dB: PSNR of the reconstructed original minus PSNR of the
            reconstructed changed photo, both against the original. None without a decoder.
    """

    size: int
    shift: float
    damage: float | None


def latent_effect(
    model: Autoencoder,
    original: np.ndarray,
    changed: np.ndarray,
    device: torch.device,
    *,
    size: int,
) -> LatentEffect:
    """The effect of a change between two uint8 pictures (H, W, C).

    The model is fed both with a short side of ``size`` pixels.
    """
    view = ShortSide(size)
    with torch.no_grad():
        seen, moved = (
            view(tensor(picture, device), Generator(device).manual_seed(0))
            for picture in (original, changed)
        )
        clean, latent = model.encode(seen), model.encode(moved)
        shift = latent_distance(latent, clean) / latent_unit(clean)
        damage = None
        if model.decodes:
            height, width = seen.shape[-2:]
            before, after = (
                image_psnr(model.decode(z)[..., :height, :width], seen) for z in (clean, latent)
            )
            damage = (before - after).item()
    return LatentEffect(size=size, shift=shift.item(), damage=damage)
