"""What to make the model do. A loss is one number per image, and smaller is better immunized.

Losses on latents are in units of the clean latent's standard deviation, so that they can be
compared between photos, view sizes and models; scaling a loss does not move its minimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor

from photovax.models.contracts import Encoder
from photovax.photo import read_photo
from photovax.registry import Registry
from photovax.views import resize

__all__ = [
    "OBJECTIVES",
    "LatentDrift",
    "LatentTarget",
    "LossFn",
    "Objective",
    "Sum",
    "latent_distance",
    "latent_unit",
]

TARGET_PHOTO = Path(__file__).parent / "data" / "target.jpg"

LossFn = Callable[[Tensor, Generator], Tensor]
"""Images (N, C, H, W) in [0, 1] and a source of randomness to losses (N,)."""

S = TypeVar("S", contravariant=True)


class Objective(Protocol[S]):
    """A goal, which names by type the least surrogate it can work with."""

    def bind(self, surrogate: S, origin: Tensor) -> LossFn:
        """Do what is needed once (clean latents, targets) and return the loss.

        Args:
            surrogate: The model to break.
            origin: The original photo (N, C, H, W) in [0, 1], as the model is fed it.
        """
        ...


OBJECTIVES: Registry[Objective[Encoder]] = Registry("objective")


@OBJECTIVES.register("latent_target")
@dataclass(frozen=True)
class LatentTarget:
    """Pull the latent to a target: the encoder attack of arXiv 2302.06588, section 3.

    Attributes:
        target: ``"grey"``, the latent of a mid-grey picture; ``"zero"``, the zero latent (the
            public img2img notebook minimises the latent's norm); ``"photo"``, the latent of the
            packaged target photo; or the path of a picture.
    """

    target: str = "grey"

    def bind(self, surrogate: Encoder, origin: Tensor) -> LossFn:
        """The distance to the target's latent."""
        with torch.no_grad():
            clean = surrogate.encode(origin)
            if self.target == "zero":
                goal = torch.zeros_like(clean)
            elif self.target == "grey":
                goal = surrogate.encode(torch.full_like(origin, 0.5))
            else:
                goal = surrogate.encode(_picture(self.target, origin))
        unit = latent_unit(clean)
        return lambda images, _: latent_distance(surrogate.encode(images), goal) / unit


@OBJECTIVES.register("latent_drift")
@dataclass(frozen=True)
class LatentDrift:
    """Push the latent away from the original's, wherever that leads.

    Stronger than any fixed target at the same budget, as EditShield (arXiv 2311.12066) uses it.
    """

    def bind(self, surrogate: Encoder, origin: Tensor) -> LossFn:
        """Minus the distance to the clean latent."""
        with torch.no_grad():
            clean = surrogate.encode(origin)
        unit = latent_unit(clean)
        return lambda images, _: -latent_distance(surrogate.encode(images), clean) / unit


@dataclass(frozen=True)
class Sum(Objective[S]):
    """Several objectives at once, each with a weight."""

    terms: Sequence[tuple[float, Objective[S]]]

    def bind(self, surrogate: S, origin: Tensor) -> LossFn:
        """The weighted sum of the bound terms."""
        bound = [(weight, objective.bind(surrogate, origin)) for weight, objective in self.terms]

        def total(images: Tensor, generator: Generator) -> Tensor:
            losses = [weight * loss(images, generator) for weight, loss in bound]
            return torch.stack(losses).sum(0)

        return total


def latent_distance(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square difference of two batches of latents, per image (N,)."""
    # A norm, not the root of a mean: its gradient at zero distance is zero, not NaN.
    lengths: Tensor = torch.linalg.vector_norm((first - second).flatten(1), dim=1)
    distances: Tensor = lengths / first[0].numel() ** 0.5
    return distances


def latent_unit(clean: Tensor) -> Tensor:
    """The standard deviation of each clean latent (N,), the unit of latent losses.

    A one-colour photo has hardly any; the floor keeps its losses finite.
    """
    return clean.flatten(1).std(1).clamp_min(1e-3)


def _picture(target: str, like: Tensor) -> Tensor:
    """A target picture as float32 (1, 3, H, W), stretched to the size of ``like``."""
    path = TARGET_PHOTO if target == "photo" else Path(target)
    pixels = torch.from_numpy(read_photo(path).visible().copy()).permute(2, 0, 1)[None]
    picture = pixels.to(like).div_(255).expand(-1, 3, -1, -1)
    return resize(picture, *like.shape[-2:])
