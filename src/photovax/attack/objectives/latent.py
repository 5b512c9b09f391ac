"""Objectives on latents and on what is decoded from them: the encoder attack and its variants.

Distances of latents are in units of the standard deviation of the original's latent, so that losses
of different photos, view sizes and models can be compared. Scaling a loss does not move its
minimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Generator, Tensor

from photovax.attack.losses import LossFn
from photovax.attack.objectives.contract import OBJECTIVES, Encoding
from photovax.attack.sweep import swept
from photovax.errors import ModelError, UsageError
from photovax.models.contracts import Autoencoder, Encoder, Need, PosteriorEncoder
from photovax.models.latents import latent_distance, latent_unit
from photovax.models.views import Tiles, Window, resampled, resize
from photovax.pictures.photo import read_photo
from photovax.tensors import tensor

__all__ = [
    "DecodedDrift",
    "LatentDrift",
    "LatentTarget",
    "PosteriorShift",
    "check_smooth",
    "target_picture",
    "uneven",
]

# Values of a latent, not pixels: larger ones are decoded in parts, with what is around them.
_PARTS = Tiles(side=96, halo=8)

TARGET_PHOTO = Path(__file__).parents[2] / "data" / "target.jpg"


@OBJECTIVES.register("latent_target")
@dataclass(frozen=True)
class LatentTarget(Encoding):
    """Move the latent towards the latent of a target picture.

    Source: the encoder attack of PhotoGuard (arXiv 2302.06588, section 3).

    Attributes:
        target: Target. ``"grey"`` is the latent of a mid-grey picture; ``"zero"`` is the zero
            latent, as in the public img2img notebook; ``"photo"`` is the latent of the packaged
            target photo; other values are the path of a picture.
    """

    target: str = "grey"
    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def bind(self, surrogate: Encoder, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The loss: root mean square distance to the target's latent, in standard deviations."""
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
    """Move the latent away from that of the original, without a target.

    Source: the objective of EditShield (arXiv 2311.12066). At the same budget it moves latents
    further than a fixed target does.
    """

    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def bind(self, surrogate: Encoder, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The loss: minus the root mean square distance to the original's latent, in deviations."""
        with torch.no_grad():
            clean = surrogate.encode(origin)
        unit = latent_unit(clean)
        return lambda images, _: -latent_distance(surrogate.encode(images), clean) / unit


@OBJECTIVES.register("decoded_drift")
@dataclass(frozen=True)
class DecodedDrift(Encoding):
    """Move what is decoded of the photo away from what is decoded of the original.

    Of the many channels of today's latents, a decoder ignores much, and so do edits: a latent can
    move far while edits hardly change. What the decoder shows of a change, edits show, too. A pass
    takes two to three times as long as that of ``latent_drift``, which is the loss of models
    without a decoder.

    Attributes:
        smooth: Side in pixels of the squares whose mean differences do not count, since anyone
            undoes another brightness; 0 counts all.

    Raises:
        UsageError: If ``smooth`` is negative.
    """

    smooth: int = 16
    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_smooth(self.smooth)

    def bind(self, surrogate: Encoder, origin: Tensor, repaint: Tensor | None = None) -> LossFn:
        """The loss: minus the root mean square of what counts of the difference, in [0, 1]."""
        # In a sum with other objectives the surrogate is a whole editor.
        model = cast(Autoencoder, getattr(surrogate, "autoencoder", surrogate))
        if not model.decodes:
            return LatentDrift().bind(surrogate, origin, repaint)
        with torch.no_grad():
            clean = model.encode(origin)
        windows = _PARTS.windows(*clean.shape[-2:])
        # Activations of a decoder take several times the memory of those of its encoder.
        moved = swept(windows, [self._moved(model, each, clean, len(windows)) for each in windows])

        def loss(images: Tensor, generator: Generator) -> Tensor:
            return -moved(model.encode(images), generator).clamp_min(1e-12).sqrt()

        return loss

    def _moved(self, model: Autoencoder, window: Window, clean: Tensor, count: int) -> LossFn:
        """The mean square of what counts of a window's difference, a function of its latents.

        It is weighed so that the mean over all ``count`` windows is that of the whole picture.
        """
        share = count * window.core_of(clean)[0].numel() / clean[0].numel()
        with torch.no_grad():
            shown = model.decode_unclipped(window.cut(clean))

        def loss(latents: Tensor, _: Generator) -> Tensor:
            moved = (model.decode_unclipped(latents) - shown).float()
            counted = window.scaled(shown.shape[-1] // latents.shape[-1]).core_in(
                uneven(moved, self.smooth)
            )
            return share * counted.square().flatten(1).mean(1)

        return loss


def check_smooth(smooth: int) -> None:
    """Check the option ``smooth`` of an objective.

    Raises:
        UsageError: If it is negative.
    """
    if smooth < 0:
        raise UsageError(f"smooth must be 0 or more, got {smooth}")


def uneven(moved: Tensor, smooth: int) -> Tensor:
    """What counts of a difference of pictures: all but its smooth part.

    Args:
        moved: Difference (N, 3, H, W).
        smooth: Side in pixels of the squares whose means make up the smooth part; 0 for none.
    """
    if not smooth:
        return moved
    height, width = moved.shape[-2:]
    cells = (math.ceil(height / smooth), math.ceil(width / smooth))
    return moved - resampled(resampled(moved, *cells, "area"), height, width, "bilinear")


@OBJECTIVES.register("posterior_shift")
@dataclass(frozen=True)
class PosteriorShift(Encoding):
    """Move mean and log-variance of the encoder's posterior away from those of the original.

    Source: PID (arXiv 2406.15305), the loss that its code calls "add-log". It needs neither a
    denoiser nor a prompt.
    """

    needs: ClassVar[Need] = "autoencoder"
    random: ClassVar[bool] = False

    def bind(
        self, surrogate: PosteriorEncoder, origin: Tensor, repaint: Tensor | None = None
    ) -> LossFn:
        """The loss: minus the sum of the mean squared changes of mean and log-variance.

        Raises:
            ModelError: If the model's encoder is deterministic.
        """
        if not hasattr(surrogate, "posterior"):
            raise ModelError(
                "posterior_shift needs a model whose encoder gives a distribution of latents"
            )
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
    """Read a target picture as float32 (1, 3, H, W) in [0, 1], stretched to the size of ``like``.

    Args:
        target: ``photo`` for the packaged target photo, or the path of a picture.
        like: Images (N, C, H, W) whose size and device are used.

    Raises:
        PhotoError: If the picture cannot be read.
    """
    path = TARGET_PHOTO if target == "photo" else Path(target)
    picture = tensor(read_photo(path).visible(), like.device).expand(-1, 3, -1, -1)
    return resize(picture, *like.shape[-2:])
