"""How far a photo may change: sets of images around an original.

Images are float32 (N, C, H, W) in [0, 1]; a radius is in the same unit, so 8/255 is eight
8-bit levels. Every set contains the original, and knows nothing of models or losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Generator, Tensor

from photovax.attack.perception import Lens, shown_degree
from photovax.errors import UsageError
from photovax.models.views import interpolated
from photovax.registry import Registry

__all__ = ["BUDGETS", "L2", "TOLERANCE", "Constraint", "Linf", "Perceptual", "Within", "norm"]

TOLERANCE = 1e-4
"""Float noise allowed when a size is compared with the radius; a thousandth of a level at 8."""


class Constraint(Protocol):
    """The images allowed around an original."""

    @property
    def radius(self) -> float:
        """The size of the set, in its own unit."""
        ...

    def shown(self, radius: float) -> str:
        """A radius as people are told it, such as ``8 of 255 levels``."""
        ...

    def within(self, mask: Tensor) -> Constraint:
        """The same set, but only where a mask is true; elsewhere the original stays, bit for bit.

        Args:
            mask: Bool (N or 1, 1, H, W).
        """
        ...

    def fitted(self, height: int, width: int, side: int) -> Constraint:
        """The set for a photo of these sides, which models are fed at a short ``side`` at most."""
        ...

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The sides at which changes to a photo of these sides are found, and enlarged from."""
        ...

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """The allowed image, inside [0, 1] too, that ``x`` becomes."""
        ...

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The unit step that lowers a linear loss fastest, in this set's own norm.

        Args:
            grad: The gradient (N, C, H, W).
            origin: The original.
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


