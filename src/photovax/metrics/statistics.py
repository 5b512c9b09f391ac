"""How sure is a mean? Intervals by resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from photovax.errors import UsageError

__all__ = ["Interval", "bootstrap", "paired"]


@dataclass(frozen=True)
class Interval:
    """A mean and where it may lie.

    Attributes:
        mean: Of all values; nan where there is none.
        low: Lower bound of the 95 % interval; nan with fewer than 2 independent values.
        high: Upper bound.
        n: How many independent values there are: groups, where values are grouped.
    """

    mean: float
    low: float
    high: float
    n: int


def bootstrap(
    values: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[str] | Sequence[int] | np.ndarray | None = None,
    rounds: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of values and its 95 % interval, by the percentile bootstrap.

    With groups, whole groups are drawn: seeds and prompts of one photo are not independent, and
    drawing them one by one would make the interval too narrow. With few independent values it is
    too narrow in any case: of normal values, 10 cover the mean 90 times in 100, and 100 do 95.

    Args:
        values: Any number of them.
        groups: For each value, which group it is from (the photo).
        rounds: How often to draw.
        seed: Of the draws.

    Raises:
        UsageError: If there is not one group for each value.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if groups is None:
        places = np.arange(len(numbers))
    else:
        if len(groups) != len(numbers):
            raise UsageError(f"{len(numbers)} values need as many groups, got {len(groups)}")
        places = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, sizes = np.bincount(places, weights=numbers), np.bincount(places)
    count = len(sums)
    mean = float(numbers.mean()) if count else math.nan
    if count < 2:
        return Interval(mean, math.nan, math.nan, count)
    drawn = np.random.default_rng(seed).integers(count, size=(rounds, count))
    means = np.sort(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    # Not interpolated, so that infinite values, such as the PSNR of equal pictures, do no harm.
    low, high = (float(means[round(share * (rounds - 1))]) for share in (0.025, 0.975))
    return Interval(mean, low, high, count)


def paired(
    values: Sequence[float] | np.ndarray,
    floor: Sequence[float] | np.ndarray,
    groups: Sequence[str] | Sequence[int] | np.ndarray | None = None,
) -> Interval:
    """The mean of ``values - floor``, pair by pair, and its 95 % interval; see ``bootstrap``.

    Args:
        values: Of what is measured.
        floor: Of what it is compared with, in the same order; finite, where the value is not.
        groups: For each pair, which group it is from.

    Raises:
        UsageError: If the lengths differ.
    """
    if len(values) != len(floor):
        raise UsageError(f"{len(values)} values need as many of the floor, got {len(floor)}")
    differences = np.asarray(values, dtype=np.float64) - np.asarray(floor, dtype=np.float64)
    return bootstrap(differences, groups=groups)
