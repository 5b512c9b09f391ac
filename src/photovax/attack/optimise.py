"""Projected gradient descent: the only such loop in the package.

It knows no model, no norm and no photo: it is given losses, a set to stay in, and steps to take.
Read it beside Algorithm 1 of arXiv 2302.06588: the gradient of the loss, a step against it, the
projection back into the set.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from photovax.attack.budgets import Constraint
from photovax.attack.gradients import Gradients, Passes
from photovax.attack.losses import Groups, LossFn, Weighed, score
from photovax.attack.progress import Best, Clock
from photovax.machine.precision import Quick

__all__ = ["SCHEDULES", "Descent", "Schedule", "Step", "Steps", "pgd"]

Schedule = Callable[[float], float]
"""Progress in [0, 1] to the factor of the first step's size."""


def _constant(progress: float) -> float:
    """All steps equal."""
    return 1.0


def _linear(progress: float) -> float:
    """Falls in a line to 1 %, as the public PhotoGuard notebooks have it."""
    return 1 - 0.99 * progress


def _cosine(progress: float) -> float:
    """Falls along half a cosine to nothing: long steps for longer, then a soft landing."""
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Schedule] = {"constant": _constant, "cosine": _cosine, "linear": _linear}


@dataclass(frozen=True)
class Steps:
    """How a descent goes.

    Attributes:
        count: Number of steps.
        size: Size of the first step, in the unit of the constraint's radius.
        schedule: How the step size falls: a name in ``SCHEDULES``.
        momentum: Share of the former direction that is kept (Dong et al., arXiv 1710.06081: each
            gradient is divided by its mean magnitude before it is added).
        adaptivity: Share of the former squared gradients that is kept. Their root is the usual size
            of each value of the gradient: where it turns from step to step, steps are short (Adam,
            Kingma and Ba, arXiv 1412.6980, whose first beta ``momentum`` is). All steps alike when
            None.
        draws: Losses of each group used per step, taken in turn; all when None.
        random: Whether a loss returns different values for the same image. A lucky draw must not
            win, so the finalists are then scored anew on draws that are the same for both.
        random_start: Whether to start at a random image of the set instead of the origin.
        patience: Number of steps without 0.1 % of improvement after which to stop; never when None.
        seconds: Time for as many steps as fit, at least one, and the scoring of the finalists,
            instead of ``count``; the step size then falls with the time that is gone.
    """

    count: int
    size: float
    schedule: str = "linear"
    momentum: float = 0.0
    adaptivity: float | None = None
    draws: int | None = None
    random: bool = False
    random_start: bool = True
    patience: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Step:
    """What a callback sees after each step.

    Attributes:
        index: Number of the step, from 0.
        steps: Number of steps that there will be at most.
        losses: Detached losses (N,) of the image before the step.
        step_size: Size of the step, in the unit of the constraint's radius.
        seconds: Time that the step took.
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
        steps: Number of steps taken.
        passes: Number of forward and backward passes, by what each loss costs, without those that
            were only compared with others.
        quick_steps: Number of steps whose gradient was a quick one.
        stopped: Why it ended.
    """

    x: Tensor
    losses: Tensor
    steps: int
    passes: int
    quick_steps: int
    stopped: Literal["done", "plateau", "interrupted"]


def pgd(
    losses: Sequence[LossFn | Weighed],
    origin: Tensor,
    constraint: Constraint,
    steps: Steps,
    *,
    generator: Generator,
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
        steps: How many steps to take, of which kind.
        generator: Source of all randomness.
        quick: Context in which steps are computed while gradients point as exact ones do (a cosine
            of 0.99); the two are compared at first and every sixteen steps. Finalists are always
            scored exactly.
        callback: Called after every step.

    Returns:
        The best images, by loss, of all that were seen.

    Raises:
        LossShapeError: If a loss is not shaped (N,).
        GradientError: If the gradient of a group is not finite, or zero everywhere.
        KeyboardInterrupt: If interrupted before the first step was done.
    """
    groups = Groups.of(losses, draws=steps.draws)
    exact = not steps.random and groups.turn == 1
    draws = 4 if steps.random else 1
    # Losses taken in turn are only comparable over a whole turn, random ones over several.
    window = 1 if exact else groups.turn * draws
    x = constraint.sample(origin, generator) if steps.random_start else origin.clone()
    best = Best(window, steps.count if steps.seconds is None else 0)
    # Two finalists meet all losses in forward passes, which take a third of a whole one.
    clock = Clock(steps.count, steps.seconds, spare=2 * groups.turn * draws / 3)
    schedule = SCHEDULES[steps.schedule]
    passing = Passes(groups, quick)
    gradients = Gradients(steps.momentum, steps.adaptivity)
    index = passes = 0
    stopped: Literal["done", "plateau", "interrupted"] = "done"
    try:
        while not clock.over(index):
            began = time.perf_counter()
            values, balanced, gradient = passing.step(index, x, generator)
            best.see(index, x, balanced)
            passes += groups.cost(index)
            size = steps.size * schedule(clock.progress(index))
            gradient, scale = gradients.see(gradient)
            direction = constraint.direction(gradient, origin, scale)
            del gradient, scale  # a large photo needs the room for the next two copies
            x = constraint.project(direction.mul_(size).add_(x), origin)
            del direction
            index += 1
            if callback is not None:
                spent = time.perf_counter() - began
                callback(Step(index - 1, clock.expected(index), values, size, spent))
            if steps.patience is not None and best.stale(index) >= steps.patience:
                stopped = "plateau"
                break
    except KeyboardInterrupt:
        if index == 0:
            raise
        stopped = "interrupted"
    known = exact and len(groups.each) == 1 and not passing.quick_steps
    x, final = _finalist(groups, x, best, known=known, draws=draws)
    return Descent(x, final, index, passes, passing.quick_steps, stopped)


def _finalist(
    groups: Groups, last: Tensor, best: Best, *, known: bool, draws: int
) -> tuple[Tensor, Tensor]:
    """The better of the last image and the best one seen, per image, scored alike.

    Where the best one's losses are known exactly, they are not computed again.
    """

    def scores(x: Tensor) -> tuple[Tensor, Tensor]:
        return groups.joined([score(group.losses, x, draws=draws) for group in groups.each])

    final, balanced = scores(last)
    if best.x is None or best.losses is None:
        return last, final
    other, other_balanced = (best.losses, best.losses) if known else scores(best.x)
    better = other_balanced < balanced
    last[better] = best.x[better]
    return last, torch.where(better, other, final)
