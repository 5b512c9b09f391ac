"""How strong a change is to be: as strong as stays unseen, or as weak as is enough.

A descent finds where to go as well as how far. Along its way both are one search: for the largest
share of the change that fits, or the least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from photovax.errors import UsageError

__all__ = ["MOST", "Aim", "aimed", "largest_share", "least_share"]

MOST = 3.0
"""Times that a change is made larger at most: beyond, another descent would find a better one."""
_TRIES = 8


@dataclass(frozen=True)
class Aim:
    """What decides the strength, from the recipe's on.

    Attributes:
        jod: As strong as ColorVideoVDP puts at this many JOD or more, on a full-HD display.
        passing: As weak as gives every model the verdict PASS of ``photovax.check``.
    """

    jod: float | None = None
    passing: bool = False

    def __post_init__(self) -> None:
        if self.jod is not None and not 5 <= self.jod < 10:
            raise UsageError(
                "a visibility in JOD must be from 5 (plainly seen) to below 10 (nothing is seen), "
                f"got {self.jod:g}"
            )


def aimed(
    aim: Aim, *, passes: Callable[[float], bool], unseen: Callable[[float], bool]
) -> float | None:
    """The share of a change that an aim asks for; None if there is none.

    Args:
        aim: What to aim at.
        passes: Whether a share of the change gives every model the verdict PASS.
        unseen: Whether a share of the change is no more visible than ``aim.jod``.
    """
    if aim.jod is None:
        return least_share(passes)
    largest = largest_share(unseen)
    return least_share(passes, most=largest or MOST) if aim.passing else largest


def largest_share(fits: Callable[[float], bool], most: float = MOST) -> float | None:
    """The largest share up to ``most`` that fits, to a percent or so; None if none does.

    Args:
        fits: Whether a share of the change does; if one does, smaller ones do.
        most: Where the search begins.
    """
    return most if fits(most) else _between(most, fits)[0]


def least_share(fits: Callable[[float], bool], most: float = MOST) -> float | None:
    """The least share up to ``most`` that fits, to a percent or so; None if none does.

    Args:
        fits: Whether a share of the change does; if one does, larger ones do.
        most: Where the search begins.
    """
    return _between(most, lambda share: not fits(share))[1] if fits(most) else None


def _between(most: float, low_side: Callable[[float], bool]) -> tuple[float | None, float]:
    """The last share that is on the low side, if one is, and the first that is not."""
    low, high = None, most
    for _ in range(_TRIES):
        middle = ((low or 0.0) + high) / 2
        if low_side(middle):
            low = middle
        else:
            high = middle
    return low, high
