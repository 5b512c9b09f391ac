"""Read this first: immunization of a photo by a recipe, verified on the saved file.

photo -> budget and mask -> model -> objective -> optimiser -> rounding -> file -> measurements
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Generator, Tensor

from photovax.attack.losses import score
from photovax.attack.networks.files import networks_of
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.optimise import Descent, Step, pgd
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim, aimed
from photovax.errors import UsageError, ZeroGradient
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
from photovax.pictures.compression import HIGHER_QUALITY, Compression
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo
from photovax.saving import save

__all__ = ["Immunizer"]


class Immunizer:
    """Immunizes any number of photos with models that are loaded once.

    Args:
        models: Catalogue names or folders; a string is one model. Every step uses all models, one
            after the other, and gives each the same weight, whatever the scale of its loss.
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks of these models, as ``photovax train-immunizer``
            writes them, in addition to those that ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        memory: Memory limit of the process in bytes, on a CPU only; all that the system has left
            when None. Models that would exceed it recompute activations, which takes more time.
        precision: Number format of the passes: ``auto``, ``bfloat16`` or ``float32``. With
            ``bfloat16``, networks use it, and steps do while their gradients have a cosine
            similarity of 0.99 or more with those in float32; ``auto`` does so only if the device
            has instructions for it. All measurements are in float32.

    Attributes:
        device: Device of the models.
        memory: Memory limit of the process in bytes, or None.
        models: Autoencoders of the models.

    Raises:
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded, or a network is of none of the models.
        UsageError: If the device is not available, memory is limited on a device other than a CPU,
            two folders have the same name, or there is no such precision.
    """

    @own_settings()
    def __init__(
        self,
        models: Sequence[str] | str = (DEFAULT_MODEL,),
        *,
        weights: str | Path | None = None,
        networks: Sequence[str | Path] = (),
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
        if not models:
            raise UsageError("an immunizer needs at least one model, got none")
        place = None if weights is None else Path(weights)
        self._surrogates = Surrogates(models, device=self.device, weights=place)
        self.models: list[Autoencoder] = list(self._surrogates.autoencoders.values())
        self._networks = networks_of(self.models, [Path(file) for file in networks], self.device)

    def only(self, models: Sequence[str]) -> Immunizer:
        """An immunizer with a subset of these models, which shares the loaded weights."""
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
        compression: Compression | None = None,
        seconds: float | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Immunized:
        """Immunize a photo at its own size.

        Args:
            photo: Photo, for example from ``read_photo``.
            recipe: Recipe, such as a preset.
            mask: Pixels that may change, bool (H, W); all when None.
            aim: Goal that decides the strength; the recipe's radius does when None. The recipe of
                the result has the radius that was found.
            compression: Compression of the JPEG or WebP file that the result will be saved to. The
                change is then made to survive it, and the budget bounds the change before it. None
                keeps the budget in the saved file.
            seconds: Time limit in seconds, used instead of the recipe's number of steps. The result
                then depends on the machine.
            callback: Function called after every step.

        Returns:
            The immunized photo; if interrupted by Ctrl-C after the first step, the best so far.

        Raises:
            UsageError: If the mask is missing or does not fit, no pixel may change, or memory would
                exceed the limit.
            ModelError: If the recipe needs a part of a model that is not available.
            OptimiserError: If a loss has a wrong shape, or its gradient is not finite or zero.
            BudgetExceeded: If nothing of the change is left in 8 bits.
            MetricUnavailable: If the goal is in JOD and the package that measures it is missing.
            KeyboardInterrupt: If interrupted before the first step was done.
        """
        began = time.perf_counter()
        if aim is not None and aim.jod is not None:
            load_cvvdp()  # fails before the work if the package is missing
        problem = Problem(photo, recipe, mask, self.models, self.device, compression)
        descent = self._descent(problem, None if seconds is None else began + seconds, callback)
        found = Found(problem, descent, networks=self.networks(recipe), began=began, saver=self)
        if aim is None:
            return found.at(1.0)
        share = aimed(
            aim,
            passes=lambda share: found.passes(share, self._surrogates.autoencoders, self.device),
            unseen=lambda share: found.unseen(share, aim.jod or 0),
            most=found.most,
        )
        return replace(found.at(1.0 if share is None else share), reached=share is not None)

    def _descent(
        self, problem: Problem, ends: float | None, callback: Callable[[Step], None] | None
    ) -> Descent:
        """Run the descent within the memory limit, until ``time.perf_counter`` reaches ``ends``."""
        alone = self.networks(problem.recipe) and problem.recipe.warm == 0
        objective = OBJECTIVES.create(problem.recipe.objective)
        # All models are loaded before memory is measured, so that it includes all of them.
        attacked = self._surrogates.attacked(objective.needs)
        if alone:
            start = self._start(problem)
            assert start is not None  # noqa: S101 - for the type checker: there are networks
            each = [loss.loss for loss in problem.losses(attacked, objective)]
            return Descent(start, score(each, start), 0, 0, 0, "done")
        roomy = problem.fit(self._plan, attacked, objective, compared=self._quick is not None)
        losses = problem.losses(attacked, objective)
        start = self._start(problem)
        seconds = None if ends is None else max(1e-3, ends - time.perf_counter())
        # Kept memory gets fragmented: the process then holds more than its tensors need.
        with kept_memory() if self.memory is None and roomy else returned_memory():
            try:
                return pgd(
                    losses,
                    problem.scene.origin,
                    problem.working_constraint(),
                    problem.steps(objective, seconds=seconds, warm=start is not None),
                    generator=Generator(self.device).manual_seed(problem.recipe.seed),
                    start=start,
                    quick=self._quick,
                    callback=callback,
                )
            except ZeroGradient as error:
                if (rough := problem.scene.compression) is None:
                    raise
                raise ZeroGradient(
                    f"{error}; or nothing of a change is left after {rough.label}",
                    hint=HIGHER_QUALITY,
                ) from error

    def _start(self, problem: Problem) -> Tensor | None:
        """The image that networks estimate; None if the recipe uses none here."""
        if not self.networks(problem.recipe):
            return None
        networks = [self._networks[model.name]().network for model in self.models]
        return problem.start(networks, self._quick)

    def networks(self, recipe: Recipe) -> dict[str, str]:
        """SHA-256 of the networks that a recipe uses with these models, by the name of the model.

        Raises:
            UsageError: If the recipe needs networks, and a model has none.
        """
        if recipe.warm is None:
            return {}
        lacking = [model.name for model in self.models if model.name not in self._networks]
        if lacking and recipe.warm == 0:
            raise UsageError(
                f"the recipe needs a perturbation network of each model; {', '.join(lacking)} has "
                "none",
                hint=f"photovax train-immunizer --model {lacking[0]} makes one for --network, and "
                "--recipe fast needs none",
            )
        if lacking:
            return {}
        return {model.name: self._networks[model.name]().digest for model in self.models}

    def steps(self, recipe: Recipe) -> int:
        """The number of steps that a recipe takes with these models."""
        if not self.networks(recipe):
            return recipe.steps
        return 0 if recipe.warm == 0 else recipe.warmed().steps

    def all_digests(self, recipe: Recipe) -> list[str]:
        """SHA-256 of all weights that decide a result: those attacked, and networks.

        Raises:
            ModelError: If the recipe needs a part of a model that is not available.
            UsageError: If the recipe needs networks, and a model has none.
        """
        return [*self.digests(recipe), *self.networks(recipe).values()]

    def digests(self, recipe: Recipe) -> list[str]:
        """SHA-256 of the weights that a recipe attacks, in hexadecimal digits, for each model.

        Raises:
            ModelError: If the recipe needs a part of a model that is not available.
        """
        objective = OBJECTIVES.create(recipe.objective)
        return [each.digest for each in self._surrogates.attacked(objective.needs)]

    @own_settings()
    def save(
        self,
        result: Immunized,
        path: str | Path | Destination,
        *,
        overwrite: bool = False,
        survival: bool = False,
    ) -> Saved:
        """Write the photo, verify the reopened file, measure it, and write its record next to it.

        No file is left if the verification fails.

        Args:
            result: Result of ``immunize``.
            path: File to write, or a ``Destination`` that is already checked.
            overwrite: Whether existing files may be replaced; a ``Destination`` states it itself.
            survival: Whether to measure what common treatments leave of the effect, too.

        Raises:
            BudgetExceeded: If the reopened file exceeds the budget or changes other pixels.
            OutputExists: If the photo or its record exists and must not be replaced.
            SaveError: If the photo cannot be written, or the file type cannot hold it.
            MetricUnavailable: If memory ran out during the measurements. The photo is then written
                and verified, and its record has no measurements.
        """
        digests = self.digests(result.recipe)
        return save(
            result,
            path,
            self.models,
            digests,
            self.device,
            memory=self.memory,
            overwrite=overwrite,
            survival=survival,
        )
