"""Projected gradient descent: the only such loop in the package.

It knows no model, no norm and no photo: it is given losses, a set to stay in, and a step.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from photovax.attack.budgets import Constraint
from photovax.attack.losses import LossFn
from photovax.errors import GradientError, LossShapeError
from photovax.machine.precision import Quick
from photovax.machine.random import twin

__all__ = [
    "SCHEDULES",
    "Descent",
    "Schedule",
    "Step",
    "constant",
    "cosine",
    "linear",
    "pgd",
    "score",
]

Schedule = Callable[[float], float]
"""Progress in [0, 1] to the factor of the first step's size."""


FAITHFUL = 0.99
"""The least cosine of a quick gradient to the exact one."""
COMPARED_EVERY = 16
"""Steps from a comparison in which they agreed to the next one."""


def constant(progress: float) -> float:
    """All steps equal."""
    return 1.0


def linear(progress: float) -> float:
    """Falls in a line to 1 %, as the public PhotoGuard notebooks have it."""
    return 1 - 0.99 * progress


def cosine(progress: float) -> float:
    """Falls along half a cosine to nothing: long steps for longer, then a soft landing."""
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear}


@dataclass(frozen=True)
class Step:
    """What a callback sees after each step.

    Attributes:
        index: The step's number, from 0.
        steps: How many there will be at most.
        losses: Detached losses (N,) of the image before the step.
        step_size: In the unit of the constraint's radius.
        seconds: What the step took.
    """

    index: int
    steps: int
    losses: Tensor
    step_size: float
    seconds: float


@dataclass(frozen=True)
class Descent:
    """Where a descent ended.

    Attributes:
        x: The best images found (N, C, H, W), inside the set.
        losses: Their losses (N,), each the mean over all losses with the same random draws, in
            the losses' own units.
        steps: Steps taken.
        passes: Forward and backward passes, by what each loss costs; those that are only compared
            with others are not counted.
        quick_steps: Steps whose gradient was a quick one.
        stopped: Why it ended.
    """

    x: Tensor
    losses: Tensor
    steps: int
    passes: int
    quick_steps: int
    stopped: Literal["done", "plateau", "interrupted"]


def pgd(
    losses: Sequence[LossFn],
    origin: Tensor,
    constraint: Constraint,
    *,
    steps: int,
    step_size: float,
    generator: Generator,
    groups: Sequence[Hashable] | None = None,
    costs: Sequence[int] | None = None,
    schedule: Schedule = linear,
    momentum: float = 0.0,
    adaptivity: float | None = None,
    draws: int | None = None,
    random: bool = False,
    random_start: bool = True,
    patience: int | None = None,
    seconds: float | None = None,
    quick: Quick | None = None,
    callback: Callable[[Step], None] | None = None,
) -> Descent:
    """Lower the mean of some losses without leaving a set of images.

    Steps follow ``constraint.direction``: signs in an l-infinity ball, the normalised gradient
    in an l2 ball. Each step is followed by the projection, so the result is always inside.
    Ctrl-C ends the descent early with the best so far.

    Losses of several groups may have different units. What is lowered then is the sum over
    groups, each divided by the mean magnitude of its first gradient, so that a group whose numbers
    are a thousand times larger weighs no more than the others.

    Args:
        losses: One function per view or model; each gives one number per image.
        origin: Float32 (N, C, H, W) in [0, 1].
        constraint: The set around the origin.
        steps: How many steps.
        step_size: Size of the first step, in the unit of the constraint's radius.
        generator: Source of all randomness.
        groups: For each loss a label, the same for losses of one unit, such as those of one model;
            all are of one when None.
        costs: Passes through a model that each loss takes; one when None.
        schedule: How the step size falls.
        momentum: Share of the former direction kept (Dong et al., arXiv 1710.06081: each
            gradient is divided by its mean magnitude before it is added).
        adaptivity: Share of the former squared gradients kept, whose root says what each value's
            gradient usually is: where it turns from step to step, steps are short (Adam, Kingma
            and Ba, arXiv 1412.6980, whose first beta ``momentum`` is). All steps alike when None.
        draws: Losses of each group used per step, taken in turn; all when None.
        random: Whether a loss may answer otherwise when asked again. A lucky draw must not
            win, so the finalists are then scored anew on draws that are the same for both.
        random_start: Start at a random image of the set; at the origin otherwise.
        patience: Stop when this many steps brought no further 0.1 % of improvement.
        seconds: Take as many steps as fit in so long with the scoring of the finalists, at least
            one, instead of ``steps``; the step size falls with the time that is gone.
        quick: Where steps are taken while gradients point as exact ones do (a cosine of 0.99), for
            which the two are compared at first and every sixteen steps. Finalists are always
            scored exactly.
        callback: Called after every step.

    Returns:
        The best images, by loss, of all that were seen.

    Raises:
        LossShapeError: If a loss is not shaped (N,).
        GradientError: If the gradient of a group is not finite, or zero everywhere.
        KeyboardInterrupt: If interrupted before the first step was done.
    """
    parts = _grouped(losses, groups, costs, draws)
    turn = max(part.turn for part in parts)
    exact = not random and turn == 1
    draws_each = 4 if random else 1
    # Losses taken in turn are only comparable over a whole turn, random ones over several.
    window = 1 if exact else turn * draws_each
    x = constraint.sample(origin, generator) if random_start else origin.clone()
    best = _Best(window, steps if seconds is None else 0)
    # Two finalists meet all losses in forward passes, which take a third of a whole one.
    clock = _Clock(steps, seconds, spare=2 * turn * draws_each / 3)
    passing = _Passes(parts, quick)
    gradients = _Gradients(momentum, adaptivity)
    index = passes = 0
    stopped: Literal["done", "plateau", "interrupted"] = "done"
    try:
        while not clock.over(index):
            began = time.perf_counter()
            values, balanced, gradient = passing.step(index, x, generator)
            best.see(index, x, balanced)
            passes += sum(part.cost(index) for part in parts)
            size = step_size * schedule(clock.progress(index))
            gradient, scale = gradients.see(gradient)
            direction = constraint.direction(gradient, origin, scale)
            del gradient, scale  # a large photo needs the room for the next two copies
            x = constraint.project(direction.mul_(size).add_(x), origin)
            del direction
            index += 1
            if callback is not None:
                spent = time.perf_counter() - began
                callback(Step(index - 1, clock.expected(index), values, size, spent))
            if patience is not None and best.stale(index) >= patience:
                stopped = "plateau"
                break
    except KeyboardInterrupt:
        if index == 0:
            raise
        stopped = "interrupted"
    known = exact and len(parts) == 1 and not passing.quick_steps
    x, final = _finalist(parts, x, best, known=known, draws=draws_each)
    return Descent(x, final, index, passes, passing.quick_steps, stopped)


