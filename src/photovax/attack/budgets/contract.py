"""What every budget can do, and the registry of budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from photovax.errors import UsageError
from photovax.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor

__all__ = ["BUDGETS", "TOLERANCE", "Constraint", "Unit", "check_options"]

TOLERANCE = 1e-4
"""Float noise allowed when a size is compared with the radius; a thousandth of a level at 8."""

Unit = Literal["levels", "length"]
"""8-bit levels of the largest change of a channel, or a length in units of [0, 1]."""


class Constraint(Protocol):
    """The images allowed around an original."""

    @property
    def norm(self) -> str:
        """The norm that the promise is about, ``linf`` or ``l2``."""
        ...

    @property
    def unit(self) -> Unit:
        """The unit of ``most`` and of what ``spent`` returns."""
        ...

    @property
    def bounds_seen(self) -> bool:
        """Whether the radius bounds how visible the change is."""
        ...

    @property
    def radius(self) -> float:
        """The size of the set, in its own unit."""
        ...

    @property
    def most(self) -> float:
        """The largest change that can be promised of a photo, in ``unit``."""
        ...

    @property
    def label(self) -> str:
        """The size of the set in tables, such as ``8/255``, ``l2 8`` or ``medium``."""
        ...

    def shown(self, radius: float) -> str:
        """A radius in words, such as ``8 of 255 levels``."""
        ...

    def bounding(self, most: float) -> dict[str, float]:
        """The options of this budget with which ``most`` has another value, in ``unit``."""
        ...

    def spent(self, original: np.ndarray, changed: np.ndarray) -> float:
        """The size of a change between uint8 pictures (H, W, C), in ``unit``; not rounded down."""
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
            scale: The usual size of each value of the gradient, above 0. Where the gradient is
                small compared with it, the step is short.
        """
        ...

    def sample(self, origin: Tensor, generator: Generator) -> Tensor:
        """A random allowed image, as large a change as the set usually gives."""
        ...

    def size(self, x: Tensor, origin: Tensor) -> Tensor:
        """The size of the change, per image (N,), in units of the radius: 1 is the limit."""
        ...


BUDGETS: Registry[Constraint] = Registry("budget")


def check_options(budget: str, **checks: tuple[bool, float, str]) -> None:
    """Refuse options out of range.

    Args:
        budget: The budget's name.
        checks: For each option whether it is fine, its value, and the allowed range in words.

    Raises:
        UsageError: If one is not fine.
    """
    for name, (fine, value, allowed) in checks.items():
        if not fine:
            raise UsageError(f"budget {budget} needs {name} {allowed}, got {value:g}")
