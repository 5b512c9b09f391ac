"""Warnings to readers of the figures, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from photovax.evaluation.plan import NONE
from photovax.evaluation.results import Results
from photovax.evaluation.tables import ALL, Tables

__all__ = ["Caution", "cautions"]

FEW_SEEDS = 3
FEW_PHOTOS = 20
SAME_EDIT = 0.98


@dataclass(frozen=True)
class Caution:
    """One warning.

    Attributes:
        about: Anchor of the section in docs/checks.md that explains it.
        text: The observation.
    """

    about: str
    text: str


def cautions(results: Results, tables: Tables) -> list[Caution]:
    """All warnings for an evaluation."""
    return [
        *_failures(results),
        *_size_of_sample(results),
        *_nothing_edited(results),
        *_other_edits(results),
        *_over_budget(results),
        *_masks(results),
        *_no_better_than_noise(tables),
        *_follows_better(tables),
    ]


def _failures(results: Results) -> Iterator[Caution]:
    for what, why in results.failures.items():
        about = "zero-gradients" if "gradient" in why else "not-done"
        yield Caution(about, f"{what} failed: {why}")


def _size_of_sample(results: Results) -> Iterator[Caution]:
    photos = len({case.photo for case in results.cases})
    seeds = results.plan.seeds
    if seeds < FEW_SEEDS:
        yield Caution(
            "few-seeds",
            f"fewer than {FEW_SEEDS} seeds ({seeds}): a single draw can mislead",
        )
    if photos < FEW_PHOTOS:
        yield Caution(
            "few-photos",
            f"fewer than {FEW_PHOTOS} photos ({photos}): intervals are rough",
        )


def _nothing_edited(results: Results) -> Iterator[Caution]:
    for name, alike in results.unchanged.items():
        same = sum(value >= SAME_EDIT for value in alike)
        if same:
            yield Caution(
                "nothing-edited",
                f"{name}: {same} of {len(alike)} edits of originals left the photo unchanged: "
                "there was no edit that immunization could disturb",
            )


def _other_edits(results: Results) -> Iterator[Caution]:
    done: dict[str, set[tuple[str, str, int]]] = {}
    for case in results.cases:
        if case.purification == NONE and case.floor is not None:
            done.setdefault(case.label, set()).add((case.photo, case.asked.name, case.seed))
    if len({frozenset(edits) for edits in done.values()}) > 1:
        counts = ", ".join(f"{label} {len(edits)}" for label, edits in done.items())
        yield Caution(
            "other-edits",
            f"recipes were not tried on the same edits of the same photos ({counts}): rows for all "
            "ways of editing together cannot be compared",
        )


def _over_budget(results: Results) -> Iterator[Caution]:
    for one in results.protected:
        realised = one.figures.get("linf")
        if one.levels is not None and realised is not None and realised > one.levels + 1e-3:
            yield Caution(
                "over-budget",
                f"{one.photo}, {one.label}: changed by {realised:g} levels, allowed were "
                f"{one.levels:g}",
            )


def _masks(results: Results) -> Iterator[Caution]:
    for name, share in results.repainted.items():
        if share in (0.0, 1.0):
            extent = "nothing" if share == 0 else "everything"
            yield Caution("mask", f"{name}: the mask repaints {extent}")


def _no_better_than_noise(tables: Tables) -> Iterator[Caution]:
    for row in tables.displacement:
        if row.mode != ALL and row.above is not None and not row.above.low > 0:
            yield Caution(
                "noise-beats-the-recipe",
                f"{row.label}, {row.mode}: by {row.metric}, edits are not reliably further from "
                "the clean edit than with random noise of the same size",
            )


def _follows_better(tables: Tables) -> Iterator[Caution]:
    for row in tables.following:
        if row.above is not None and np.isfinite(row.lost.high) and row.lost.high < 0:
            yield Caution(
                "follows-better",
                f"{row.label}, {row.mode}: edits of immunized photos follow the request better "
                f"({row.score}) than edits of the originals",
            )
