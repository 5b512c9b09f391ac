"""What purifications leave of the effect: tables, and the worst purification of each photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from photovax.evaluation.pairing import above_noise, effect_of, labels_of, paired_with_noise
from photovax.evaluation.plan import NONE
from photovax.evaluation.results import Case, Results
from photovax.metrics.statistics import Interval, bootstrap

__all__ = ["Survival", "WorstPair", "least_effects", "survival_table", "worst_of", "worst_pairs"]


@dataclass(frozen=True)
class Survival:
    """The effect beyond noise that remains after a purification.

    Attributes:
        label: Label of the recipe.
        purification: Name of the purification.
        metric: Name of the pair metric that measures it.
        above: Effect beyond noise purified in the same way, as in ``Displacement``.
        share: ``above`` relative to that without purification.
    """

    label: str
    purification: str
    metric: str
    above: Interval
    share: float


@dataclass(frozen=True)
class WorstPair:
    """The effect beyond noise that remains after the worst two purifications of each photo.

    Attributes:
        above: Mean over photos.
        chosen: Number of photos for which each pair was the worst.
    """

    above: Interval
    chosen: dict[str, int]


def survival_table(results: Results, by_key: dict[str, Case], metric: str) -> list[Survival]:
    """What each purification leaves of each recipe, by a pair metric."""
    found: list[Survival] = []
    closer = results.higher_is_closer[metric]
    for label in labels_of(case for case in results.cases if case.floor is not None):
        without: float | None = None
        for purification in sorted(results.plan.purifications, key=lambda name: name != NONE):
            cases = [c for c in results.cases if (c.label, c.purification) == (label, purification)]
            above = above_noise(cases, by_key, lambda case: effect_of(case, metric, closer))
            if above is None:
                continue
            if purification == NONE:
                without = above.mean
            share = above.mean / without if without else float("nan")
            found.append(Survival(label, purification, metric, above, share))
    return found


def least_effects(
    results: Results, metric: str, purifications: Container[str]
) -> dict[str, dict[str, tuple[float, str]]]:
    """The least effect beyond noise, and the purification that leaves it, by recipe and photo.

    Args:
        results: Results of an evaluation.
        metric: Name of the pair metric that measures the effect.
        purifications: Names of the purifications that count.
    """
    by_key = {case.key: case for case in results.cases}
    closer = results.higher_is_closer[metric]
    counted = [case for case in results.cases if case.purification in purifications]
    kept, values, floors = paired_with_noise(
        counted, by_key, lambda case: effect_of(case, metric, closer)
    )
    differences: dict[tuple[str, str, str], list[float]] = {}
    for case, value, floor in zip(kept, values, floors, strict=True):
        place = (case.label, case.photo, case.purification)
        differences.setdefault(place, []).append(value - floor)
    least: dict[str, dict[str, tuple[float, str]]] = {}
    for (label, photo, purification), each in differences.items():
        mine = least.setdefault(label, {})
        effect = (float(np.mean(each)), purification)
        mine[photo] = min(mine.get(photo, effect), effect, key=lambda one: one[0])
    return least


def _mean(photos: Mapping[str, tuple[float, str]]) -> Interval:
    return bootstrap(np.array([effect for effect, _ in photos.values()]), groups=list(photos))


def worst_of(results: Results, metric: str) -> dict[str, Interval]:
    """The least effect of each photo over all purifications; mean over photos."""
    least = least_effects(results, metric, results.plan.purifications)
    return {label: _mean(photos) for label, photos in least.items()}


def worst_pairs(results: Results, metric: str) -> dict[str, WorstPair]:
    """The least effect of each photo over the pairs that were tried; mean over photos."""
    tried = {case.purification for case in results.cases}.difference(results.plan.purifications)
    least = least_effects(results, metric, tried)
    return {
        label: WorstPair(
            _mean(photos), dict(Counter(pair for _, pair in photos.values()).most_common())
        )
        for label, photos in least.items()
    }
