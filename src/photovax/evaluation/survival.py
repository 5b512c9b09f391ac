"""What purifications leave of the effect: tables, and the worst purification of each photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from photovax.adversary.purify import THEN
from photovax.evaluation.pairing import above_noise, labels_of, measure_of, paired_with_noise
from photovax.evaluation.plan import NONE
from photovax.evaluation.results import Results
from photovax.metrics.statistics import Interval, bootstrap

__all__ = ["Remains", "Survival", "WorstPair", "least_effects", "remains_of"]


@dataclass(frozen=True)
class Survival:
    """The effect beyond noise that remains after a purification.

    Attributes:
        label: Label of the recipe.
        purification: Name of the purification.
        above: Effect beyond noise purified in the same way, as in ``Displacement``.
        share: ``above`` relative to that without purification; None where that has none that is
            certain, as its interval includes 0.
    """

    label: str
    purification: str
    above: Interval
    share: float | None


@dataclass(frozen=True)
class WorstPair:
    """The effect beyond noise that remains after the worst two purifications of each photo.

    Attributes:
        above: Mean over photos.
        chosen: Number of photos for which each pair was the worst.
    """

    above: Interval
    chosen: dict[str, int]


@dataclass(frozen=True)
class Remains:
    """What purifications leave of the effect, by one measure.

    Attributes:
        measure: Name of a pair metric, or of a score of ``FOLLOWING``, of which is counted what the
            edit has less.
        survival: Remaining effect, by purification.
        worst: Effect beyond noise by recipe, after the purification of each photo that leaves the
            least effect; mean over photos.
        worst_pair: The same by recipe, after two purifications in turn, the first of which is the
            one that leaves the least effect alone.
    """

    measure: str
    survival: list[Survival]
    worst: dict[str, Interval]
    worst_pair: dict[str, WorstPair]


def remains_of(results: Results, measure: str) -> Remains:
    """What purifications leave of each recipe, by a pair metric or a score of ``FOLLOWING``."""
    return Remains(
        measure,
        _survival(results, measure),
        _worst(results, measure),
        _worst_pairs(results, measure),
    )


def _survival(results: Results, measure: str) -> list[Survival]:
    found: list[Survival] = []
    by_key = {case.key: case for case in results.cases}
    effect = measure_of(results, measure)
    for label in labels_of(case for case in results.cases if case.floor is not None):
        without: Interval | None = None
        for purification in sorted(results.plan.purifications, key=lambda name: name != NONE):
            cases = [c for c in results.cases if (c.label, c.purification) == (label, purification)]
            above = above_noise(cases, by_key, effect)
            if above is None:
                continue
            if purification == NONE:
                without = above
            # Of one photo there is no interval.
            certain = without is not None and without.mean > 0 and not without.low <= 0
            share = above.mean / without.mean if without is not None and certain else None
            found.append(Survival(label, purification, above, share))
    return found


def least_effects(
    results: Results, measure: str, purifications: Container[str]
) -> dict[str, dict[str, tuple[float, str]]]:
    """The least effect beyond noise, and the purification that leaves it, by recipe and photo.

    Args:
        results: Results of an evaluation.
        measure: Name of a pair metric, or of a score of ``FOLLOWING``.
        purifications: Names of the purifications that count.
    """
    by_key = {case.key: case for case in results.cases}
    counted = [case for case in results.cases if case.purification in purifications]
    kept, values, floors = paired_with_noise(counted, by_key, measure_of(results, measure))
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


def _worst(results: Results, measure: str) -> dict[str, Interval]:
    """The least effect of each photo over all purifications; mean over photos."""
    least = least_effects(results, measure, results.plan.purifications)
    return {label: _mean(photos) for label, photos in least.items()}


def _worst_pairs(results: Results, measure: str) -> dict[str, WorstPair]:
    """The least effect of each photo over the pairs that were tried; mean over photos."""
    named = () if results.plan.pairs else results.plan.purifications
    found = {case.purification for case in results.cases}.difference(named)
    tried = {name for name in found if name.count(THEN) == 1}
    least = least_effects(results, measure, tried)
    return {
        label: WorstPair(
            _mean(photos), dict(Counter(pair for _, pair in photos.values()).most_common())
        )
        for label, photos in least.items()
    }
