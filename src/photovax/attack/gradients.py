"""The gradients of a descent: exact or in low precision, with momentum and adaptive scale."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Generator, Tensor

from photovax.attack.losses import Groups
from photovax.errors import GradientError
from photovax.machine.precision import Quick
from photovax.machine.random import twin

__all__ = ["COMPARED_EVERY", "FAITHFUL", "Gradients", "Passes"]

FAITHFUL = 0.95
"""Least cosine similarity of a quick gradient and the exact one for quick steps to be used."""
COMPARED_EVERY = 16
"""Number of steps until the next comparison, after one in which the gradients agreed."""


class Passes:
    """Computes gradients exactly, or in a quick context while both point in the same direction.

    Args:
        groups: Losses.
        quick: Context of quick passes; all passes are exact when None.

    Attributes:
        quick_steps: Number of steps whose gradient was a quick one.
    """

    def __init__(self, groups: Groups, quick: Quick | None) -> None:
        self.quick_steps = 0
        self._groups, self._quick = groups, quick
        self._faithful = False
        self._compared_at = 0

    def step(self, index: int, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The losses and the gradient of a step; see ``Groups.step``."""
        due = index >= self._compared_at
        if self._quick is None or not (due or self._faithful):
            return self._groups.step(index, x, generator)
        before = twin(generator)
        if not due:
            quick = self._quickly(self._quick, index, x, generator)
            if quick is not None:
                self.quick_steps += 1
                return quick
            generator.set_state(before.get_state())
        exact = self._groups.step(index, x, generator)
        quick = self._quickly(self._quick, index, x, before) if due else None
        self._faithful = quick is not None and bool(
            (_cosines(exact[2], quick[2]) >= FAITHFUL).all()
        )
        # Later in a descent gradients are larger, and rounding is a smaller share of them. So the
        # next comparison is soon after an early failure, and long after a late one.
        self._compared_at = index + (COMPARED_EVERY if self._faithful else max(1, index))
        return exact

    def as_last(self) -> AbstractContextManager[Any]:
        """A context of passes like those of the last step: quick if quick ones were faithful."""
        return self._quick() if self._quick is not None and self._faithful else nullcontext()

    def _quickly(
        self, quick: Quick, index: int, x: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """A quick step; None where its gradient is not finite or zero everywhere."""
        try:
            with quick():
                return self._groups.step(index, x, generator)
        except GradientError:
            return None


class Gradients:
    """Running statistics of the gradients of a descent.

    Source: momentum of Dong et al. (arXiv 1710.06081), and the second moment of Adam (Kingma and
    Ba, arXiv 1412.6980) with its correction of the bias towards zero. Both see gradients that are
    divided by their mean magnitude.

    Args:
        momentum: Share of the former direction that is kept, from 0 to below 1.
        adaptivity: Share of the former squared gradients that is kept, from 0 to below 1; steps
            are not scaled when None.
    """

    def __init__(self, momentum: float, adaptivity: float | None) -> None:
        self.momentum, self.adaptivity = momentum, adaptivity
        self._seen = 0
        self._velocity: Tensor | None = None
        self._squares: Tensor | None = None

    def see(self, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Add a gradient (N, C, H, W), which is modified in place.

        Returns:
            The sum of all gradients with weights that decay with age, and its typical magnitude for
            each value, by which steps are scaled. The magnitude is None without adaptivity. Both
            are shaped (N, C, H, W).
        """
        if not self.momentum and self.adaptivity is None:
            return gradient, None
        gradient /= gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-30)
        self._seen += 1
        scale = None
        if self.adaptivity is not None:
            if self._squares is None:
                self._squares = gradient.square()
            else:
                self._squares.mul_(self.adaptivity).addcmul_(gradient, gradient)
            # The root mean square, times the sum of the velocity's weights: the velocity is a sum,
            # and dividing it instead would take another copy of a large photo.
            scale = (self._squares / self._weight(self.adaptivity)).sqrt_().clamp_min_(1e-15)
            scale.mul_(self._weight(self.momentum))
        if self.momentum:
            if self._velocity is None:
                self._velocity = gradient
            else:
                self._velocity.mul_(self.momentum).add_(gradient)
            gradient = self._velocity
        return gradient, scale

    def _weight(self, keep: float) -> float:
        """The sum of the weights of all gradients: 1 + keep + keep^2 and so on."""
        return float((1 - keep**self._seen) / (1 - keep))


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine similarity (N,) of two gradients of each image, without copying them."""
    one, other = first.flatten(1), second.flatten(1)
    lengths = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    cosines: Tensor = (one[:, None] @ other[:, :, None]).flatten() / lengths
    return cosines
