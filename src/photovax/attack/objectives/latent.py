"""Objectives on latents: the encoder attack and its relatives.

Losses are in units of the clean latent's standard deviation, so that they can be compared
between photos, view sizes and models; scaling a loss does not move its minimum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.attack.objectives.contract import OBJECTIVES, Encoding
from photovax.errors import ModelError
from photovax.models.contracts import Encoder, Need, PosteriorEncoder
from photovax.models.latents import latent_distance, latent_unit
from photovax.models.views import resize
from photovax.pictures.photo import read_photo
from photovax.tensors import tensor

__all__ = [
    "LatentDrift",
    "LatentTarget",
    "PosteriorShift",
    "target_picture",
]

TARGET_PHOTO = Path(__file__).parents[2] / "data" / "target.jpg"


@OBJECTIVES.register("latent_target")
@dataclass(frozen=True)
class LatentTarget(Encoding):
    """Pull the latent to a target: the encoder attack of arXiv 2302.06588, section 3.

    Attributes:
        target: ``"grey"``, the latent of a mid-grey picture; ``"zero"``, the zero latent (the
            public img2img notebook minimises the latent's norm); ``"photo"``, the latent of the
            packaged target photo; or the path of a picture.
    """

    target: str = "grey"
    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def bind(self, surrogate: Encoder, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The distance to the target's latent."""
        with torch.no_grad():
            clean = surrogate.encode(origin)
            if self.target == "zero":
                goal = torch.zeros_like(clean)
            elif self.target == "grey":
                goal = surrogate.encode(torch.full_like(origin, 0.5))
            else:
                goal = surrogate.encode(target_picture(self.target, origin))
        unit = latent_unit(clean)
        return lambda images, _: latent_distance(surrogate.encode(images), goal) / unit


@OBJECTIVES.register("latent_drift")
@dataclass(frozen=True)
class LatentDrift(Encoding):
    """Push the latent away from the original's, wherever that leads.

    Stronger than any fixed target at the same budget, as EditShield (arXiv 2311.12066) uses it.
    """

    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def bind(self, surrogate: Encoder, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """Minus the distance to the clean latent."""
        with torch.no_grad():
            clean = surrogate.encode(origin)
        unit = latent_unit(clean)
        return lambda images, _: -latent_distance(surrogate.encode(images), clean) / unit


@OBJECTIVES.register("posterior_shift")
@dataclass(frozen=True)
class PosteriorShift(Encoding):
    """Push mean and log-variance of the encoder's posterior away from the original's.

    PID (arXiv 2406.15305), the loss its code calls "add-log": neither denoiser nor prompt.
    """

    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def bind(
        self, surrogate: PosteriorEncoder, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """Minus the sum of both mean squared shifts.

        Raises:
            ModelError: If the model gives latents without a distribution.
        """
        if not hasattr(surrogate, "posterior"):
            raise ModelError("posterior_shift needs a model that gives a distribution of latents")
        with torch.no_grad():
            clean = surrogate.posterior(origin)

        def loss(images: Tensor, _: Generator) -> Tensor:
            moved = surrogate.posterior(images)
            shifts = [
                (after - before).square().flatten(1).mean(1)
                for after, before in zip(moved, clean, strict=True)
            ]
            return -(shifts[0] + shifts[1])

        return loss


def target_picture(target: str, like: Tensor) -> Tensor:
    """A target picture as float32 (1, 3, H, W), stretched to the size of ``like``."""
    path = TARGET_PHOTO if target == "photo" else Path(target)
    picture = tensor(read_photo(path).visible(), like.device).expand(-1, 3, -1, -1)
    return resize(picture, *like.shape[-2:])
