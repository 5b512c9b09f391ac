"""Results of an evaluation, edit by edit and photo by photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photovax.evaluation.plan import Asked, Plan

__all__ = ["Case", "ProtectedPhoto", "Results"]

_LEADING = ("lpips", "lite0", "ssim", "psnr")


@dataclass(frozen=True, eq=False)
class Case:
    """One edit of one immunized photo, compared with the same edit of the original.

    Both were purified in the same way before, so that they differ by the immunization alone.

    Attributes:
        photo: File name.
        label: Label of the recipe or the noise.
        purification: Purification before the edit.
        asked: The kind of edit.
        prompt: Prompt for this photo.
        seed: Seed of the edit.
        key: Key that the result is stored under.
        floor: Key of the case with random noise to compare with; None for noise.
        between: Pair metrics of the edit of the original and this edit.
        follows: Scores of how well this edit follows the request.
        wanted: The same scores of the edit of the original.
        features: Features of this edit, or None.
        clean_features: Features of the edit of the original, or None.
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
    """One immunized or noisy photo as saved, compared with the original.

    Attributes:
        photo: File name.
        label: Label of the recipe or the noise.
        modes: Ways of editing that it was made for.
        file: The saved photo.
        original: File of the original.
        levels: Largest allowed change, in 8-bit levels; None for l2.
        figures: Figures such as linf, l2, shift, seconds and passes.
        visible: Pair metrics of the original and this photo.
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
    """The results of an evaluation.

    Attributes:
        plan: The plan.
        cases: Results of all edits.
        protected: Results of all immunized and noisy photos.
        unchanged: SSIM of the originals and their edits, by the name of the edit.
        repainted: Share of the photo that is repainted, by photo and inpainting edit.
        metric_labels: Labels of metrics, by name.
        higher_is_closer: Whether a metric measures similarity, by name.
        between: Metrics that compare edits; others compare only the photos.
        left_out: Reasons for missing metrics and edits, by name.
        failures: Errors, by photo and recipe.
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

    @property
    def leading(self) -> str:
        """The metric that measures survival and selects pictures: the first that is available."""
        return next(name for name in (*_LEADING, *self.between) if name in self.between)
