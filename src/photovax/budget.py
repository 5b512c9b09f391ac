"""How far a photo may change: sets of images around an original.

Images are float32 (N, C, H, W) in [0, 1]; a radius is in the same unit, so 8/255 is eight
8-bit levels. Every set contains the original, and knows nothing of models or losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from photovax.registry import Registry

__all__ = ["BUDGETS", "L2", "TOLERANCE", "Constraint", "Linf", "Within", "norm"]

TOLERANCE = 1e-4
"""Float noise allowed when a size is compared with the radius; a thousandth of a level at 8."""


class Constraint(Protocol):
    """The images allowed around an original."""

    @property
    def radius(self) -> float:
        """The size of the set, in the unit of images."""
        ...

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """The allowed image, inside [0, 1] too, that ``x`` becomes."""
        ...

    def direction(self, grad: Tensor, scale: Tensor | None = None) -> Tensor:
        """The unit step that lowers a linear loss fastest, in this set's own norm.

        Args:
            grad: The gradient (N, C, H, W).
            scale: What each value of the gradient usually is in size, above 0; where it is small
                beside that, the step is short.
        """
        ...

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """A random allowed image, as large a change as the set usually gives."""
        ...

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """How large the change is, per image (N,), in units of the radius: 1 is the limit."""
        ...


BUDGETS: Registry[Constraint] = Registry("budget")


@BUDGETS.register("linf")
@dataclass(frozen=True)
class Linf:
    """No channel of any pixel may change by more than ``radius``."""

    radius: float

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Clip the change to the radius, then the image to [0, 1]."""
        # One temporary only: a 24-megapixel photo is 288 MB as float32.
        return (x - origin).clamp_(-self.radius, self.radius).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, scale: Tensor | None = None) -> Tensor:
        """The negative sign of the gradient; with a scale, its share of that, at most 1."""
        if scale is None:
            return grad.sign().neg_()
        return (grad / scale).clamp_(-1, 1).neg_()

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Uniform noise that fills the cube."""
        noise = torch.rand(origin.shape, generator=generator, device=generator.device)
        return self.project(noise.to(origin).mul_(2).sub_(1).mul_(self.radius).add_(origin), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The largest change over the radius."""
        return (x - origin).abs_().flatten(1).amax(1) / self.radius


@BUDGETS.register("l2")
@dataclass(frozen=True)
class L2:
    """The change, as one long vector over pixels and channels, may be ``radius`` long."""

    radius: float

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Scale the change to the radius, then clip the image to [0, 1].

        The clipping only shortens the change further, since the original is inside.
        """
        delta = x - origin
        scale = (self.radius / norm(delta).clamp_min(1e-12)).clamp_max(1)
        return delta.mul_(scale).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, scale: Tensor | None = None) -> Tensor:
        """The negative gradient, over the scale where there is one, one long."""
        grad = grad if scale is None else grad / scale
        return -grad / norm(grad).clamp_min(1e-12)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Gaussian noise, scaled to the radius."""
        noise = torch.randn(origin.shape, generator=generator, device=generator.device)
        noise = noise.to(origin)
        return self.project(origin + noise * (self.radius / norm(noise)), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The length of the change over the radius."""
        return norm(x - origin).flatten() / self.radius


@dataclass(frozen=True)
class Within:
    """Any set, but only where a mask is true; elsewhere the original stays, bit for bit.

    Attributes:
        inner: The set.
        mask: Bool (N or 1, 1, H, W).
    """

    inner: Constraint
    mask: Tensor

    @property
    def radius(self) -> float:
        """The inner radius."""
        return self.inner.radius

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Take the change outside the mask back, then project into the inner set."""
        x = torch.where(self.mask, x, origin)
        return torch.where(self.mask, self.inner.project(x, origin), origin)

    def direction(self, grad: Tensor, scale: Tensor | None = None) -> Tensor:
        """The inner direction of the masked gradient: masked first, or an L2 step is lost."""
        return self.inner.direction(grad * self.mask, scale)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """A random image of the inner set, masked."""
        return self.project(self.inner.sample(origin, generator), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The inner size."""
        return self.inner.size(x, origin)


def norm(x: Tensor) -> Tensor:
    """The Euclidean length of each image of a batch, shaped (N, 1, ...) to divide by."""
    lengths: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return lengths.view(-1, *[1] * (x.ndim - 1))
