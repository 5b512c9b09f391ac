"""The result of an immunization, at any strength of the change that the descent found."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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
from photovax.attack.strength import MOST, Aim, aimed
from photovax.checks.check import check_saved
from photovax.checks.survival import Survival
from photovax.checks.verdicts import ModelCheck, Verdict, weakest
from photovax.errors import BudgetExceeded, MetricUnavailable, UsageError, first_line
from photovax.metrics.distortion import Visibility
from photovax.metrics.latent import LatentEffect
from photovax.metrics.visibility import VisibleDifference, jod
from photovax.models.contracts import Autoencoder
from photovax.pictures.compression import Compression
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo

__all__ = ["Found", "Immunized", "Saved", "Saver"]


class Saver(Protocol):
    """Saves and measures results; see ``photovax.immunizer.Immunizer``."""

    def save(
        self, result: Immunized, path: Destination, *, survival: bool = False, measure: bool = True
    ) -> Saved:
        """Write the photo, verify it, measure it, and write its record next to it."""
        ...


@dataclass(frozen=True, eq=False)
class Immunized:
    """An immunized photo, and the settings and figures of its immunization.

    Attributes:
        photo: Immunized photo, 8-bit, exactly as it is saved without loss, or before compression.
        original: Original photo.
        allowed: Pixels that were allowed to change, bool (H, W).
        recipe: Recipe, with the radius that was used.
        constraint: Set of images that the budget allows for this photo, on the CPU.
        loss: Final loss before rounding, the mean over views and models.
        steps: Number of steps taken.
        passes: Number of forward and backward passes through a model.
        networks: SHA-256 of the perturbation networks that gave the start, by the name of the
            model.
        quick_steps: Number of steps whose gradient was computed in bfloat16.
        stopped: Reason of the end: ``done``, ``plateau`` or ``interrupted``.
        seconds: Duration of the immunization, in seconds.
        saver: Immunizer that made the photo and can save it.
        missed: Why the goal of the strength was not reached, and what strength was used instead;
            empty if it was.
        compression: Compression of the lossy file to save it to, which the change is made to
            survive; None to keep the budget in the file.
        source: File of the original, which ``save`` never replaces; None where it has none.
    """

    photo: Photo
    original: Photo
    allowed: np.ndarray
    recipe: Recipe
    constraint: Constraint
    loss: float
    steps: int
    passes: int
    networks: Mapping[str, str]
    quick_steps: int
    stopped: str
    seconds: float
    saver: Saver = field(repr=False)
    missed: str = ""
    compression: Compression | None = None
    source: Path | None = None

    @property
    def masked(self) -> bool:
        """Whether a mask kept pixels, other than transparent ones, from changing."""
        return bool((~self.allowed & self.original.opaque).any())

    @property
    def reached(self) -> bool:
        """Whether the goal of the strength was reached."""
        return not self.missed

    @property
    def image(self) -> Image.Image:
        """The immunized photo as a Pillow image, with its colour profile, EXIF and XMP."""
        return self.photo.to_image()

    def save(
        self,
        path: str | Path,
        *,
        overwrite: bool = False,
        survival: bool = False,
        measure: bool = True,
    ) -> Saved:
        """Write and verify the photo, and write its record; see ``Immunizer.save``."""
        destination = Destination(Path(path), overwrite, self.source)
        destination.check()
        destination.check_fits(self.photo, masked=self.masked, compression=self.compression)
        return self.saver.save(self, destination, survival=survival, measure=measure)

    @cached_property
    def shown(self) -> Photo:
        """The immunized photo as a file with its compression shows it."""
        return self.photo if self.compression is None else self.photo.compressed(self.compression)

    @property
    def largest(self) -> int:
        """The largest change of any visible channel before compression, in 8-bit levels."""
        before, after = self.original.visible(), self.photo.visible()
        return int(np.abs(after.astype(np.int16) - before).max())


@dataclass(frozen=True)
class Compressed:
    """What compression does to a saved photo, in addition to the change that was asked for.

    Attributes:
        compression: Settings of the file.
        asked: Distortion before compression, which the budget bounds.
        alone: Distortion of the untouched photo by the same compression.
    """

    compression: Compression
    asked: Visibility
    alone: Visibility

    def figures(self) -> dict[str, object]:
        """All figures for JSON."""
        return {
            "settings": self.compression.label,
            "asked": self.asked.figures(),
            "alone": self.alone.figures(),
        }

    @property
    def line(self) -> str:
        """The figures in words."""
        return (
            f"{self.compression.label}: {self.asked.linf} of 255 levels at most before it; it "
            f"alone changes the original by {self.alone.linf}"
        )


@dataclass(frozen=True)
class Saved:
    """A saved photo and the measurements of its file.

    Attributes:
        path: File of the photo.
        record: JSON file next to it.
        notes: Lines, one for each property of the original that the file does not keep, and one
            where a strength that was asked for was not reached, or what was asked for could not be
            measured.
        visible: Distortion of the photo: norms, PSNR and SSIM.
        seen: Visibility of the change: JOD of ColorVideoVDP (arXiv 2401.11485) and FLIP (doi
            10.1145/3406183).
        effects: Effect on the latents of each model, by its name, at the size that the recipe uses;
            empty if only the budget was verified.
        compressed: What compression did; None if the file keeps the budget.
        survival: What common treatments leave of the effect; None if it was not asked for.
        checks: What ``photovax check`` finds on each model, by its name; None if not asked for.
    """

    path: Path
    record: Path
    notes: tuple[str, ...]
    visible: Visibility
    seen: VisibleDifference
    effects: dict[str, LatentEffect]
    compressed: Compressed | None = None
    survival: Survival | None = None
    checks: Mapping[str, ModelCheck] | None = None


class Found:
    """The change that a descent found, which can be applied at any strength.

    Args:
        problem: Photo, recipe and models.
        descent: Result of the descent, whose images are modified in place.
        networks: SHA-256 of the networks that gave the start, by the name of the model.
        began: Time of ``time.perf_counter`` at which the work began.
        saver: Immunizer that can save the result.
        memory: Memory limit of the process in bytes; all that the system has left when None.
    """

    def __init__(
        self,
        problem: Problem,
        descent: Descent,
        *,
        networks: Mapping[str, str],
        began: float,
        saver: Saver,
        memory: int | None = None,
    ) -> None:
        self._problem, self._descent, self._began, self._saver = problem, descent, began, saver
        self._networks, self._memory = networks, memory
        self._x = problem.enlarged(descent.x)

    @property
    def most(self) -> float:
        """The largest share that the recipe's budget can be scaled by, at most ``MOST``."""
        recipe, share = self._problem.recipe, MOST
        while share > 1:
            try:
                recipe.with_radius(share * recipe.radius)
            except UsageError:  # as linf above 255 levels
                share *= 0.9
            else:
                return share
        return 1.0

    def at(self, share: float) -> Immunized:
        """The result with a share of the change.

        Args:
            share: Factor of the change and of the budget's radius, above 0; it may be above 1.

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
            # Also restores the colours under full transparency, which models are not fed.
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
            networks=self._networks,
            quick_steps=self._descent.quick_steps,
            stopped=self._descent.stopped,
            seconds=time.perf_counter() - self._began,
            saver=self._saver,
            compression=problem.compression,
        )

    def aimed(
        self, aim: Aim | None, models: Mapping[str, Autoencoder], device: torch.device
    ) -> Immunized:
        """The result at the strength that reaches a goal.

        If none does it is as strong as the least visibility in JOD allows, or as the recipe says
        where that cannot be kept or measured.

        Args:
            aim: Goal; none when None.
            models: Autoencoders by the name of the model.
            device: Device of the models.
        """
        if aim is None:
            return self.at(1.0)
        try:
            share, reached = aimed(
                aim,
                passes=lambda share: self.passes(share, models, device),
                unseen=lambda share: self.unseen(share, aim.jod or 0),
                most=1.0 if aim.within else self.most,
            )
        except MetricUnavailable as error:  # which must not throw away the work
            return replace(
                self.at(1.0), missed=f"{first_line(error)}; the recipe's strength is used"
            )
        if share is not None and reached:
            return self.at(share)
        if share is not None:
            missed = f"no strength that keeps {aim.jod:g} JOD passes"
            return replace(self.at(share), missed=f"{missed}; the strongest that keeps it is used")
        if aim.jod is None:
            missed = f"no {'smaller ' if aim.within else ''}strength passes"
        elif self._problem.compression is None:
            missed = f"no strength keeps {aim.jod:g} JOD"
        else:
            label = self._problem.compression.label
            missed = f"no strength keeps {aim.jod:g} JOD after {label}"
        return replace(self.at(1.0), missed=f"{missed}; the recipe's is used")

    def passes(self, share: float, models: Mapping[str, Autoencoder], device: torch.device) -> bool:
        """Whether a share of the change gets the verdict PASS for every model.

        Args:
            share: Factor of the change.
            models: Autoencoders by the name of the model.
            device: Device of the models.
        """
        try:
            result = self.at(share)
        except BudgetExceeded:  # so small a change rounds to zero
            return False
        found = check_saved(
            result.shown, result.original, models, device=device, size=result.recipe.size
        )
        return weakest(found) is Verdict.PASS

    def unseen(self, share: float, least: float) -> bool:
        """Whether a share of the change has ``least`` JOD or more as its file shows it.

        Raises:
            MetricUnavailable: If there is too little memory by now.
        """
        original, compression = self._problem.photo, self._problem.compression
        try:
            shown = self.at(share).shown
        except BudgetExceeded:  # so small a change rounds to zero
            shown = original if compression is None else original.compressed(compression)
        found = jod(original.visible(), shown.visible(), memory=self._memory)
        return found is not None and found >= least


def _pixels(levels: Tensor) -> np.ndarray:
    """The first image of a batch, uint8 (N, C, H, W), as pixels (H, W, C)."""
    pixels: np.ndarray = levels[0].permute(1, 2, 0).cpu().numpy()
    return pixels