class _OfPixels:
    """What sets have in common that take every pixel of every photo alike."""

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
class Linf(_OfPixels):
    """No channel of any pixel may change by more than ``radius``."""

    radius: float

    def shown(self, radius: float) -> str:
        """The largest change."""
        return f"{radius * 255:.4g} of 255 levels"

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
        noise = torch.rand(origin.shape, generator=generator, device=generator.device)
        return self.project(noise.to(origin).mul_(2).sub_(1).mul_(self.radius).add_(origin), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The largest change over the radius."""
        return (x - origin).abs_().flatten(1).amax(1) / self.radius


@BUDGETS.register("l2")
@dataclass(frozen=True)
class L2(_OfPixels):
    """The change, as one long vector over pixels and channels, may be ``radius`` long."""

    radius: float

    def shown(self, radius: float) -> str:
        """The length, in units of [0, 1]."""
        return f"a length of {radius:.4g}"

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Scale the change to the radius, then clip the image to [0, 1].

        The clipping only shortens the change further, since the original is inside.
        """
        delta = x - origin
        scale = (self.radius / norm(delta).clamp_min(1e-12)).clamp_max(1)
        return delta.mul_(scale).add_(origin).clamp_(0, 1)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
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
class _View:
    """How a photo is looked at and fed.

    Attributes:
        grid: Sides (height, width) at which changes are found.
        degree: Pixels of the grid in a degree of the field of view.
        finest: The highest frequency that models are fed, in cycles a pixel of the grid.
    """

    grid: tuple[int, int]
    degree: float
    finest: float


@BUDGETS.register("perceptual")
@dataclass(frozen=True)
class Perceptual:
    """The change may be seen as much as ``radius`` says, and is at most ``levels`` anywhere.

    How much it is seen is the mean of order ``power`` of the change in thresholds of
    ``photovax.attack.perception.Lens``, over what may change; a threshold is a level in mid grey
    where it is flat and frequencies are those that eyes see best. It is a ball with other axes for
    every photo: most goes where it does most for what is seen of it.

    A photo counts as it is looked at, shrunk to a screen, and as models are fed it. Changes to one
    that is larger than that are found on a smaller grid and enlarged: what a resize takes away
    would be seen and do nothing.

    Attributes:
        radius: In thresholds.
        levels: Largest change of any channel of any pixel, in 8-bit levels.
        colour: Allowance of colour differences, that of luma being 1.
        texture: Strength of masking by contrast nearby, 0 for none.
        power: Order of the mean, above 1. The larger, the less a few places may stick out.
        view: How the photo is looked at and fed; see ``fitted``. None: pixel for pixel, both.
        mask: Bool (1, 1, H, W), where the photo may change; everywhere when None.
    """

    radius: float
    levels: float
    colour: float = 1.0
    texture: float = 1.0
    power: float = 4.0
    view: _View | None = None
    mask: Tensor | None = None
    # Of the photo that was asked for last: a descent asks three times a step for the same one.
    _lenses: list[tuple[Tensor, Lens]] = field(
        default_factory=list, init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        checks = {
            "levels": (0 < self.levels <= 255, "above 0 and up to 255"),
            "colour": (self.colour > 0, "above 0"),
            "texture": (self.texture >= 0, "0 or more"),
            "power": (self.power > 1, "above 1"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UsageError(
                    f"budget perceptual needs {name} {allowed}, got {getattr(self, name):g}"
                )

    def shown(self, radius: float) -> str:
        """The visibility, and the largest change."""
        return f"a visibility of {radius:.3g} thresholds, {self.levels:.4g} of 255 levels at most"

    def within(self, mask: Tensor) -> Perceptual:
        """The same set where a mask is true; how much it is seen is a mean over that part."""
        return replace(self, mask=mask)

    def fitted(self, height: int, width: int, side: int) -> Perceptual:
        """Made of frequencies that are left when the photo is fed at a short side of ``side``."""
        short = min(height, width)
        # Half as large again as it is fed, so that enlarging keeps all frequencies.
        scale = min(1.0, 1.5 * side / short)
        grid = max(1, round(height * scale)), max(1, round(width * scale))
        degree = shown_degree(height, width) * scale
        return replace(self, view=_View(grid, degree, 0.5 * side / (short * scale)))

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The grid's sides."""
        return (height, width) if self.view is None else self.view.grid

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Clip the change to the levels, the image to [0, 1], and scale it to the radius.

        Scaling keeps what clipping gave, since the original is inside of all three.
        """
        bound = self.levels / 255
        change = (x - origin).clamp_(-bound, bound)
        if self.mask is not None:
            change.mul_(self.mask)
        # Two temporaries at most: a 24-megapixel photo is 288 MB as float32.
        x = change.add_(origin).clamp_(0, 1)
        change = x - origin
        excess = (self._seen(change, origin) / self.radius).view(-1, 1, 1, 1)
        if not (excess > 1).any():
            return x
        del x
        return change.div_(excess.clamp_min_(1)).add_(origin)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The change that is seen at one threshold and lowers a linear loss fastest.

        Its thresholds are minus the gradient by them, to the power that is dual to the mean's. What
        that has of frequencies that models are not fed is left out.
        """
        grad = grad if scale is None else grad / scale
        if self.mask is not None:
            grad = grad * self.mask
        lens = self._lens(origin)
        pulled = lens.pulled(self._on_grid(grad))
        # Gradients are small numbers, whose powers would be smaller than floats can be.
        pulled.div_(pulled.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min_(1e-30))
        if self.power != 2:
            pulled = pulled.abs().pow_(1 / (self.power - 1)).mul_(pulled.sign())
        return self._scaled(lens.change(pulled.neg_()), origin, 1.0)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Gaussian noise in thresholds, as large as the radius."""
        lens = self._lens(origin)
        noise = torch.randn(
            (*origin.shape[:2], *lens.size), generator=generator, device=generator.device
        )
        change = self._scaled(lens.change(noise.to(origin)), origin, self.radius)
        return self.project(change.add_(origin), origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The larger of how much it is seen over the radius, and the largest change over levels."""
        change = x - origin
        flat = change.flatten(1)
        largest = torch.maximum(flat.amax(1), -flat.amin(1)) * (255 / self.levels)
        return torch.maximum(self._seen(change, origin) / self.radius, largest)

    def _scaled(self, change: Tensor, origin: Tensor, radius: float) -> Tensor:
        """A change on the grid, enlarged, and made so large that it is seen as a radius says."""
        seen = self._seen(change, origin).clamp_min_(1e-30).view(-1, 1, 1, 1)
        return interpolated(change.mul_(radius / seen), *origin.shape[-2:])

    def _seen(self, change: Tensor, origin: Tensor) -> Tensor:
        """How much changes are seen (N,), in thresholds."""
        return self._mean(self._lens(origin).thresholds(self._on_grid(change)), origin)

    def _mean(self, thresholds: Tensor, origin: Tensor) -> Tensor:
        """Their mean of order ``power`` (N,) over what may change, without FFTs' padding."""
        height, width = self.working_size(origin.shape[-2], origin.shape[-1])
        share = 1.0 if self.mask is None else self.mask.float().mean(dim=(1, 2, 3))
        places = share * (origin.shape[1] * height * width)
        powers = thresholds.abs().pow_(self.power).sum(dim=(1, 2, 3))
        return (powers / places) ** (1 / self.power)

    def _lens(self, origin: Tensor) -> Lens:
        if not self._lenses or self._lenses[0][0] is not origin:
            sides = origin.shape[-2], origin.shape[-1]
            view = self.view or _View(sides, shown_degree(*sides), math.inf)
            lens = Lens.of(
                self._on_grid(origin),
                degree=view.degree,
                finest=view.finest,
                colour=self.colour,
                texture=self.texture,
            )
            self._lenses[:] = [(origin, lens)]
        return self._lenses[0][1]

    def _on_grid(self, planes: Tensor) -> Tensor:
        return interpolated(planes, *self.working_size(*planes.shape[-2:]))


@dataclass(frozen=True)
class Within(_OfPixels):
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

    def shown(self, radius: float) -> str:
        """As the inner set's."""
        return self.inner.shown(radius)

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Take the change outside the mask back, then project into the inner set."""
        x = torch.where(self.mask, x, origin)
        return torch.where(self.mask, self.inner.project(x, origin), origin)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The inner direction of the masked gradient: masked first, or an L2 step is lost."""
        return self.inner.direction(grad * self.mask, origin, scale)

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
