"""Read this first: a photo and a recipe in, an immunized photo out, verified as a file.

photo -> budget and mask -> model -> objective -> optimiser -> rounding -> file -> measured
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from photovax.attack.decoded_jpeg import within_jpeg
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.optimise import Descent, Step, Steps, pgd
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.attack.rounding import round_within
from photovax.attack.strength import Aim, aimed
from photovax.checking import Verdict, check_models, weakest
from photovax.errors import BudgetExceeded, MetricUnavailable, UsageError, first_line
from photovax.immunized import Immunized, Saved, check_promises, measured, write_record
from photovax.machine.allocator import kept_memory, returned_memory
from photovax.machine.device import pick_device
from photovax.machine.host import own_settings
from photovax.machine.plan import MemoryPlan
from photovax.machine.precision import Precision, quick_passes
from photovax.metrics.cvvdp import load_cvvdp
from photovax.metrics.visibility import jod
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.contracts import Autoencoder
from photovax.models.surrogates import Surrogates
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.types import JPEG_SUFFIXES
from photovax.pictures.write import write_photo

__all__ = ["Immunizer"]


class Immunizer:
    """Models, loaded once, for any number of photos.

    Args:
        models: Catalogue names or folders. Every step goes through all of them, one after the
            other, and gives each the same weight, whatever the scale of its loss.
        weights: Where to look for weights that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        memory: Memory limit of the process in bytes, on a CPU; all that the system has left when
            None. What would take more is done in a way that takes less memory and more time; what
            would still take more than the limit is refused.
        precision: Number format of the passes: ``auto``, ``bfloat16`` or ``float32``. With
            ``bfloat16``, steps are computed in it as long as their gradients point as those in
            float32 do; ``auto`` does so only where the device has instructions for it. Everything
            that is measured is measured in float32.

    Attributes:
        device: The device.
        memory: The memory limit.
        models: The models' autoencoders.

    Raises:
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
        UsageError: If the device is not there, memory is limited on a device that is no CPU, two
            models have one folder name, or there is no such precision.
    """

    @own_settings()
    def __init__(
        self,
        models: Sequence[str] | str = (DEFAULT_MODEL,),
        *,
        weights: str | Path | None = None,
        device: str = "auto",
        memory: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.device = pick_device(device)
        self._quick = quick_passes(precision, self.device)
        self.memory = memory
        if memory is not None and self.device.type != "cpu":
            raise UsageError(f"memory can be limited on the cpu only, not on {self.device.type}")
        self._plan = MemoryPlan(memory, limited=self.device.type == "cpu")
        names = [models] if isinstance(models, str) else models
        place = None if weights is None else Path(weights)
        self._surrogates = Surrogates(names, device=self.device, weights=place)
        self.models: list[Autoencoder] = list(self._surrogates.autoencoders.values())

    @own_settings()
    def immunize(
        self,
        photo: Photo,
        recipe: Recipe,
        *,
        mask: np.ndarray | None = None,
        aim: Aim | None = None,
        seconds: float | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Immunized:
        """Immunize a photo at its own size.

        Args:
            photo: What ``read_photo`` gave.
            recipe: A preset or your own.
            mask: Pixels that may change, bool (H, W); all when None.
            aim: What decides the strength; the recipe's radius when None. The recipe of the answer
                has the radius that was found.
            seconds: Time in which to take as many steps as fit, instead of the recipe's number;
                the result then depends on the machine.
            callback: Called after every step.

        Raises:
            UsageError: If the mask does not fit, no pixel is visible, or it would take more memory
                than is allowed.
            OptimiserError: If the loss or its gradient is of no use.
            BudgetExceeded: If nothing of the change is left in 8 bits.
            MetricUnavailable: If the aim is in JOD, and the package that measures it is missing.
            KeyboardInterrupt: If interrupted before the first step; later, the best so far is
                returned.
        """
        began = time.perf_counter()
        if aim is not None and aim.jod is not None:
            load_cvvdp()  # before the work, or it would be for nothing
        problem = Problem(photo, recipe, mask, self.models, self.device)
        descent = self._descent(problem, began=began, seconds=seconds, callback=callback)
        x = problem.enlarged(descent.x)

        def made(share: float) -> Immunized:
            """The answer with a share of the change, which may be above 1."""
            chosen = recipe if share == 1 else recipe.with_radius(share * recipe.radius)
            constraint = problem.constraint(chosen)
            scaled = x
            if share != 1:
                scaled = constraint.project(torch.lerp(problem.origin, x, share), problem.origin)
            levels = _pixels(round_within(scaled, problem.origin, constraint))
            allowed = problem.allowed
            if not allowed.all():
                # Also puts back the colour under full transparency, which models never saw.
                levels = np.where(allowed[..., None], levels, photo.pixels)
            return Immunized(
                photo=photo.with_pixels(levels),
                original=photo,
                allowed=allowed,
                recipe=chosen,
                constraint=problem.saved_constraint(chosen),
                loss=descent.losses.item(),
                steps=descent.steps,
                passes=descent.passes,
                quick_steps=descent.quick_steps,
                stopped=descent.stopped,
                seconds=time.perf_counter() - began,
                saver=self,
            )

        if aim is None:
            return made(1.0)
        share = aimed(
            aim,
            passes=lambda share: self._passes(made, share),
            unseen=lambda share: _unseen(made, share, aim.jod or 0),
        )
        return replace(made(1.0 if share is None else share), reached=share is not None)

    def _descent(
        self,
        problem: Problem,
        *,
        began: float,
        seconds: float | None,
        callback: Callable[[Step], None] | None,
    ) -> Descent:
        """The descent on all models, within memory."""
        recipe = problem.recipe
        objective = OBJECTIVES.create(recipe.objective)
        # All are loaded before any is measured, so that each is measured beside the others.
        attacked = self._surrogates.attacked(objective.needs)
        copies = problem.copies(compared=self._quick is not None)
        asked = (repr(recipe.objective), recipe.kept_region_only, problem.scene.repaint is not None)
        roomy = [
            self._plan.fit(
                (model.name, *asked),
                copies,
                name=model.name,
                sides=problem.largest_fed(number),
                probe=partial(problem.scene.bytes_per_pixel, surrogate, model, objective),
                recompute=surrogate.recompute,
            )
            for number, (model, surrogate) in enumerate(zip(self.models, attacked, strict=True))
        ]
        losses = problem.losses(attacked, objective)
        left = None if seconds is None else max(1e-3, seconds - time.perf_counter() + began)
        steps = Steps(
            recipe.steps,
            recipe.step_size,
            schedule=recipe.schedule,
            momentum=recipe.momentum,
            adaptivity=recipe.adaptivity,
            draws=recipe.draws,
            random=objective.random or problem.random,
            random_start=recipe.random_start,
            patience=recipe.patience,
            seconds=left,
        )
        # What is kept lies in pieces, so a process holds more than its tensors need.
        with kept_memory() if self.memory is None and all(roomy) else returned_memory():
            return pgd(
                losses,
                problem.scene.origin,
                problem.working_constraint(),
                steps,
                generator=Generator(self.device).manual_seed(recipe.seed),
                quick=self._quick,
                callback=callback,
            )

    def _passes(self, made: Callable[[float], Immunized], share: float) -> bool:
        """Whether a share of the change gives every model the verdict PASS."""
        try:
            result = made(share)
        except BudgetExceeded:  # so little rounds to nothing
            return False
        found = check_models(
            result.original.visible(),
            result.photo.visible(),
            self._surrogates.autoencoders,
            largest=result.largest,
            device=self.device,
            size=result.recipe.size,
        )
        return weakest(found) is Verdict.PASS

    def digests(self, recipe: Recipe) -> list[str]:
        """SHA-256 of the weights that a recipe attacks, for each model.

        Raises:
            ModelError: If the recipe needs more of a model than there is.
        """
        objective = OBJECTIVES.create(recipe.objective)
        return [each.digest for each in self._surrogates.attacked(objective.needs)]

    @own_settings()
    def save(
        self, result: Immunized, path: str | Path | Destination, *, overwrite: bool = False
    ) -> Saved:
        """Write the photo, reopen it, check every promise, measure, and write the record beside it.

        Nothing is left on disk when a promise is broken.

        Args:
            result: What ``immunize`` gave.
            path: The file, or its ``Destination`` if that was checked before the work.
            overwrite: Whether files that exist may be replaced; a ``Destination`` says so itself.

        Raises:
            BudgetExceeded: If the reopened file changes more, or elsewhere, than allowed.
            OutputExists: If the photo or its record is there and must not be replaced.
            SaveError: If it cannot be written, or the file type cannot hold the photo.
            MetricUnavailable: If memory ran out while it was measured. The photo is there then and
                keeps its promises, without a record.
        """
        if isinstance(path, Destination):
            destination = path
        else:
            destination = Destination(Path(path), overwrite)
            destination.check()
            destination.check_fits(result.photo, masked=not result.allowed.all())
        asked = result.photo
        if destination.suffix in JPEG_SUFFIXES:
            pixels = within_jpeg(asked.pixels, result.original.pixels, result.constraint)
            asked, shown = (result.photo.with_pixels(each) for each in pixels)
            result = replace(result, photo=shown)

        def verify(written: Path) -> None:
            most = result.photo.height * result.photo.width
            check_promises(result, read_photo(written, max_pixels=most))

        write_photo(asked, destination, verify=verify)
        try:
            saved = measured(result, destination, self.models, self.device, memory=self.memory)
        except (MemoryError, RuntimeError) as error:
            raise MetricUnavailable(
                f"{destination.path} is written and keeps its promises, but it could not be "
                f"measured: {first_line(error)}"
            ) from error
        names = [model.name for model in self.models]
        digests = dict(zip(names, self.digests(result.recipe), strict=True))
        write_record(result, saved, digests, self.device, destination)
        return saved


def _pixels(levels: Tensor) -> np.ndarray:
    """The first of uint8 images (N, C, H, W), as pixels (H, W, C)."""
    pixels: np.ndarray = levels[0].permute(1, 2, 0).cpu().numpy()
    return pixels


def _unseen(made: Callable[[float], Immunized], share: float, least: float) -> bool:
    """Whether a share of the change has so many JOD or more."""
    try:
        result = made(share)
    except BudgetExceeded:
        return True
    found = jod(result.original.visible(), result.photo.visible())
    return found is None or found >= least
