"""Read this first: a photo and a recipe in, an immunized photo out, verified as a file.

photo -> budget and mask -> model -> objective -> optimiser -> rounding -> file -> measured
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Generator

from photovax.attack.objectives import OBJECTIVES
from photovax.attack.optimise import Descent, Step, pgd
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim, aimed
from photovax.errors import UsageError
from photovax.immunized import Found, Immunized, Saved
from photovax.machine.allocator import kept_memory, returned_memory
from photovax.machine.device import pick_device
from photovax.machine.host import own_settings
from photovax.machine.plan import MemoryPlan
from photovax.machine.precision import Precision, quick_passes
from photovax.metrics.cvvdp import load_cvvdp
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.contracts import Autoencoder
from photovax.models.surrogates import Surrogates
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo
from photovax.saving import save

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

    def only(self, models: Sequence[str]) -> Immunizer:
        """An immunizer of some of these models, which both share: nothing is loaded again."""
        some = copy(self)
        some._surrogates = self._surrogates.only(models)
        some.models = list(some._surrogates.autoencoders.values())
        return some

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
        descent = self._descent(problem, None if seconds is None else began + seconds, callback)
        found = Found(problem, descent, began=began, saver=self)
        if aim is None:
            return found.at(1.0)
        share = aimed(
            aim,
            passes=lambda share: found.passes(share, self._surrogates.autoencoders, self.device),
            unseen=lambda share: found.unseen(share, aim.jod or 0),
        )
        return replace(found.at(1.0 if share is None else share), reached=share is not None)

    def _descent(
        self, problem: Problem, ends: float | None, callback: Callable[[Step], None] | None
    ) -> Descent:
        """The descent on all models, within memory and until a time of ``time.perf_counter``."""
        objective = OBJECTIVES.create(problem.recipe.objective)
        # All are loaded before any is measured, so that each is measured beside the others.
        attacked = self._surrogates.attacked(objective.needs)
        roomy = problem.fit(self._plan, attacked, objective, compared=self._quick is not None)
        losses = problem.losses(attacked, objective)
        seconds = None if ends is None else max(1e-3, ends - time.perf_counter())
        # What is kept lies in pieces, so a process holds more than its tensors need.
        with kept_memory() if self.memory is None and roomy else returned_memory():
            return pgd(
                losses,
                problem.scene.origin,
                problem.working_constraint(),
                problem.steps(objective, seconds=seconds),
                generator=Generator(self.device).manual_seed(problem.recipe.seed),
                quick=self._quick,
                callback=callback,
            )

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
        digests = self.digests(result.recipe)
        return save(
            result, path, self.models, digests, self.device, memory=self.memory, overwrite=overwrite
        )
