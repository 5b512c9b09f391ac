"""The strength of a change: as strong as a visibility allows, or as weak as a verdict allows.

The change that a descent found is scaled by a share. A bisection finds the largest share that is
not too visible, or the least share that passes the check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from photovax.errors import UsageError
from photovax.ranges import Range

__all__ = ["JODS", "MOST", "Aim", "aimed", "largest_share", "least_share"]

MOST = 3.0
"""Largest share of a change, which may be above 1; above it another descent would find a better
change."""
_TRIES = 8

JODS = Range(least=5, below=10)
"""Visibilities in JOD that can be aimed at: 5 is plainly visible, 10 invisible."""


@dataclass(frozen=True)
class Aim:
    """The goal that decides the strength of a change.

    Attributes:
        jod: Least ColorVideoVDP (arXiv 2401.11485) on a full-HD display, in JOD, from 5 to below
            10. The strongest change that keeps it is used; no such goal when None.
        passing: Whether to use the weakest change that gets the verdict PASS of ``photovax.check``
            for every model.
        within: Whether the recipe's strength is the largest.

    Raises:
        UsageError: If ``jod`` is out of range.
    """

    jod: float | None = None
    passing: bool = False
    within: bool = False

    def __post_init__(self) -> None:
        if self.jod is not None and self.jod not in JODS:
            raise UsageError(f"a visibility in JOD must be {JODS}, got {self.jod:g}")


def aimed(
    aim: Aim,
    *,
    passes: Callable[[float], bool],
    unseen: Callable[[float], bool],
    most: float = MOST,
) -> tuple[float | None, bool]:
    """The share of a change that reaches a goal, and whether it does.

    If a change that is not too visible does not pass, the share is the largest that is not too
    visible. It is None if there is no such share, either.

    Args:
        aim: Goal.
        passes: Function that returns whether a share of the change gets the verdict PASS for every
            model.
        unseen: Function that returns whether a share of the change has ``aim.jod`` or more.
        most: Largest share that is tried.
    """
    largest = most if aim.jod is None else largest_share(unseen, most)
    if largest is None or not aim.passing:
        return largest, largest is not None
    least = least_share(passes, largest)
    if least is not None:
        return least, True
    return None if aim.jod is None else largest, False


def largest_share(fits: Callable[[float], bool], most: float = MOST) -> float | None:
    """The largest share up to ``most`` that fits, to about 1 %; None if none does.

    Args:
        fits: Function that returns whether a share fits. If one does, all smaller ones must.
        most: Largest share to try.
    """
    return most if fits(most) else _between(most, fits)[0]


def least_share(fits: Callable[[float], bool], most: float = MOST) -> float | None:
    """The least share up to ``most`` that fits, to about 1 %; None if none was found.

    Args:
        fits: Function that returns whether a share fits. The shares that do must be an interval,
            which is found if it holds ``most``, its half, quarter or eighth, or 1.
        most: Largest share to try.
    """
    # Noise of the size of a very large change moves models, too, so that less of it may pass.
    tried = [*(most / part for part in (1, 2, 4, 8)), *([1.0] if most > 1 else [])]
    high = next(filter(fits, tried), None)
    return None if high is None else _between(high, lambda share: not fits(share))[1]


def _between(most: float, low_side: Callable[[float], bool]) -> tuple[float | None, float]:
    """The largest share found on the low side (None if none), and the least that is not."""
    low, high = None, most
    for _ in range(_TRIES):
        middle = ((low or 0.0) + high) / 2
        if low_side(middle):
            low = middle
        else:
            high = middle
    return low, high
