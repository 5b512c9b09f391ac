"""Balls: sets that bound the l-infinity norm or the l2 norm of the change."""

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
    """A set that bounds the largest change of any channel (l-infinity norm)."""

    norm: ClassVar[str] = "linf"
    unit: ClassVar[Unit] = "levels"

    def spent(self, original: np.ndarray, changed: np.ndarray) -> float:
        """The largest change of any channel of any pixel, in 8-bit levels."""
        import numpy as np

        return float(np.abs(changed.astype(np.int16) - original).max())


class _Pixelwise:
    """A set that treats all pixels of all photos alike and ignores visibility."""

    bounds_seen: ClassVar[bool] = False
    takes_estimates: ClassVar[bool] = False
    copies_kept: ClassVar[int] = 0
    copies_at_work: ClassVar[int] = 0

    def within(self: Constraint, mask: Tensor) -> Constraint:
        """The same set, restricted to the pixels where a mask is true."""
        return Within(self, mask)

    def fitted(self: Constraint, height: int, width: int, side: int) -> Constraint:
        """The set itself: it does not depend on the size at which models are fed the photo."""
        return self

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the photo."""
        return height, width


@BUDGETS.register("linf")
@dataclass(frozen=True)
class Linf(Levels, _Pixelwise):
    """The l-infinity ball: no channel of any pixel changes by more than ``radius``.

    Steps along the sign of the gradient and the projection by clipping are those of PGD (Madry et
    al., arXiv 1706.06083).

    Attributes:
        radius: Largest change of any channel, in units of [0, 1].

    Raises:
        UsageError: If the radius is not above 0 and up to 1.
    """

    radius: float

    def __post_init__(self) -> None:
        allowed = "above 0 and up to 1 (8 of 255 levels are 0.0314)"
        check_options("linf", radius=(0 < self.radius <= 1, self.radius, allowed))

    @property
    def most(self) -> float:
        """The radius, in 8-bit levels."""
        return self.radius * 255

    @property
    def label(self) -> str:
        """The radius as a fraction of 255, such as ``8/255``."""
        return f"{self.most:.4g}/255"

    def shown(self, radius: float) -> str:
        """The radius in words, such as ``8 of 255 levels``."""
        return f"{radius * 255:.4g} of 255 levels"

    def bounding(self, most: float) -> dict[str, float]:
        """The radius for a largest change of ``most`` 8-bit levels."""
        return {"radius": most / 255}

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Clip the change to the radius, then the image to [0, 1]."""
        # One temporary only: a 24-megapixel photo is 288 MB as float32.
        return (x - origin).clamp_(-self.radius, self.radius).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The negative sign of the gradient; with a scale, minus their ratio in [-1, 1]."""
        if scale is None:
            return grad.sign().neg_()
        return (grad / scale).clamp_(-1, 1).neg_()

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Uniform noise in the ball, added to the original."""
        import torch

        noise = torch.rand(origin.shape, generator=generator, device=generator.device)
        return self.project(noise.to(origin).mul_(2).sub_(1).mul_(self.radius).add_(origin), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The largest change divided by the radius, (N,)."""
        return (x - origin).abs_().flatten(1).amax(1) / self.radius


@BUDGETS.register("l2")
@dataclass(frozen=True)
class L2(_Pixelwise):
    """The l2 ball: the Euclidean length of the change is at most ``radius``.

    Steps along the normalised gradient and the projection by rescaling are those of PGD (Madry et
    al., arXiv 1706.06083).

    Attributes:
        radius: Largest length over all pixels and channels, in units of [0, 1].

    Raises:
        UsageError: If the radius is not above 0.
    """

    radius: float
    norm: ClassVar[str] = "l2"
    unit: ClassVar[Unit] = "length"

    def __post_init__(self) -> None:
        check_options("l2", radius=(self.radius > 0, self.radius, "above 0"))

    @property
    def most(self) -> float:
        """The radius, in units of [0, 1]."""
        return self.radius

    @property
    def label(self) -> str:
        """The norm and the radius, such as ``l2 8``."""
        return f"l2 {self.radius:g}"

    def shown(self, radius: float) -> str:
        """The length in words, in units of [0, 1]."""
        return f"a length of {radius:.4g}"

    def bounding(self, most: float) -> dict[str, float]:
        """The radius for a largest length of ``most``."""
        return {"radius": most}

    def spent(self, original: np.ndarray, changed: np.ndarray) -> float:
        """The length of the change in units of [0, 1], rounded up to four decimals."""
        import numpy as np

        change = changed.astype(np.int16) - original
        length = math.sqrt(int(np.square(change, dtype=np.int64).sum())) / 255
        return math.ceil(length * 1e4) / 1e4

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Scale a change that is too long to the radius, then clip the image to [0, 1].

        Clipping only shortens the change further, since the original is in [0, 1].
        """
        delta = x - origin
        scale = (self.radius / _length(delta).clamp_min(1e-12)).clamp_max(1)
        return delta.mul_(scale).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The negative gradient, divided by the scale if given, normalised to length 1."""
        grad = grad if scale is None else grad / scale
        return -grad / _length(grad).clamp_min(1e-12)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Gaussian noise of length ``radius``, added to the original."""
        import torch

        noise = torch.randn(origin.shape, generator=generator, device=generator.device)
        noise = noise.to(origin)
        return self.project(origin + noise * (self.radius / _length(noise)), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The length of the change divided by the radius, (N,)."""
        return _length(x - origin).flatten() / self.radius


@dataclass(frozen=True)
class Within(_Pixelwise):
    """A ball restricted to a mask; outside the mask the original stays, bit for bit.

    Attributes:
        inner: Ball.
        mask: Pixels that may change, bool (N or 1, 1, H, W).
    """

    inner: Constraint
    mask: Tensor

    def __getattr__(self, name: str) -> Any:
        """All other properties of the ball: ``radius``, ``unit``, ``label`` and so on."""
        if name.startswith("__"):  # looked up by ``copy`` before ``inner`` is set
            raise AttributeError(name)
        return getattr(self.inner, name)

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Undo the change outside the mask, then project into the ball."""
        x = x.where(self.mask, origin)
        return self.inner.project(x, origin).where(self.mask, origin)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The ball's direction for the masked gradient.

        The mask is applied first: otherwise part of the length of an l2 step would lie outside it.
        """
        return self.inner.direction(grad * self.mask, origin, scale)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """A random image of the ball, with the original outside the mask."""
        x = self.project(self.inner.sample(origin, generator), origin)
        if self.unit != "length":
            return x
        # A length is that of all pixels: of one that a mask has shortened, the rest is made up.
        longer = 1 / self.size(x, origin).clamp_min(1e-12).view(-1, 1, 1, 1)
        return self.project((x - origin).mul_(longer).add_(origin), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The size of the change in the ball, (N,)."""
        return self.inner.size(x, origin)


def largest_change(levels: float) -> Part:
    """The l-infinity budget with a radius of ``levels`` 8-bit levels, as a part of a recipe."""
    return Part("linf", {"radius": levels / 255})


def _length(x: Tensor) -> Tensor:
    """The Euclidean length of each image of a batch, shaped (N, 1, ...) to broadcast."""
    import torch

    lengths: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return lengths.view(-1, *[1] * (x.ndim - 1))