def score(losses: Sequence[LossFn], x: Tensor, *, draws: int = 1, seed: int = 0) -> Tensor:
    """The mean of all losses (N,) on random draws that the seed fixes."""
    generator = Generator(device=x.device).manual_seed(seed)
    with torch.no_grad():
        drawn = [loss(x, generator) for _ in range(draws) for loss in losses]
        return torch.stack(drawn).mean(0)


class _Passes:
    """What takes the gradients: exactly, or quickly while that points the same way."""

    def __init__(self, groups: Sequence[_Group], quick: Quick | None) -> None:
        self.quick_steps = 0
        self._groups, self._quick = groups, quick
        self._faithful = False
        self._compared_at = 0

    def step(self, index: int, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """As ``_step``."""
        due = index >= self._compared_at
        if self._quick is None or not (due or self._faithful):
            return _step(self._groups, index, x, generator)
        before = twin(generator)
        if not due:
            quick = self._quickly(self._quick, index, x, generator)
            if quick is not None:
                self.quick_steps += 1
                return quick
            generator.set_state(before.get_state())
        exact = _step(self._groups, index, x, generator)
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
                return _step(self._groups, index, x, generator)
        except GradientError:
            return None


class _Gradients:
    """What a descent remembers of the gradients of former steps."""

    def __init__(self, momentum: float, adaptivity: float | None) -> None:
        self.momentum, self.adaptivity = momentum, adaptivity
        self._seen = 0
        self._velocity: Tensor | None = None
        self._squares: Tensor | None = None

    def see(self, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """The sum of gradients by weights that fall with age, and the size it usually has.

        Takes the gradient for its own. The size, by which steps are scaled, is None without
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
        """The weight of all that was seen together: 1 + keep + keep^2 and so on."""
        return float((1 - keep**self._seen) / (1 - keep))


class _Clock:
    """How far a descent is: by steps, or by time where seconds are given.

    By time, as much of it is spared as so many steps take.
    """

    def __init__(self, steps: int, seconds: float | None, *, spare: float) -> None:
        self.steps, self.seconds, self.spare = steps, seconds, spare
        self._began = time.perf_counter()

    def progress(self, index: int) -> float:
        """What is gone before a step, from 0 to 1."""
        if self.seconds is None:
            return index / self.steps
        return min(1.0, (time.perf_counter() - self._began) / self.seconds)

    def over(self, index: int) -> bool:
        """Whether another step like those before would be too many."""
        return index > 0 and index >= self.expected(index)

    def expected(self, index: int) -> int:
        """How many steps there will be in all, as far as can be told after ``index`` of them."""
        if self.seconds is None:
            return self.steps
        each = (time.perf_counter() - self._began) / index
        return max(index, int(self.seconds / each - self.spare))


class _Best:
    """The image with the lowest mean loss over the steps of a window that ends with it."""

    def __init__(self, window: int, steps: int) -> None:
        self.window = window
        self.x: Tensor | None = None
        self.losses: Tensor | None = None
        self._recent: deque[Tensor] = deque(maxlen=window)
        # What was best before the steps are short is never best at the end: no copies till then.
        self._from = 0 if window == 1 else steps // 2
        self._changed = 0

    def see(self, index: int, x: Tensor, losses: Tensor) -> None:
        """Remember the images of a batch that are better than before."""
        self._recent.append(losses)
        if len(self._recent) < self.window:
            self._changed = index  # nothing can be said of progress yet
            return
        mean = torch.stack(list(self._recent)).mean(0)
        if self.losses is None:
            better, margin = torch.ones_like(mean, dtype=torch.bool), True
        else:
            better = mean < self.losses
            margin = bool((mean < self.losses - 1e-3 * self.losses.abs()).any())
        if margin:
            self._changed = index
        self.losses = mean if self.losses is None else torch.where(better, mean, self.losses)
        if index < self._from or not better.any():
            return
        if self.x is None:
            self.x = x.clone()
        else:
            self.x[better] = x[better]

    def stale(self, steps: int) -> int:
        """Steps since the last improvement by 0.1 %."""
        return steps - 1 - self._changed


@dataclass
class _Group:
    """Losses of one unit.

    Attributes:
        losses: Taken in turn.
        costs: Passes through a model that each of them takes.
        count: How many of them a step uses.
        unit: What its losses (N,) are divided by beside those of other groups; None when it is
            alone.
    """

    losses: list[LossFn] = field(default_factory=list)
    costs: list[int] = field(default_factory=list)
    count: int = 1
    unit: Tensor | None = None

    @property
    def turn(self) -> int:
        """Steps in which all its losses are used."""
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


def _grouped(
    losses: Sequence[LossFn],
    labels: Sequence[Hashable] | None,
    costs: Sequence[int] | None,
    draws: int | None,
) -> list[_Group]:
    groups: dict[Hashable, _Group] = {}
    each = zip(losses, labels or [None] * len(losses), costs or [1] * len(losses), strict=True)
    for loss, label, cost in each:
        group = groups.setdefault(label, _Group())
        group.losses.append(loss)
        group.costs.append(cost)
    if not groups:
        raise LossShapeError("pgd needs at least one loss, got none")
    for group in groups.values():
        group.count = len(group.losses) if draws is None else min(draws, len(group.losses))
    return list(groups.values())


def _step(
    groups: Sequence[_Group], index: int, x: Tensor, generator: Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses (N,) in their own units and in balanced ones, and the gradient of the latter.

    Group after group, so that the memory is that of the one that takes the most.
    """
    means: list[Tensor] = []
    total: Tensor | None = None
    for group in groups:
        values, gradient = _value_and_gradient(group.chosen(index), x, generator)
        _check(gradient, index)
        means.append(values)
        if len(groups) > 1:
            if group.unit is None:
                size = gradient.abs().mean(dim=(1, 2, 3))
                group.unit = torch.where(size > 0, size, torch.ones_like(size))
            gradient /= group.unit.view(-1, 1, 1, 1)
        total = gradient if total is None else total.add_(gradient)
        del gradient  # a large photo needs the room for the next group's passes
    assert total is not None  # noqa: S101 - there is at least one group
    return *_joined(groups, means), total


def _joined(groups: Sequence[_Group], means: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean over groups of their mean losses (N,): in their own units, and in balanced ones."""
    units = [1.0 if group.unit is None else group.unit for group in groups]
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


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of each image's gradient to the other (N,), without a copy of either."""
    one, other = first.flatten(1), second.flatten(1)
    lengths = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(other, dim=1)
    cosines: Tensor = (one[:, None] @ other[:, :, None]).flatten() / lengths
    return cosines


def _check(gradient: Tensor, index: int) -> None:
    # The sum of magnitudes tells both faults in one pass over a large photo.
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


def _finalist(
    groups: Sequence[_Group], last: Tensor, best: _Best, *, known: bool, draws: int
) -> tuple[Tensor, Tensor]:
    """The better of the last image and the best one seen, per image, scored alike.

    Where the best one's losses are known exactly, they are not asked for again.
    """

    def scores(x: Tensor) -> tuple[Tensor, Tensor]:
        return _joined(groups, [score(group.losses, x, draws=draws) for group in groups])

    final, balanced = scores(last)
    if best.x is None or best.losses is None:
        return last, final
    other, other_balanced = (best.losses, best.losses) if known else scores(best.x)
    better = other_balanced < balanced
    last[better] = best.x[better]
    return last, torch.where(better, other, final)
