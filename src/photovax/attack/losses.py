"""What the optimiser lowers: losses, in groups of one unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from photovax.errors import GradientError, LossShapeError

__all__ = ["Groups", "LossFn", "Weighed", "score"]

LossFn = Callable[[Tensor, Generator], Tensor]
"""Images (N, C, H, W) to one number per image (N,), which the optimiser makes smaller."""


@dataclass(frozen=True)
class Weighed:
    """A loss, and what to know of it beside others.

    Attributes:
        loss: The loss.
        group: Label, the same for losses of one unit, such as those of one model.
        cost: Number of passes through a model that it takes.
    """

    loss: LossFn
    group: Hashable = None
    cost: int = 1


def score(losses: Sequence[LossFn], x: Tensor, *, draws: int = 1, seed: int = 0) -> Tensor:
    """The mean of all losses (N,) on random draws that the seed fixes."""
    generator = Generator(device=x.device).manual_seed(seed)
    with torch.no_grad():
        drawn = [loss(x, generator) for _ in range(draws) for loss in losses]
        return torch.stack(drawn).mean(0)


@dataclass
class _Group:
    """Losses of one unit.

    Attributes:
        losses: The losses, taken in turn.
        costs: Number of passes through a model that each of them takes.
        count: Number of them that a step uses.
        unit: What its losses (N,) are divided by when there are other groups; None when it is
            alone.
    """

    losses: list[LossFn] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    count: int = 1
    unit: Tensor | None = None

    @property
    def turn(self) -> int:
        """Number of steps in which all its losses are used."""
        return math.ceil(len(self.losses) / self.count)

    def chosen(self, index: int) -> list[LossFn]:
        """The losses of a step."""
        return [self.losses[number] for number in self._numbers(index)]

    def cost(self, index: int) -> int:
        """The passes that a step takes."""
        return sum(self.costs[number] for number in self._numbers(index))

    def _numbers(self, index: int) -> list[int]:
        first = index * self.count
        return [(first + k) % len(self.losses) for k in range(self.count)]


@dataclass(frozen=True)
class Groups:
    """All losses, in groups of one unit."""

    each: list[_Group]

    @classmethod
    def of(cls, losses: Sequence[LossFn | Weighed], *, draws: int | None) -> Groups:
        """The groups of some losses, of each of which a step uses ``draws``; all when None.

        Raises:
            LossShapeError: If there is no loss.
        """
        groups: dict[Hashable, _Group] = {}
        for loss in losses:
            weighed = loss if isinstance(loss, Weighed) else Weighed(loss)
            group = groups.setdefault(weighed.group, _Group())
            group.losses.append(weighed.loss)
            group.costs.append(weighed.cost)
        if not groups:
            raise LossShapeError("pgd needs at least one loss, got none")
        for group in groups.values():
            group.count = len(group.losses) if draws is None else min(draws, len(group.losses))
        return cls(list(groups.values()))

    @property
    def turn(self) -> int:
        """Number of steps in which all losses are used."""
        return max(group.turn for group in self.each)

    def cost(self, index: int) -> int:
        """The passes through a model that a step takes."""
        return sum(group.cost(index) for group in self.each)

    def step(self, index: int, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (N,) in their own units and in balanced ones, and the gradient of the latter.

        Group after group, so that the memory is that of the one that takes the most.

        Raises:
            LossShapeError: If a loss is not shaped (N,).
            GradientError: If the gradient of a group is not finite, or zero everywhere.
        """
        means: list[Tensor] = []
        total: Tensor | None = None
        for group in self.each:
            values, gradient = _value_and_gradient(group.chosen(index), x, generator)
            _check(gradient, index)
            means.append(values)
            if len(self.each) > 1:
                if group.unit is None:
                    size = gradient.abs().mean(dim=(1, 2, 3))
                    group.unit = torch.where(size > 0, size, torch.ones_like(size))
                gradient /= group.unit.view(-1, 1, 1, 1)
            total = gradient if total is None else total.add_(gradient)
            del gradient  # a large photo needs the room for the next group's passes
        assert total is not None  # noqa: S101 - there is at least one group
        return *self.joined(means), total

    def joined(self, means: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The mean over groups of their mean losses (N,): in their own units, and balanced."""
        units = [1.0 if group.unit is None else group.unit for group in self.each]
        balanced = [mean / unit for mean, unit in zip(means, units, strict=True)]
        return torch.stack(list(means)).mean(0), torch.stack(balanced).mean(0)


def _value_and_gradient(
    losses: Sequence[LossFn], x: Tensor, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mean of the losses (N,) and its gradient, one backward pass at a time to save memory."""
    x = x.detach().requires_grad_()
    total = torch.zeros(len(x), device=x.device)
    gradient: Tensor | None = None
    for loss in losses:
        values = loss(x, generator)
        if values.shape != (len(x),):
            raise LossShapeError(
                f"a loss gave shape {tuple(values.shape)}, "
                f"expected one number per image: ({len(x)},)"
            )
        (part,) = torch.autograd.grad(values.sum(), x)
        gradient = part if gradient is None else gradient.add_(part)
        total += values.detach()
    assert gradient is not None  # noqa: S101 - no group is empty
    return total / len(losses), gradient.div_(len(losses))


def _check(gradient: Tensor, index: int) -> None:
    # The sum of magnitudes shows both faults in one pass over a large photo.
    total = gradient.abs().sum()
    if not torch.isfinite(total):
        raise GradientError(
            f"the gradient is not finite at step {index}, in float32: "
            "the loss or the model's weights are at fault"
        )
    if total == 0:
        raise GradientError(
            f"the gradient is zero everywhere at step {index}: "
            "the loss does not depend on the photo, or is at its peak (then try random_start)"
        )
