"""The perceptual budget, which bounds the visibility of a change."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from photovax.attack.budgets.balls import Levels
from photovax.attack.budgets.contract import BUDGETS, LEVELS, Estimator, check_options
from photovax.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

    from photovax.attack.budgets.lens import Lens

__all__ = ["VISIBILITY", "Perceptual", "Viewing", "radius_near", "visibility"]

VISIBILITY: dict[str, dict[str, float]] = {
    "low": {"radius": 0.46, "levels": 24, "colour": 0.6},
    "medium": {"radius": 0.73, "levels": 24, "colour": 0.6},
    "high": {"radius": 0.92, "levels": 32, "colour": 0.6},
}
"""Named visibilities, and the options of a perceptual budget for each.

Mean ColorVideoVDP (arXiv 2401.11485) on a full-HD display is about 9.5, 9.0 and 8.7 JOD.
"""

_JOD_LOST, _JOD_POWER = 1.45, 1.38
"""Loss of JOD at a radius of 1, and exponent of its growth: a fit to means of training photos."""


def visibility(radius: float) -> str | None:
    """The name in ``VISIBILITY`` of a radius in thresholds; None where it has no name."""
    return next((word for word, known in VISIBILITY.items() if known["radius"] == radius), None)


def radius_near(jod: float) -> float:
    """The radius, in thresholds, of changes that have a JOD of ``jod`` in the mean of photos."""
    return float(((10 - jod) / _JOD_LOST) ** (1 / _JOD_POWER))


@dataclass(frozen=True)
class Viewing:
    """Resolution at which a photo is viewed and fed to models.

    Attributes:
        grid: Height and width at which changes are optimised, in pixels.
        degree: Pixels of the grid per degree of visual angle.
        finest: Highest frequency that models are fed, in cycles per pixel of the grid.
        padded: Height and width of thresholds; those of ``Lens.of`` when None.
    """

    grid: tuple[int, int]
    degree: float
    finest: float
    padded: tuple[int, int] | None = None


@BUDGETS.register("perceptual")
@dataclass(frozen=True)
class Perceptual(Levels):
    """The set of changes whose visibility is at most ``radius`` and whose size at most ``levels``.

    Visibility is the power mean of order ``power`` of the change in thresholds (see
    ``photovax.attack.budgets.lens.Lens``), over the pixels that may change. One threshold is about
    one 8-bit level in flat mid grey, at the frequencies to which eyes are most sensitive. The set
    is a norm ball with weights of its own for each photo: changes go where they are least visible.

    The photo is viewed whole on a full-HD display. If it is larger than models are fed it, the
    change is optimised on a smaller grid and enlarged. Frequencies that a resize removes would be
    visible without any effect on models.

    Attributes:
        radius: Largest visibility, in thresholds.
        levels: Largest change of any channel of any pixel, in 8-bit levels, up to 255.
        colour: Allowance of colour differences, relative to that of luma. The larger, the more
            edits lose before JPEG at one JOD; at 1 a face is seen to turn green.
        texture: Strength of masking by contrast nearby; 0 disables it.
        band: Highest frequency of changes, relative to the highest that models are fed; up to 1.
            Coarse changes do less at one visibility, and survive resizing, turning and filters.
        power: Order of the power mean, above 1. The larger it is, the less a few pixels may exceed
            the mean.
        view: Resolution of viewing and feeding, set by ``fitted``; that of the photo when None.
        mask: Pixels that may change, bool (1, 1, H, W); all when None.

    Raises:
        UsageError: If an option is out of range.
    """

    radius: float
    levels: float
    colour: float = 1.0
    texture: float = 1.0
    band: float = 1.0
    power: float = 4.0
    view: Viewing | None = None
    mask: Tensor | None = None
    bounds_seen: ClassVar[bool] = True
    takes_estimates: ClassVar[bool] = True
    # The lens: allowances of pixels, and of half the frequencies of each channel.
    copies_kept: ClassVar[int] = 1
    # The lens, and planes, padded planes and their complex spectrum with its scaled copy.
    copies_at_work: ClassVar[int] = 8
    # The lens of the last photo, kept because a descent uses it three times a step.
    _lenses: list[tuple[Tensor, Lens]] = field(
        default_factory=list, init=False, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        check_options(
            "perceptual",
            radius=(self.radius > 0, self.radius, "above 0"),
            levels=(self.levels in LEVELS, self.levels, str(LEVELS)),
            colour=(self.colour > 0, self.colour, "above 0"),
            texture=(self.texture >= 0, self.texture, "0 or more"),
            band=(0 < self.band <= 1, self.band, "above 0 and up to 1"),
            power=(self.power > 1, self.power, "above 1"),
        )
        if not (self.view is None or isinstance(self.view, Viewing)) or not (
            self.mask is None or hasattr(self.mask, "ndim")
        ):
            raise UsageError(
                "budget perceptual has its view and mask from the photo: leave them out"
            )

    @property
    def most(self) -> float:
        """The largest change of any channel, in 8-bit levels."""
        return self.levels

    @property
    def label(self) -> str:
        """The name of the radius in ``VISIBILITY``, or the radius itself."""
        return visibility(self.radius) or f"{self.radius:g}"

    def bounding(self, most: float) -> dict[str, float]:
        """The option ``levels``."""
        return {"levels": most}

    def shown(self, radius: float) -> str:
        """The visibility and the largest change in words."""
        return f"a visibility of {radius:.3g} thresholds, {self.levels:.4g} of 255 levels at most"

    def within(self, mask: Tensor) -> Perceptual:
        """The set restricted to a mask; visibility is the mean over the pixels in the mask."""
        return replace(self, mask=mask)

    def fitted(self, height: int, width: int, side: int) -> Perceptual:
        """The set for one photo, limited to frequencies that remain at a short side of ``side``."""
        from photovax.attack.budgets.lens import shown_degree

        short = min(height, width)
        # 1.5 times the size at which it is fed, so that enlarging keeps all frequencies.
        scale = min(1.0, 1.5 * side / short)
        grid = max(1, round(height * scale)), max(1, round(width * scale))
        degree = shown_degree(height, width) * scale
        return replace(self, view=Viewing(grid, degree, 0.5 * side / (short * scale)))

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the grid on which changes are optimised."""
        return (height, width) if self.view is None else self.view.grid

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Clip the change to ``levels`` and the image to [0, 1], then scale it to the radius.

        Scaling down keeps both clipped bounds, since the original is inside them.
        """
        import torch

        bound = self.levels / 255
        change = (x - origin).clamp_(-bound, bound)
        if self.mask is not None:
            change.mul_(self.mask)
        # Two temporaries at most: a 24-megapixel photo is 288 MB as float32.
        x = change.add_(origin).clamp_(0, 1)
        change = x - origin
        excess = (self._seen(change, origin) / self.radius).view(-1, 1, 1, 1)
        # A graph has no branches; it divides by 1.
        if not torch.compiler.is_exporting() and not (excess > 1).any():
            return x
        del x
        return change.div_(excess.clamp_min_(1)).add_(origin)

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The direction of steepest descent: the change with a visibility of one threshold.

        Its thresholds are minus the gradient with respect to thresholds, whose magnitudes are
        raised to the power 1 / (``power`` - 1) (the dual norm). Frequencies that models are not fed
        are left out.
        """
        grad = grad if scale is None else grad / scale
        if self.mask is not None:
            grad = grad * self.mask
        lens = self._lens(origin)
        pulled = lens.pulled(self._on_grid(grad))
        # Normalised first: powers of small gradients would underflow.
        pulled.div_(pulled.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min_(1e-30))
        if self.power != 2:
            pulled = pulled.abs().pow_(1 / (self.power - 1)).mul_(pulled.sign())
        return self._scaled(lens.change(pulled.neg_()), origin, 1.0)

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """Gaussian noise in thresholds with a visibility of ``radius``, added to the original."""
        import torch

        lens = self._lens(origin)
        noise = torch.randn(
            (*origin.shape[:2], *lens.size), generator=generator, device=generator.device
        )
        change = self._scaled(lens.change(noise.to(origin)), origin, self.radius)
        return self.project(change.add_(origin), origin)

    def estimated(
        self, origin: Tensor, estimators: Sequence[tuple[tuple[int, int], Estimator]]
    ) -> Tensor:
        """The image whose thresholds are an estimate, scaled to a visibility of ``radius``.

        It is differentiable, so that an estimator can be trained through it.

        Args:
            origin: Original (N, C, H, W) in [0, 1].
            estimators: Estimators, each with the height and width at which it is given the photo.
                Each estimate is divided by its root mean square before they are added.
        """
        from photovax.models.views import interpolated, resize

        lens = self._lens(origin)
        height, width = self.working_size(*origin.shape[-2:])
        total = None
        for fed, estimator in estimators:
            # Bicubic filters overshoot; an allowance is above 0.
            allowance = interpolated(lens.hidden * 255, *fed).clamp_min(0.1)
            photo = resize(origin, *fed).expand(-1, 3, -1, -1)
            found = estimator(photo, allowance, self._degree(origin) * fed[0] / height).float()
            size = found.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            found = interpolated(found / size.clamp_min(1e-12), height, width)
            total = found if total is None else total + found
        assert total is not None  # noqa: S101 - for the type checker: there is an estimator
        change = lens.change(total[:, : origin.shape[1]])
        if self.mask is not None:
            change = change * self.mask
        return self.project(self._scaled(change, origin, self.radius) + origin, origin)

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The larger of visibility / ``radius`` and largest change / ``levels``, (N,)."""
        change = x - origin
        flat = change.flatten(1)
        largest = flat.amax(1).maximum(-flat.amin(1)) * (255 / self.levels)
        return (self._seen(change, origin) / self.radius).maximum(largest)

    def thresholds(self, x: Tensor, origin: Tensor) -> Tensor:
        """The thresholds (N, C, h, w) of the change of images, on the padded grid."""
        return self._lens(origin).thresholds(self._on_grid(x - origin))

    def _scaled(self, change: Tensor, origin: Tensor, radius: float) -> Tensor:
        """A change on the grid, scaled to a visibility of ``radius`` and enlarged to the photo."""
        from photovax.models.views import interpolated

        seen = self._seen(change, origin).clamp_min_(1e-30).view(-1, 1, 1, 1)
        return interpolated(change * (radius / seen), *origin.shape[-2:])

    def _seen(self, change: Tensor, origin: Tensor) -> Tensor:
        """The visibility of changes (N,), in thresholds."""
        return self._mean(self._lens(origin).thresholds(self._on_grid(change)), origin)

    def _mean(self, thresholds: Tensor, origin: Tensor) -> Tensor:
        """The power mean of thresholds (N,) over the pixels that may change, without padding."""
        height, width = self.working_size(origin.shape[-2], origin.shape[-1])
        share = 1.0 if self.mask is None else self.mask.float().mean(dim=(1, 2, 3))
        places = share * (origin.shape[1] * height * width)
        powers = thresholds.abs().pow_(self.power).sum(dim=(1, 2, 3))
        return (powers / places) ** (1 / self.power)

    def _lens(self, origin: Tensor) -> Lens:
        from photovax.attack.budgets.lens import Lens

        if not self._lenses or self._lenses[0][0] is not origin:
            lens = Lens.of(
                self._on_grid(origin),
                degree=self._degree(origin),
                finest=math.inf if self.view is None else self.view.finest,
                colour=self.colour,
                texture=self.texture,
                band=self.band,
                size=None if self.view is None else self.view.padded,
            )
            self._lenses[:] = [(origin, lens)]
        return self._lenses[0][1]

    def _degree(self, origin: Tensor) -> float:
        """Pixels of the grid per degree of visual angle."""
        from photovax.attack.budgets.lens import shown_degree

        return shown_degree(*origin.shape[-2:]) if self.view is None else self.view.degree

    def _on_grid(self, planes: Tensor) -> Tensor:
        from photovax.models.views import interpolated

        return interpolated(planes, *self.working_size(*planes.shape[-2:]))
