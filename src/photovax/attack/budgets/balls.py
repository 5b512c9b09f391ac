"""Balls: sets that bound the largest change of a channel, or the length of the whole change."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from photovax.attack.budgets.contract import BUDGETS, Constraint, Unit, check_options
from photovax.registry import Part

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor

__all__ = ["L2", "Levels", "Linf", "Within", "largest_change"]


class Levels:
    """A set that bounds the largest change of any channel."""

    norm: ClassVar[str] = "linf"
    unit: ClassVar[Unit] = "levels"

    def spent(self, original: np.ndarray, changed: np.ndarray) -> float:
        """The largest change of any channel of any pixel."""
        import numpy as np

        return float(np.abs(changed.astype(np.int16) - original).max())


class _Pixelwise:
    """A set that treats all pixels of all photos alike, and knows nothing of visibility."""

    bounds_seen: ClassVar[bool] = False

    def within(self: Constraint, mask: Tensor) -> Constraint:
        """The same set, but only where a mask is true."""
        return Within(self, mask)

    def fitted(self: Constraint, height: int, width: int, side: int) -> Constraint:
        """The set itself: it does not matter what models are fed."""
        return self

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The photo's own size."""
        return height, width


@BUDGETS.register("linf")
@dataclass(frozen=True)
class Linf(Levels, _Pixelwise):
    """No channel of any pixel may change by more than ``radius``, in units of [0, 1]."""

    radius: float

    def __post_init__(self) -> None:
        allowed = "above 0 and up to 1 (8 of 255 levels are 0.0314)"
        check_options("linf", radius=(0 < self.radius <= 1, self.radius, allowed))

    @property
    def most(self) -> float:
        """The radius in levels."""
        return self.radius * 255

    @property
    def label(self) -> str:
        """The radius in levels, as a fraction of 255."""
        return f"{self.most:.4g}/255"

    def shown(self, radius: float) -> str:
        """The largest change in levels."""
        return f"{radius * 255:.4g} of 255 levels"

    def bounding(self, most: float) -> dict[str, float]:
        """The radius."""
        return {"radius": most / 255}

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Clip the change to the radius, then the image to [0, 1]."""
        # One temporary only: a 24-megapixel photo is 288 MB as float32.
        return (x - origin).clamp_(-self.radius, self.radius).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The negative sign of the gradient; with a scale, its share of that, at most 1."""
        if scale is None:
            return grad.sign().neg_()
        return (grad / scale).clamp_(-1, 1).neg_()

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Uniform noise that fills the cube."""
        import torch

        noise = torch.rand(origin.shape, generator=generator, device=generator.device)
        return self.project(noise.to(origin).mul_(2).sub_(1).mul_(self.radius).add_(origin), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The largest change over the radius."""
        return (x - origin).abs_().flatten(1).amax(1) / self.radius


@BUDGETS.register("l2")
@dataclass(frozen=True)
class L2(_Pixelwise):
    """The change may be ``radius`` long, as one long vector over pixels and channels."""

    radius: float
    norm: ClassVar[str] = "l2"
    unit: ClassVar[Unit] = "length"

    def __post_init__(self) -> None:
        check_options("l2", radius=(self.radius > 0, self.radius, "above 0"))

    @property
    def most(self) -> float:
        """The radius."""
        return self.radius

    @property
    def label(self) -> str:
        """The norm and the length."""
        return f"l2 {self.radius:g}"

    def shown(self, radius: float) -> str:
        """The length, in units of [0, 1]."""
        return f"a length of {radius:.4g}"

    def bounding(self, most: float) -> dict[str, float]:
        """The radius."""
        return {"radius": most}

    def spent(self, original: np.ndarray, changed: np.ndarray) -> float:
        """The length of the change, rounded up to four decimals."""
        import numpy as np

        change = changed.astype(np.int16) - original
        length = math.sqrt(int(np.square(change, dtype=np.int64).sum())) / 255
        return math.ceil(length * 1e4) / 1e4

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Scale the change to the radius, then clip the image to [0, 1].

        The clipping only shortens the change further, since the original is inside.
        """
        delta = x - origin
        scale = (self.radius / _length(delta).clamp_min(1e-12)).clamp_max(1)
        return delta.mul_(scale).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The negative gradient, divided by the scale where there is one, of length one."""
        grad = grad if scale is None else grad / scale
        return -grad / _length(grad).clamp_min(1e-12)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Gaussian noise, scaled to the radius."""
        import torch

        noise = torch.randn(origin.shape, generator=generator, device=generator.device)
        noise = noise.to(origin)
        return self.project(origin + noise * (self.radius / _length(noise)), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The length of the change over the radius."""
        return _length(x - origin).flatten() / self.radius


@dataclass(frozen=True)
class Within(_Pixelwise):
    """A ball, but only where a mask is true; elsewhere the original stays, bit for bit.

    Attributes:
        inner: The ball.
        mask: Bool (N or 1, 1, H, W).
    """

    inner: Constraint
    mask: Tensor

    def __getattr__(self, name: str) -> Any:
        """Everything else that the ball says about itself: radius, unit, words, ..."""
        if name.startswith("__"):  # asked for by copying, before there is an inner set
            raise AttributeError(name)
        return getattr(self.inner, name)

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Take the change outside the mask back, then project into the ball."""
        x = x.where(self.mask, origin)
        return self.inner.project(x, origin).where(self.mask, origin)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The ball's direction of the masked gradient: masked first, or an L2 step is lost."""
        return self.inner.direction(grad * self.mask, origin, scale)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """A random image of the ball, masked."""
        return self.project(self.inner.sample(origin, generator), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The size in the ball."""
        return self.inner.size(x, origin)


def largest_change(levels: float) -> Part:
    """The budget that bounds the largest change to so many 8-bit levels, as a recipe names it."""
    return Part("linf", {"radius": levels / 255})


def _length(x: Tensor) -> Tensor:
    """The Euclidean length of each image of a batch, shaped (N, 1, ...) to divide by."""
    import torch

    lengths: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return lengths.view(-1, *[1] * (x.ndim - 1))
