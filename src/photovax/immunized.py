"""The answer of an immunization, at any strength along the way that the descent found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from photovax.attack.budgets import Constraint
from photovax.attack.optimise import Descent
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.attack.rounding import round_within
from photovax.checking import Verdict, check_models, weakest
from photovax.errors import BudgetExceeded
from photovax.metrics.distortion import Visibility
from photovax.metrics.latent import LatentEffect
from photovax.metrics.visibility import VisibleDifference, jod
from photovax.models.contracts import Autoencoder
from photovax.pictures.photo import Photo

__all__ = ["Found", "Immunized", "Saved", "Saver"]


class Saver(Protocol):
    """Writes and measures answers; see ``photovax.immunizer.Immunizer``."""

    def save(self, result: Immunized, path: str | Path, *, overwrite: bool = False) -> Saved:
        """Write the photo, verify it, measure it, and write its record beside it."""
        ...


@dataclass(frozen=True, eq=False)
class Immunized:
    """The answer, with what is needed to check and repeat it.

    Attributes:
        photo: The immunized photo, 8-bit, exactly as it is saved.
        original: The photo that was given.
        allowed: Pixels that were allowed to change, bool (H, W).
        recipe: How it was made.
        constraint: The set of changes that its budget allows to this photo, on the CPU.
        loss: Final loss, mean over views and models, before rounding.
        steps: Steps taken.
        passes: Forward and backward passes through a model.
        quick_steps: Steps whose gradient was computed in bfloat16.
        stopped: ``done``, ``plateau`` or ``interrupted``.
        seconds: Time that it took.
        saver: What made it, with its models loaded, and saves it.
        reached: Whether the strength is what was aimed at; if not, it is the recipe's.
    """

    photo: Photo
    original: Photo
    allowed: np.ndarray
    recipe: Recipe
    constraint: Constraint
    loss: float
    steps: int
    passes: int
    quick_steps: int
    stopped: str
    seconds: float
    saver: Saver = field(repr=False)
    reached: bool = True

    @property
    def image(self) -> Image.Image:
        """The immunized photo as a Pillow image, with its colour profile, EXIF and XMP."""
        return self.photo.to_image()

    def save(self, path: str | Path, *, overwrite: bool = False) -> Saved:
        """Write and verify the photo, and its record beside it; see ``Immunizer.save``."""
        return self.saver.save(self, path, overwrite=overwrite)

    @property
    def largest(self) -> int:
        """Largest change of any visible channel, in 8-bit levels."""
        before, after = self.original.visible(), self.photo.visible()
        return int(np.abs(after.astype(np.int16) - before).max())


@dataclass(frozen=True)
class Saved:
    """A saved photo, and what was measured on the file.

    Attributes:
        path: The photo.
        record: The JSON file beside it.
        visible: How far the two are apart.
        seen: How visible that is.
        effects: What it does to each model, at the size the recipe feeds it.
    """

    path: Path
    record: Path
    visible: Visibility
    seen: VisibleDifference
    effects: dict[str, LatentEffect]


class Found:
    """A change that a descent found, which can be made at any strength.

    Args:
        problem: The photo and what may change of it.
        descent: Where the descent ended.
        began: Time at which the work began, by ``time.perf_counter``.
        saver: What saves the answer.
    """

    def __init__(self, problem: Problem, descent: Descent, *, began: float, saver: Saver) -> None:
        self._problem, self._descent, self._began, self._saver = problem, descent, began, saver
        self._x = problem.enlarged(descent.x)

    def at(self, share: float) -> Immunized:
        """The answer with a share of the change, which may be above 1.

        Raises:
            BudgetExceeded: If nothing of the change is left in 8 bits.
        """
        problem, photo, recipe = self._problem, self._problem.photo, self._problem.recipe
        chosen = recipe if share == 1 else recipe.with_radius(share * recipe.radius)
        constraint = problem.constraint(chosen)
        scaled = self._x
        if share != 1:
            moved = torch.lerp(problem.origin, self._x, share)
            scaled = constraint.project(moved, problem.origin)
        levels = _pixels(round_within(scaled, problem.origin, constraint))
        if not problem.allowed.all():
            # Also puts back the colour under full transparency, which models never saw.
            levels = np.where(problem.allowed[..., None], levels, photo.pixels)
        return Immunized(
            photo=photo.with_pixels(levels),
            original=photo,
            allowed=problem.allowed,
            recipe=chosen,
            constraint=problem.saved_constraint(chosen),
            loss=self._descent.losses.item(),
            steps=self._descent.steps,
            passes=self._descent.passes,
            quick_steps=self._descent.quick_steps,
            stopped=self._descent.stopped,
            seconds=time.perf_counter() - self._began,
            saver=self._saver,
        )

    def passes(self, share: float, models: Mapping[str, Autoencoder], device: torch.device) -> bool:
        """Whether a share of the change gives every model the verdict PASS."""
        try:
            result = self.at(share)
        except BudgetExceeded:  # so little rounds to nothing
            return False
        before, after = result.original.visible(), result.photo.visible()
        found = check_models(
            before, after, models, largest=result.largest, device=device, size=result.recipe.size
        )
        return weakest(found) is Verdict.PASS

    def unseen(self, share: float, least: float) -> bool:
        """Whether a share of the change has so many JOD or more."""
        try:
            result = self.at(share)
        except BudgetExceeded:
            return True
        found = jod(result.original.visible(), result.photo.visible())
        return found is None or found >= least


def _pixels(levels: Tensor) -> np.ndarray:
    """The first of uint8 images (N, C, H, W), as pixels (H, W, C)."""
    pixels: np.ndarray = levels[0].permute(1, 2, 0).cpu().numpy()
    return pixels
