"""Figures of single edits, paired with those of noise of the same size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from photovax.evaluation.following import FOLLOWING
from photovax.evaluation.results import Case, Results
from photovax.metrics.statistics import Interval, paired

__all__ = [
    "PSNR_CAP",
    "above_noise",
    "capped",
    "effect_of",
    "labels_of",
    "lost_of",
    "measure_of",
    "paired_with_noise",
    "value_of",
]

PSNR_CAP = 100.0
"""PSNR in dB that replaces the infinite one of equal pictures, so that means exist."""


def capped(value: float, metric: str) -> float:
    """The value of a pair metric; of PSNR at most ``PSNR_CAP``, so that means exist."""
    return min(value, PSNR_CAP) if metric == "psnr" else value


def value_of(case: Case, metric: str) -> float | None:
    """A pair metric of a case; see ``capped``."""
    value = case.between.get(metric)
    return value if value is None else capped(value, metric)


def effect_of(case: Case, metric: str, closer: bool) -> float | None:
    """A pair metric with the sign that makes larger values mean further apart."""
    value = value_of(case, metric)
    return value if value is None or not closer else -value


def lost_of(case: Case, score: str) -> float | None:
    """How much worse an edit follows the request than the edit of the original, by a score."""
    if score not in case.follows or score not in case.wanted:
        return None
    return min(case.wanted[score], PSNR_CAP) - min(case.follows[score], PSNR_CAP)


def measure_of(results: Results, name: str) -> Callable[[Case], float | None]:
    """The effect on an edit: by a pair metric, or what it has less of a score of ``FOLLOWING``."""
    if name in FOLLOWING:
        return partial(lost_of, score=name)
    return partial(effect_of, metric=name, closer=results.higher_is_closer[name])


def labels_of(cases: Iterable[Case]) -> list[str]:
    """The labels of cases, in order, each once."""
    return list(dict.fromkeys(case.label for case in cases))


def paired_with_noise(
    cases: Sequence[Case], by_key: Mapping[str, Case], value: Callable[[Case], float | None]
) -> tuple[list[Case], list[float], list[float]]:
    """Cases where both the case and its noise have a value, and both values."""
    kept, values, floors = [], [], []
    for case in cases:
        floor = by_key.get(case.floor) if case.floor is not None else None
        mine, other = value(case), None if floor is None else value(floor)
        if mine is not None and other is not None:
            kept.append(case)
            values.append(mine)
            floors.append(other)
    return kept, values, floors


def above_noise(
    cases: Sequence[Case], by_key: Mapping[str, Case], value: Callable[[Case], float | None]
) -> Interval | None:
    """Interval of the paired difference to noise."""
    kept, values, floors = paired_with_noise(cases, by_key, value)
    if not kept:
        return None
    groups = [case.photo for case in kept]
    return paired(np.array(values), np.array(floors), groups=groups)
