"""What an evaluation found, edit by edit and photo by photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photovax.evaluation.plan import Asked, Plan

__all__ = ["Case", "ProtectedPhoto", "Results"]


@dataclass(frozen=True, eq=False)
class Case:
    """One edit of one photo as the adversary has it, beside the edit of the original.

    Both were purified in the same way first, so that what differs is the immunizing.

    Attributes:
        photo: File name.
        label: The recipe's or the floor's.
        purification: What was done to the photo before the edit.
        asked: Which edit.
        prompt: What it asked of this photo.
        seed: Of the edit.
        key: What it is stored under.
        floor: Key of the case of random noise to compare with; None for noise itself.
        between: Pair metrics, edit of the original against this edit.
        follows: How well this edit did what was asked.
        wanted: How well the edit of the original did.
        features: Of this edit, or None.
        clean_features: Of the edit of the original, or None.
        picture: File of this edit, or None.
        clean_picture: File of the edit of the original.
    """

    photo: str
    label: str
    purification: str
    asked: Asked
    prompt: str
    seed: int
    key: str
    floor: str | None
    between: dict[str, float | None]
    follows: dict[str, float]
    wanted: dict[str, float]
    features: np.ndarray | None
    clean_features: np.ndarray | None
    picture: Path | None
    clean_picture: Path


@dataclass(frozen=True)
class ProtectedPhoto:
    """One immunized (or noisy) photo as saved, beside the original.

    Attributes:
        photo: File name.
        label: The recipe's or the floor's.
        modes: The ways of editing it was made for.
        file: The saved photo.
        original: The photo's own file.
        levels: Largest change asked for, in 8-bit levels; None where the budget bounds another.
        figures: linf, l2, shift, seconds, passes …
        visible: Pair metrics, original against this.
    """

    photo: str
    label: str
    modes: tuple[str, ...]
    file: Path
    original: Path
    levels: float | None
    figures: dict[str, float | None]
    visible: dict[str, float | None]


@dataclass(frozen=True)
class Results:
    """What an evaluation found.

    Attributes:
        plan: What was to be done.
        cases: All edits.
        protected: All immunized and noisy photos.
        unchanged: For every edit's name, SSIM of the fed photos and their edits.
        repainted: For every photo and inpainting edit, the share of the photo that is repainted.
        metric_labels: Metric to its label.
        higher_is_closer: Metric to whether more of it means more alike.
        between: Metrics of edits; the others say how visible the change to the photo is.
        left_out: Metric or edit to the reason why it is missing.
        failures: Photo and recipe to the error.
    """

    plan: Plan
    cases: list[Case]
    protected: list[ProtectedPhoto]
    unchanged: dict[str, list[float]]
    repainted: dict[str, float]
    metric_labels: dict[str, str]
    higher_is_closer: dict[str, bool]
    between: tuple[str, ...]
    left_out: dict[str, str]
    failures: dict[str, str]
