"""Effect on an autoencoder: how far latents and reconstructions of a photo move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from photovax.metrics.distortion import image_psnr
from photovax.models.contracts import Autoencoder
from photovax.models.latents import latent_distance, latent_unit
from photovax.models.views import ShortSide
from photovax.tensors import tensor

__all__ = [
    "LatentEffect",
    "latent_effect",
    "latent_effects",
    "latent_shift",
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
    (found,) = latent_effects(model, original, [changed], device, size=size)
    return found


def latent_shift(
    model: Autoencoder,
    original: np.ndarray,
    changed: np.ndarray,
    device: torch.device,
    *,
    size: int | None = None,
) -> float:
    """The ``shift`` of ``latent_effect`` alone, which takes half the work.

    The model is fed the pictures at its own size when ``size`` is None.
    """
    fed = size or model.size
    (found,) = latent_effects(model, original, [changed], device, size=fed, decoded=0)
    return found.shift


def latent_effects(
    model: Autoencoder,
    original: np.ndarray,
    changed: Iterable[np.ndarray],
    device: torch.device,
    *,
    size: int,
    decoded: int | None = None,
    decide: Callable[[Sequence[float]], bool] | None = None,
    enough: Callable[[Sequence[float]], bool] | None = None,
) -> list[LatentEffect]:
    """The effect of each of several changes of one picture; see ``latent_effect``.

    The original is encoded once, and one changed picture is held at a time.

    Args:
        model: Model.
        original: uint8 picture (H, W, C).
        changed: Changed pictures of the same shape.
        device: Device of the model.
        size: Short side, in pixels, at which the model is fed them.
        decoded: Number of pictures, from the first, whose damage is measured, which doubles their
            work; all when None.
        decide: Function of all shifts that says whether to measure the damage of all after all.
        enough: Function of the shifts so far that says whether to leave out all further pictures.
    """
    view = ShortSide(size)

    def fed(picture: np.ndarray) -> Tensor:
        return view(tensor(picture, device), Generator(device).manual_seed(0))

    def fidelity(latent: Tensor) -> float:
        height, width = seen.shape[-2:]
        return image_psnr(model.decode(latent)[..., :height, :width], seen).item()

    with torch.no_grad():
        seen = fed(original)
        clean = model.encode(seen)
        unit = latent_unit(clean)
        latents: list[Tensor] = []
        shifts: list[float] = []
        for picture in changed:
            latents.append(model.encode(fed(picture)))
            shifts.append((latent_distance(latents[-1], clean) / unit).item())
            if enough is not None and enough(shifts):
                break
        every = decoded is None or (decide is not None and decide(shifts))
        count = len(latents) if every else decoded or 0
        best = fidelity(clean) if count and model.decodes else None
        damages = [
            best - fidelity(latent) if best is not None and number < count else None
            for number, latent in enumerate(latents)
        ]
    return [
        LatentEffect(size=size, shift=shift, damage=damage)
        for shift, damage in zip(shifts, damages, strict=True)
    ]
