"""The contract of budgets, and their registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from photovax.errors import UsageError
from photovax.ranges import Range
from photovax.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Generator, Tensor

__all__ = [
    "BUDGETS",
    "LEVELS",
    "TOLERANCE",
    "Constraint",
    "Estimator",
    "TakesEstimates",
    "Unit",
    "check_options",
]

TOLERANCE = 1e-4
"""Tolerance for float rounding where a size is compared with 1: 0.0008 levels at a radius of 8."""

LEVELS = Range(above=0, most=255)
"""Largest changes of any channel, in 8-bit levels."""

Unit = Literal["levels", "length"]
"""Units: 8-bit levels of the largest change of any channel, or a length in units of [0, 1]."""


Estimator: TypeAlias = "Callable[[Tensor, Tensor, float], Tensor]"
"""A function that estimates thresholds (N, 3, h, w), up to a positive factor.

It is given photos (N, 3, h, w) in [0, 1], the allowance of their pixels (N, 1, h, w) in 8-bit
levels, and their pixels per degree of visual angle. A ``PerturbationNetwork`` is one.
"""


class Constraint(Protocol):
    """A budget: the set of images allowed around an original.

    Images are float32 (N, C, H, W) in [0, 1].
    """

    @property
    def norm(self) -> str:
        """The norm that is bounded: ``linf`` or ``l2``."""
        ...

    @property
    def unit(self) -> Unit:
        """The unit of ``most`` and of the result of ``spent``."""
        ...

    @property
    def bounds_seen(self) -> bool:
        """Whether the radius bounds the visibility of the change."""
        ...

    @property
    def takes_estimates(self) -> bool:
        """Whether networks can give the start: it is a ``TakesEstimates`` then."""
        ...

    @property
    def copies_kept(self) -> int:
        """Number of float32 copies of the image, at the working size, that it keeps."""
        ...

    @property
    def copies_at_work(self) -> int:
        """The same while it projects an image or finds a direction, beyond those of a ball."""
        ...

    @property
    def radius(self) -> float:
        """The radius of the set: in units of [0, 1], or in thresholds if it bounds visibility."""
        ...

    @property
    def most(self) -> float:
        """The largest change that the set allows, in ``unit``."""
        ...

    @property
    def label(self) -> str:
        """Label of the radius in tables, such as ``8/255``, ``l2 8`` or ``medium``."""
        ...

    def shown(self, radius: float) -> str:
        """A radius in words, such as ``8 of 255 levels``."""
        ...

    def bounding(self, most: float) -> dict[str, float]:
        """Options of this budget that set ``most``, in ``unit``, to another value."""
        ...

    def spent(self, original: np.ndarray, changed: np.ndarray) -> float:
        """The size of the change between two uint8 pictures (H, W, C), in ``unit``.

        It is never rounded down.
        """
        ...

    def within(self, mask: Tensor) -> Constraint:
        """The set restricted to a mask; outside the mask the original stays, bit for bit.

        Args:
            mask: Pixels that may change, bool (N or 1, 1, H, W).
        """
        ...

    def fitted(self, height: int, width: int, side: int) -> Constraint:
        """The set for one photo.

        Args:
            height: Height of the photo, in pixels.
            width: Width of the photo, in pixels.
            side: Largest short side at which models are fed the photo, in pixels.
        """
        ...

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the change of a photo of this size is optimised.

        The change is enlarged to the photo's size afterwards.
        """
        ...

    def project(self, x: Tensor, origin: Tensor) -> Tensor:
        """Bring images (N, C, H, W) back into the set and into [0, 1]."""
        ...

    def direction(self, grad: Tensor, origin: Tensor, scale: Tensor | None = None) -> Tensor:
        """The direction of steepest descent: the step of size 1 in the set's own norm.

        Args:
            grad: Gradient (N, C, H, W).
            origin: Original (N, C, H, W).
            scale: Typical magnitude of each value of the gradient, (N, C, H, W), above 0. Where
                the gradient is small compared with it, the step is shorter. None: not scaled.
        """
        ...

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """A random image of the set, whose change is about as large as the set allows."""
        ...

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The size of the change of each image (N,), relative to the limit: at most 1 inside."""
        ...


class TakesEstimates(Constraint, Protocol):
    """A budget of changes that a network can estimate, for recipes with ``warm``."""

    def estimated(
        self, origin: Tensor, estimators: Sequence[tuple[tuple[int, int], Estimator]]
    ) -> Tensor:
        """The image of the set whose change is an estimate.

        Args:
            origin: Original (N, C, H, W) in [0, 1].
            estimators: Estimators, each with the height and width at which it is given the photo.
        """
        ...


BUDGETS: Registry[Constraint] = Registry("budget")


def check_options(budget: str, **checks: tuple[bool, float, str]) -> None:
    """Check that the options of a budget are in range.

    Args:
        budget: Name of the budget.
        checks: For each option: whether it is in range, its value, and the allowed range in words.

    Raises:
        UsageError: If an option is out of range.
    """
    for name, (fine, value, allowed) in checks.items():
        if not fine:
            raise UsageError(f"budget {budget} needs {name} {allowed}, got {value:g}")
