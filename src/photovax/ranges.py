"""Ranges of numbers: each bound is written once, and used by the library and the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, cast

from photovax.errors import UsageError

__all__ = ["QUALITIES", "SEEDS", "Range", "check_shard"]


@dataclass(frozen=True)
class Range:
    """A range of finite numbers; NaN and infinity are in none.

    Attributes:
        least: Smallest number in the range.
        above: Largest number below the range, instead of ``least``.
        most: Largest number in the range; unbounded when neither this nor ``below`` is given.
        below: Smallest number above the range, instead of ``most``.
        whole: Whether it has whole numbers only.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        if not isinstance(value, Real):
            return False
        number = cast("float", value)
        return (
            math.isfinite(number)
            and (not self.whole or number == int(number))
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """The range in words, such as ``above 0 and up to 255``."""
        upper = f"below {self.below}" if self.below is not None else f"{self.most}"
        bounded = self.below is not None or self.most is not None
        if self.least is not None:
            return f"from {self.least} to {upper}" if bounded else f"{self.least} or more"
        up = "" if self.below is not None else "up to "
        return f"above {self.above}" + (f" and {up}{upper}" if bounded else "")

    def read(self, text: str) -> float:
        """Read a number of this range.

        Raises:
            ValueError: If the text is not such a number.
        """
        value = int(text) if self.whole else float(text)
        if value not in self:
            raise ValueError(f"must be {self}, got {text}")
        return value


SEEDS = Range(least=0, most=2**63 - 1, whole=True)
"""Seeds of random choices."""

QUALITIES = Range(least=1, most=100, whole=True)
"""Qualities of lossy files."""


def check_shard(shard: tuple[int, int]) -> None:
    """Refuse the i-th of n parts where there is none.

    Raises:
        UsageError: If i is not from 1 to n.
    """
    index, count = shard
    if not 1 <= index <= count:
        raise UsageError(f"shard must be from 1/{count} to {count}/{count}, got {index}/{count}")
