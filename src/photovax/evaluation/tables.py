"""Tables of an evaluation: means and intervals of single edits, and differences to noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from photovax.evaluation.following import FOLLOWING
from photovax.evaluation.pairing import (
    PSNR_CAP,
    above_noise,
    capped,
    effect_of,
    labels_of,
    lost_of,
    paired_with_noise,
    value_of,
)
from photovax.evaluation.plan import NONE
from photovax.evaluation.results import Case, ProtectedPhoto, Results
from photovax.evaluation.survival import Remains, remains_of
from photovax.metrics.sets import frechet_distance, kernel_distance, precision_recall
from photovax.metrics.statistics import Interval, bootstrap, paired

__all__ = [
    "ALL",
    "FRECHET_LEAST",
    "Displacement",
    "Following",
    "SetDistances",
    "Tables",
    "Visible",
    "tables",
]

ALL = "all"
"""In place of a way of editing: all edits together."""

FRECHET_LEAST = 150
"""Least number of pictures: with fewer, a Fréchet distance is mostly bias (arXiv 1911.07023)."""


@dataclass(frozen=True)
class Displacement:
    """How far edits are from the edits of the originals.

    Attributes:
        label: Label of the recipe or the noise.
        mode: A way of editing, or ``ALL``.
        metric: Name of the pair metric.
        edits: Number of edits.
        value: Mean with its interval.
        floor: The same for the matching random noise; None for noise.
        above: Effect beyond noise: mean paired difference, positive where the edits are further
            from the clean edits than those of noise; None for noise.
    """

    label: str
    mode: str
    metric: str
    edits: int
    value: Interval
    floor: Interval | None
    above: Interval | None


@dataclass(frozen=True)
class Following:
    """How well edits still follow the request.

    Attributes:
        label: Label of the recipe or the noise.
        mode: A way of editing.
        score: Name of the score, a key of ``photovax.evaluation.following.FOLLOWING``.
        wanted: Score of the edits of the originals.
        value: Score of these edits.
        lost: Mean paired difference; larger means better immunized.
        above: Loss beyond that of noise; None for noise.
    """

    label: str
    mode: str
    score: str
    wanted: Interval
    value: Interval
    lost: Interval
    above: Interval | None


@dataclass(frozen=True)
class Visible:
    """Visibility of the immunization, and its costs.

    Attributes:
        label: Label of the recipe or the noise.
        modes: Ways of editing that these files were made for.
        metrics: Pair metrics of original and immunized photo.
        figures: Means of figures such as linf (levels), l2, shift and seconds.
        n: Number of photos.
    """

    label: str
    modes: tuple[str, ...]
    metrics: dict[str, Interval]
    figures: dict[str, float]
    n: int


@dataclass(frozen=True)
class SetDistances:
    """Distances between the edits of originals and these edits, as sets of features.

    Attributes:
        label: Label of the recipe or the noise.
        n: Number of edits in each set.
        frechet: Fréchet distance; None below ``FRECHET_LEAST`` edits.
        kernel: Kernel distance and its standard deviation over subsets.
        precision: Share of these edits within the manifold of the clean edits (k = 3).
        recall: Share of the clean edits within the manifold of these edits.
    """

    label: str
    n: int
    frechet: float | None
    kernel: tuple[float, float]
    precision: float
    recall: float


@dataclass(frozen=True)
class Masked:
    """The effect beyond noise on inpainting of one region.

    Attributes:
        label: Label of the recipe.
        mask: Region that is repainted, a key of ``photovax.pictures.regions.REGIONS``.
        expected: Whether the recipe was made for this region.
        moved: How much further the edits are from those of the originals than those of noise, by
            the leading metric.
        lost: By score, how much worse the edits follow the request than those of noise.
    """

    label: str
    mask: str
    expected: bool
    moved: Interval | None
    lost: dict[str, Interval]


@dataclass(frozen=True)
class Tables:
    """All tables of a report.

    Attributes:
        displacement: Question (a): how far edits move.
        following: Question (b): whether edits fail.
        visible: Question (c): how visible the immunization is.
        sets: Distances between sets of edits.
        masks: Inpainting by the region that is repainted, if there are several.
        remains: What purifications leave of the effect, by each score of how well edits follow
            their request and by a pair metric; empty without purifications.
    """

    displacement: list[Displacement]
    following: list[Following]
    visible: list[Visible]
    sets: list[SetDistances]
    masks: list[Masked]
    remains: list[Remains]


def tables(results: Results, *, metric: str) -> Tables:
    """Summarise results.

    Args:
        results: Results of an evaluation.
        metric: Name of the pair metric that measures survival.
    """
    by_key = {case.key: case for case in results.cases}
    plain = [case for case in results.cases if case.purification == NONE]
    modes = (*results.plan.modes, ALL)
    return Tables(
        displacement=[
            moved
            for label in labels_of(plain)
            for mode in modes
            for name in results.between
            if (moved := _displacement(results, _of(plain, label, mode), by_key, label, mode, name))
        ],
        following=[
            scored
            for label in labels_of(plain)
            for mode in results.plan.modes
            for score in sorted({s for c in _of(plain, label, mode) for s in c.follows})
            if (scored := _following(_of(plain, label, mode), by_key, label, mode, score))
        ],
        visible=[_visible(photos) for photos in _kinds(results)],
        sets=[
            distances
            for label in labels_of(plain)
            if (distances := _set_distances(_of(plain, label, ALL), label))
        ],
        masks=_masked(results, plain, by_key, metric),
        remains=[remains_of(results, measure) for measure in (*_scores(results), metric)]
        if len(plain) < len(results.cases)
        else [],
    )


def _scores(results: Results) -> list[str]:
    """The scores of ``FOLLOWING`` that treated edits have."""
    known = {score for c in results.cases if c.purification != NONE for score in c.follows}
    return [score for score in FOLLOWING if score in known]


def _of(cases: Iterable[Case], label: str, mode: str) -> list[Case]:
    return [c for c in cases if c.label == label and mode in (ALL, c.asked.edit.mode)]


def _interval(cases: Sequence[Case], values: Sequence[float]) -> Interval:
    return bootstrap(np.array(values), groups=[case.photo for case in cases])


def _displacement(
    results: Results,
    cases: Sequence[Case],
    by_key: dict[str, Case],
    label: str,
    mode: str,
    metric: str,
) -> Displacement | None:
    known = [(case, value) for case in cases if (value := value_of(case, metric)) is not None]
    if not known:
        return None
    closer = results.higher_is_closer[metric]
    kept, values, floors = paired_with_noise(cases, by_key, lambda case: value_of(case, metric))
    near, far = (floors, values) if closer else (values, floors)
    groups = [case.photo for case in kept]
    return Displacement(
        label,
        mode,
        metric,
        len(known),
        _interval([case for case, _ in known], [value for _, value in known]),
        _interval(kept, floors) if kept else None,
        paired(near, far, groups=groups) if kept else None,
    )


def _following(
    cases: Sequence[Case], by_key: dict[str, Case], label: str, mode: str, score: str
) -> Following | None:
    scored = [case for case in cases if score in case.follows and score in case.wanted]
    if not scored:
        return None

    lost = partial(lost_of, score=score)
    losses = [value for case in scored if (value := lost(case)) is not None]
    return Following(
        label,
        mode,
        score,
        _interval(scored, [min(case.wanted[score], PSNR_CAP) for case in scored]),
        _interval(scored, [min(case.follows[score], PSNR_CAP) for case in scored]),
        _interval(scored, losses),
        above_noise(scored, by_key, lost),
    )


def _masked(
    results: Results, plain: Sequence[Case], by_key: dict[str, Case], metric: str
) -> list[Masked]:
    """The effect on inpainting by region; nothing where all edits repaint the same one."""
    painted = [case for case in plain if case.asked.edit.mode == "inpaint"]
    regions = list(dict.fromkeys(case.asked.mask for case in painted))
    if len(regions) < 2:
        return []
    closer = results.higher_is_closer[metric]
    made_for = {
        each.label: each.against("inpaint").masks
        for each in results.plan.variants
        if each.applies("inpaint")
    }
    found = []
    for label in labels_of(case for case in painted if case.floor is not None):
        for region in regions:
            cases = [case for case in painted if (case.label, case.asked.mask) == (label, region)]
            lost = {
                score: above
                for score in sorted({score for case in cases for score in case.follows})
                if (above := above_noise(cases, by_key, partial(lost_of, score=score))) is not None
            }
            moved = above_noise(cases, by_key, lambda case: effect_of(case, metric, closer))
            expected = region in made_for.get(label, ())
            found.append(Masked(label, region, expected, moved, lost))
    return found


def _kinds(results: Results) -> list[list[ProtectedPhoto]]:
    """Immunized photos by label and by what their file was made for.

    A recipe has one file of a photo for all ways of editing, or one for each. A photo without a
    mask is not inpainted, so its file may be for fewer of them than those of others.
    """
    kinds: list[list[ProtectedPhoto]] = []
    for label in dict.fromkeys(one.label for one in results.protected):
        own = [one for one in results.protected if one.label == label]
        found: list[list[ProtectedPhoto]] = []
        for one in sorted(own, key=lambda each: len(each.modes), reverse=True):
            kind = next((each for each in found if {*one.modes} <= {*each[0].modes}), None)
            if kind is None:
                found.append([one])
            else:
                kind.append(one)
        kinds += found
    return kinds


def _visible(protected: Sequence[ProtectedPhoto]) -> Visible:
    photos = [one.photo for one in protected]
    metrics = {}
    for name in dict.fromkeys(name for one in protected for name in one.visible):
        known = [
            (p, v)
            for p, one in zip(photos, protected, strict=True)
            if (v := one.visible.get(name)) is not None
        ]
        if known:
            values = np.array([capped(value, name) for _, value in known])
            metrics[name] = bootstrap(values, groups=[photo for photo, _ in known])
    figures = {}
    for name in dict.fromkeys(name for one in protected for name in one.figures):
        found = [v for one in protected if (v := one.figures.get(name)) is not None]
        if found:
            figures[name] = float(np.mean(found))
    return Visible(protected[0].label, protected[0].modes, metrics, figures, len(protected))


def _set_distances(cases: Sequence[Case], label: str) -> SetDistances | None:
    pairs = [
        (case.clean_features, case.features)
        for case in cases
        if case.clean_features is not None and case.features is not None
    ]
    if len(pairs) < 10:
        return None
    clean, made = (np.stack(side) for side in zip(*pairs, strict=True))
    precision, recall = precision_recall(clean, made)
    return SetDistances(
        label,
        len(pairs),
        frechet_distance(clean, made) if len(pairs) >= FRECHET_LEAST else None,
        kernel_distance(clean, made),
        precision,
        recall,
    )
