"""Losses that the optimiser minimises, in groups with one unit each."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from photovax.errors import GradientError, LossShapeError, ZeroGradient

__all__ = ["Groups", "LossFn", "Weighed", "evaluated", "score"]

LossFn = Callable[[Tensor, Generator], Tensor]
"""A function of images (N, C, H, W) and a generator: one number per image (N,), to be minimised."""


@dataclass(frozen=True)
class Weighed:
    """A loss with its group and cost.

    Attributes:
        loss: Loss.
        group: Label, the same for losses with the same unit, such as those of one model.
        cost: Number of passes through a model that one evaluation takes.
    """

    loss: LossFn
    group: Hashable = None
    cost: int = 1


def score(losses: Sequence[LossFn], x: Tensor, *, draws: int = 1, seed: int = 0) -> Tensor:
    """The mean of all losses (N,), without gradients.

    Args:
        losses: Losses; one that is there several times is evaluated once in a draw.
        x: Images (N, C, H, W) in [0, 1].
        draws: Number of evaluations of each loss, with different random numbers.
        seed: Seed of the random numbers.
    """
    generator = Generator(device=x.device).manual_seed(seed)
    with torch.no_grad():
        drawn = list[Tensor]()
        for _ in range(draws):
            found = {loss: loss(x, generator) for loss in dict.fromkeys(losses)}
            drawn += [found[loss] for loss in losses]
        return torch.stack(drawn).mean(0)


@dataclass
class _Group:
    """Losses with one unit.

    Attributes:
        losses: Losses, used in turn.
        costs: Number of passes through a model that each loss takes.
        count: Number of losses that a step uses.
        unit: Divisor of its losses (N,) where there are several groups; None for a single group.
    """

    losses: list[LossFn] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    count: int = 1
    unit: Tensor | None = None

    @property
    def turn(self) -> int:
        """Number of steps after which all its losses have been used."""
        return math.ceil(len(self.losses) / self.count)

    def chosen(self, index: int) -> list[LossFn]:
        """The losses that a step uses."""
        return [self.losses[number] for number in self._numbers(index)]

    def cost(self, index: int) -> int:
        """Number of passes through a model that a step takes."""
        return sum(self.costs[number] for number in self._numbers(index))

    def _numbers(self, index: int) -> list[int]:
        first = index * self.count
        return [(first + k) % len(self.losses) for k in range(self.count)]


@dataclass(frozen=True)
class Groups:
    """All losses, in groups with one unit each.

    Attributes:
        each: Groups.
    """

    each: list[_Group]

    @classmethod
    def of(cls, losses: Sequence[LossFn | Weighed], *, draws: int | None) -> Groups:
        """Sort losses into groups.

        Args:
            losses: Losses. Those without a ``Weighed`` form one group.
            draws: Number of losses of each group that a step uses; all when None.

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
        """Number of steps after which all losses have been used."""
        return max(group.turn for group in self.each)

    def cost(self, index: int) -> int:
        """Number of passes through a model that a step takes."""
        return sum(group.cost(index) for group in self.each)

    def step(self, index: int, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The losses and the gradient of a step.

        Groups are computed one after the other, so that the peak memory is that of the largest one.

        Args:
            index: Number of the step, from 0.
            x: Images (N, C, H, W) in [0, 1].
            generator: Source of all randomness.

        Returns:
            The mean loss (N,) in its own units, the mean loss (N,) after each group was divided by
            its unit, and the gradient (N, C, H, W) of the sum of the divided losses.

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
            del gradient  # frees memory for the passes of the next group
        assert total is not None  # noqa: S101 - there is at least one group
        return *self.joined(means), total

    def joined(self, means: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The mean over groups of their losses (N,): unchanged, and divided by their units."""
        units = [1.0 if group.unit is None else group.unit for group in self.each]
        balanced = [mean / unit for mean, unit in zip(means, units, strict=True)]
        return torch.stack(list(means)).mean(0), torch.stack(balanced).mean(0)


def evaluated(loss: LossFn, images: Tensor, generator: Generator) -> Tensor:
    """The values (N,) of a loss.

    Raises:
        LossShapeError: If it does not give one number per image.
    """
    values = loss(images, generator)
    if values.shape != (len(images),):
        raise LossShapeError(
            f"a loss gave shape {tuple(values.shape)}, "
            f"expected one number per image: ({len(images)},)"
        )
    return values


def _value_and_gradient(
    losses: Sequence[LossFn], x: Tensor, generator: Generator
) -> tuple[Tensor, Tensor]:
    """The mean loss (N,) and its gradient, with one backward pass per loss to save memory."""
    x = x.detach().requires_grad_()
    total = torch.zeros(len(x), device=x.device)
    gradient: Tensor | None = None
    for loss in losses:
        values = evaluated(loss, x, generator)
        (part,) = torch.autograd.grad(values.sum(), x)
        gradient = part if gradient is None else gradient.add_(part)
        total += values.detach()
    assert gradient is not None  # noqa: S101 - no group is empty
    return total / len(losses), gradient.div_(len(losses))


def _check(gradient: Tensor, index: int) -> None:
    # The sum of magnitudes detects both faults in one pass over a large photo.
    total = gradient.abs().sum()
    if not torch.isfinite(total):
        raise GradientError(
            f"the gradient is not finite at step {index}, in float32: "
            "the loss or the model's weights are faulty"
        )
    if total == 0:
        raise ZeroGradient(
            f"the gradient is zero everywhere at step {index}: "
            "the loss does not depend on the photo, or the photo is a stationary point of it "
            "(then try random_start)"
        )
