"""The budget that bounds how visible a change is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from photovax.attack.budgets.balls import Levels
from photovax.attack.budgets.contract import BUDGETS, check_options

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from photovax.attack.budgets.lens import Lens

__all__ = ["VISIBILITY", "Perceptual", "radius_near", "visibility"]

VISIBILITY: dict[str, dict[str, float]] = {
    "low": {"radius": 0.60, "levels": 24},
    "medium": {"radius": 0.88, "levels": 24},
    "high": {"radius": 1.30, "levels": 32},
}
"""The words for how visible a change may be, and the options of a perceptual budget for each.

On full HD, ColorVideoVDP puts photos changed by as much at some 9.6, 9.2 and 8.9 JOD in the mean.
"""

_JOD_LOST, _JOD_POWER = 1.17, 2.05
"""JOD that a radius of 1 takes, and the power it grows with, in the mean of training photos."""


def visibility(radius: float) -> str | None:
    """The word of ``VISIBILITY`` for a radius in thresholds; None where there is none."""
    return next((word for word, known in VISIBILITY.items() if known["radius"] == radius), None)


def radius_near(jod: float) -> float:
    """The radius in thresholds at which a change is seen, in the mean of photos, at so many JOD."""
    return float(((10 - jod) / _JOD_LOST) ** (1 / _JOD_POWER))


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
class Perceptual(Levels):
    """The change may be seen as much as ``radius`` says, and is at most ``levels`` anywhere.

    How much it is seen is the mean of order ``power`` of the change in thresholds of
    ``photovax.attack.budgets.lens.Lens``, over what may change; a threshold is a level in mid grey
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
    bounds_seen: ClassVar[bool] = True
    # The lens of the last photo: a descent needs the same one three times a step.
    _lenses: list[tuple[Tensor, Lens]] = field(
        default_factory=list, init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        check_options(
            "perceptual",
            radius=(self.radius > 0, self.radius, "above 0"),
            levels=(0 < self.levels <= 255, self.levels, "above 0 and up to 255"),
            colour=(self.colour > 0, self.colour, "above 0"),
            texture=(self.texture >= 0, self.texture, "0 or more"),
            power=(self.power > 1, self.power, "above 1"),
        )

    @property
    def most(self) -> float:
        """The levels."""
        return self.levels

    @property
    def label(self) -> str:
        """The word of ``VISIBILITY`` for the radius, or the radius itself."""
        return visibility(self.radius) or f"{self.radius:g}"

    def bounding(self, most: float) -> dict[str, float]:
        """The levels."""
        return {"levels": most}

    def shown(self, radius: float) -> str:
        """The visibility, and the largest change."""
        return f"a visibility of {radius:.3g} thresholds, {self.levels:.4g} of 255 levels at most"

    def within(self, mask: Tensor) -> Perceptual:
        """The same set where a mask is true; how much it is seen is a mean over that part."""
        return replace(self, mask=mask)

    def fitted(self, height: int, width: int, side: int) -> Perceptual:
        """Made of frequencies that are left when the photo is fed at a short side of ``side``."""
        from photovax.attack.budgets.lens import shown_degree

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
        import torch

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
        largest = flat.amax(1).maximum(-flat.amin(1)) * (255 / self.levels)
        return (self._seen(change, origin) / self.radius).maximum(largest)

    def _scaled(self, change: Tensor, origin: Tensor, radius: float) -> Tensor:
        """A change on the grid, enlarged, and made so large that it is seen as a radius says."""
        seen = self._seen(change, origin).clamp_min_(1e-30).view(-1, 1, 1, 1)
        from photovax.models.views import interpolated

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
        from photovax.attack.budgets.lens import Lens, shown_degree

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
        from photovax.models.views import interpolated

        return interpolated(planes, *self.working_size(*planes.shape[-2:]))
