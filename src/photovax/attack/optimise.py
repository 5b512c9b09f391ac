"""Projected gradient descent (PGD).

Source: Algorithm 1 of arXiv 2302.06588: compute the gradient of the loss, step against it, project
back onto the set. PGD is due to Madry et al. (arXiv 1706.06083). The loop is independent of models,
norms and photos: it receives losses, a set of allowed images, and the steps to take.
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
"""A function from the progress of a descent, in [0, 1], to a factor of the first step's size."""


def _constant(progress: float) -> float:
    """The same size for all steps."""
    return 1.0


def _linear(progress: float) -> float:
    """Linear decay to 1 %, as in the public PhotoGuard notebooks."""
    return 1 - 0.99 * progress


def _cosine(progress: float) -> float:
    """Decay to 0 along half a period of a cosine."""
    return 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Schedule] = {"constant": _constant, "cosine": _cosine, "linear": _linear}


@dataclass(frozen=True)
class Steps:
    """Settings of a descent.

    Attributes:
        count: Number of steps.
        size: Size of the first step, in the unit of the constraint's radius.
        schedule: Decay of the step size, a name in ``SCHEDULES``.
        momentum: Share of the former direction that is kept, from 0 to below 1 (Dong et al., arXiv
            1710.06081: each gradient is divided by its mean magnitude before it is added).
        adaptivity: Share of the former squared gradients that is kept, from 0 to below 1. Steps are
            divided by their root mean square, so they are shorter where the gradient changes sign
            between steps. This is beta 2 of Adam (Kingma and Ba, arXiv 1412.6980), and ``momentum``
            its beta 1. Steps are not scaled when None.
        draws: Number of losses of each group used per step, in turn; all when None.
        random: Whether a loss returns different values for the same image. The candidates for the
            result are then scored again with the same random numbers, so that none wins by chance.
        random_start: Whether to start at a random image of the set instead of the origin, if no
            start is given.
        patience: Number of steps without 0.1 % of improvement after which to stop; never when None.
        seconds: Time limit of all steps and the final scoring, used instead of ``count``. At least
            one step is taken. The step size then decays with time.
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
    """Report of one step, for callbacks.

    Attributes:
        index: Number of the step, from 0.
        steps: Largest number of steps of the descent; an estimate where time is limited.
        losses: Losses (N,) of the images before the step, without gradients.
        step_size: Size of the step, in the unit of the constraint's radius.
        seconds: Duration of the step, in seconds.
    """

    index: int
    steps: int
    losses: Tensor
    step_size: float
    seconds: float


@dataclass(frozen=True)
class Descent:
    """Result of a descent.

    Attributes:
        x: Best images found (N, C, H, W), inside the set.
        losses: Losses (N,) of these images: the mean over all losses with fixed random numbers, in
            the losses' own units. Quick where they are a single candidate after a quick step.
        steps: Number of steps taken.
        passes: Number of forward and backward passes, counted by the costs of the losses. Passes
            that only served to compare gradients do not count.
        quick_steps: Number of steps whose gradient was a quick one.
        stopped: Reason of the end: all steps ``done``, no more improvement (``plateau``), or
            ``interrupted`` by Ctrl-C.
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
    start: Tensor | None = None,
    quick: Quick | None = None,
    callback: Callable[[Step], None] | None = None,
) -> Descent:
    """Minimise the mean of losses within a set of images by projected gradient descent.

    Source: Algorithm 1 of arXiv 2302.06588, with the steps of Madry et al. (arXiv 1706.06083): the
    sign of the gradient in an l-infinity ball, the normalised gradient in an l2 ball. Each step is
    followed by the projection, so the result is always inside the set. Ctrl-C ends the descent
    early with the best images so far.

    Groups of losses may have different units. The descent then minimises the sum over groups, each
    divided by the mean magnitude of its first gradient, so that all have the same weight.

    Args:
        losses: One function for each view or model, which returns one number per image.
        origin: Original images, float32 (N, C, H, W) in [0, 1].
        constraint: Set of allowed images around the origin.
        steps: Settings of the descent.
        generator: Source of all randomness.
        start: Images of the set to start from; see ``Steps.random_start`` when None.
        quick: Context of passes in low precision. It is used while its gradients have a cosine
            similarity of 0.95 or more with exact ones; both are compared at the first step and
            every sixteen steps. Candidates for the result are compared exactly; a single one,
            which has nothing to be compared with, is scored as the last step was taken.
        callback: Function called after every step.

    Returns:
        The images with the lowest loss that were found.

    Raises:
        LossShapeError: If there is no loss, or a loss is not shaped (N,).
        GradientError: If the gradient of a group is not finite, or zero everywhere.
        KeyboardInterrupt: If interrupted before the first step was done.
    """
    groups = Groups.of(losses, draws=steps.draws)
    exact = not steps.random and groups.turn == 1
    draws = 4 if steps.random else 1
    # Losses used in turn can only be compared over a whole turn, random losses over several.
    window = 1 if exact else groups.turn * draws
    if start is not None:
        x = start
    else:
        x = constraint.sample(origin, generator) if steps.random_start else origin.clone()
    best = Best(window, steps.count if steps.seconds is None else 0)
    # The final scoring evaluates all losses for two candidates, in forward passes without gradient,
    # which take about a third of the time of a pass with one.
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
            del gradient, scale  # frees memory for the next two copies of the photo
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
    x, final = _finalist(passing, groups, x, best, known=known, draws=draws)
    return Descent(x, final, index, passes, passing.quick_steps, stopped)


def _finalist(
    passing: Passes, groups: Groups, last: Tensor, best: Best, *, known: bool, draws: int
) -> tuple[Tensor, Tensor]:
    """The better of the last and the best image so far, per image, and its loss (N,).

    Both are scored exactly, with the same random numbers. If ``known``, the exact loss of the best
    image so far is at hand and not computed again. The last alone is scored as it was found.
    """

    def scores(x: Tensor) -> tuple[Tensor, Tensor]:
        return groups.joined([score(group.losses, x, draws=draws) for group in groups.each])

    if best.x is None or best.losses is None:
        with passing.as_last():
            return last, scores(last)[0]
    final, balanced = scores(last)
    other, other_balanced = (best.losses, best.losses) if known else scores(best.x)
    better = other_balanced < balanced
    last[better] = best.x[better]
    return last, torch.where(better, other, final)
