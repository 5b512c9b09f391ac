"""How far is the model thrown off? Latents and reconstructions of photo and immunized photo."""

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
    """What a change does to an autoencoder.

    Attributes:
        size: Short side, in pixels, at which the model was fed the pictures.
        shift: Root mean square shift of the latent, in units of the clean latent's standard
            deviation.
        damage: Loss of PSNR, in dB: how much worse the autoencoder's picture of the changed
            photo shows the original than its picture of the original does. None without a
            decoder.
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
    """Measure two uint8 pictures (H, W, C) as the model is fed them, ``size`` on the short side."""
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
