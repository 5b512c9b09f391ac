"""The gradients of a descent: computed exactly or quickly, and remembered."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from photovax.attack.losses import Groups
from photovax.errors import GradientError
from photovax.machine.precision import Quick
from photovax.machine.random import twin

__all__ = ["COMPARED_EVERY", "FAITHFUL", "Gradients", "Passes"]

FAITHFUL = 0.99
"""The least cosine of a quick gradient to the exact one."""
COMPARED_EVERY = 16
"""Number of steps from a comparison in which they agreed to the next one."""


class Passes:
    """Computes the gradients: exactly, or quickly while that points the same way."""

    def __init__(self, groups: Groups, quick: Quick | None) -> None:
        self.quick_steps = 0
        self._groups, self._quick = groups, quick
        self._faithful = False
        self._compared_at = 0

    def step(self, index: int, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The losses and the gradient, as ``Groups.step`` gives them."""
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
        # Far from its start a descent has larger gradients, of which less is rounding.
        self._compared_at = index + (COMPARED_EVERY if self._faithful else max(1, index))
        return exact

    def _quickly(
        self, quick: Quick, index: int, x: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """A quick step; None where nothing is left of its gradient, or it is not finite."""
        try:
            with quick():
                return self._groups.step(index, x, generator)
        except GradientError:
            return None


class Gradients:
    """What a descent remembers of the gradients of former steps."""

    def __init__(self, momentum: float, adaptivity: float | None) -> None:
        self.momentum, self.adaptivity = momentum, adaptivity
        self._seen = 0
        self._velocity: Tensor | None = None
        self._squares: Tensor | None = None

    def see(self, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """The sum of gradients by weights that fall with age, and the size it usually has.

        Modifies the gradient in place. The size, by which steps are scaled, is None without
        adaptivity.
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
            # A root of the mean square, times the velocity's weight, since that is a sum: so no
            # copy of a large photo is made for its mean.
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
        """The weight of all gradients together: 1 + keep + keep^2 and so on."""
        return float((1 - keep**self._seen) / (1 - keep))


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of each image's gradient to the other (N,), without a copy of either."""
    one, other = first.flatten(1), second.flatten(1)
    lengths = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    cosines: Tensor = (one[:, None] @ other[:, :, None]).flatten() / lengths
    return cosines
