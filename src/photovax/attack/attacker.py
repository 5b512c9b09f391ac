"""The descent on a photo by models that stay loaded: its start, precision, memory and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import copy
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor

from photovax.attack.losses import score
from photovax.attack.networks.files import networks_of
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.optimise import Descent, Step, pgd
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.errors import UsageError, ZeroGradient
from photovax.machine.allocator import kept_memory, returned_memory
from photovax.machine.device import free_bytes
from photovax.machine.plan import MemoryPlan
from photovax.machine.precision import Precision, quick_passes
from photovax.models.contracts import Autoencoder
from photovax.models.precision import quick_passes_of
from photovax.models.surrogates import Surrogates
from photovax.pictures.compression import HIGHER_QUALITY

__all__ = ["Attacker"]


class Attacker:
    """Attacks models with any number of photos, and loads the models once.

    Args:
        models: Catalogue names or folders; a string is one model.
        device: Device of the models.
        weights: Folder of weights that do not ship with photovax.
        networks: Files of perturbation networks, in addition to those that ship with photovax.
        memory: Memory limit of the process in bytes, on a CPU only; all that the system has left
            when None.
        precision: Number format of the passes; see ``Immunizer``.

    Attributes:
        autoencoders: Autoencoders by the name of the model.

    Raises:
        UnknownName, ModelError, UsageError: See ``Immunizer``.
    """

    def __init__(
        self,
        models: Sequence[str] | str,
        *,
        device: torch.device,
        weights: Path | None,
        networks: Sequence[Path],
        memory: int | None,
        precision: Precision,
    ) -> None:
        self._device, self._memory, self._precision = device, memory, precision
        quick_passes(precision, device)  # refuses an unknown one before models are loaded
        if memory is not None and device.type != "cpu":
            raise UsageError(f"memory can be limited on the cpu only, not on {device.type}")
        self._plan = MemoryPlan(memory, left=partial(free_bytes, device))
        if not models:
            raise UsageError("an immunizer needs at least one model, got none")
        self._surrogates = Surrogates(models, device=device, weights=weights)
        self.autoencoders = self._surrogates.autoencoders
        self._quick = quick_passes_of(self._models, precision, device)
        self._networks = networks_of(self._models, networks, device)

    def only(self, models: Sequence[str]) -> Attacker:
        """An attacker of a subset of these models, which shares the loaded weights."""
        some = copy(self)
        some._surrogates = self._surrogates.only(models)
        some.autoencoders = some._surrogates.autoencoders
        some._quick = quick_passes_of(some._models, self._precision, self._device)
        return some

    def descend(
        self, problem: Problem, ends: float | None, callback: Callable[[Step], None] | None
    ) -> Descent:
        """Run the descent within the memory limit.

        Args:
            problem: Photo and recipe, with the autoencoders of this attacker.
            ends: Time of ``time.perf_counter`` at which it ends, used instead of the recipe's
                number of steps; None for that number. If it is over, the networks' answer is the
                result, where there is one.
            callback: Function called after every step.

        Raises:
            ModelError, OptimiserError, UsageError: See ``Immunizer.immunize``.
        """
        over = ends is not None and ends <= time.perf_counter()
        alone = self.networks(problem.recipe) and (problem.recipe.warm == 0 or over)
        objective = OBJECTIVES.create(problem.recipe.objective)
        # All models are loaded before memory is measured, so that it includes all of them.
        attacked = self._surrogates.attacked(objective.needs)
        if alone:
            start = self._start(problem)
            assert start is not None  # noqa: S101 - for the type checker: there are networks
            if self._memory is not None:
                problem.fit(self._plan, attacked, objective, compared=False, gradient=False)
            each = [loss.loss for loss in problem.losses(attacked, objective)]
            return Descent(start, score(each, start), 0, 0, 0, "done")
        roomy = problem.fit(self._plan, attacked, objective, compared=self._quick is not None)
        start = self._start(problem)
        # First steps from the original itself are short, and rounding would be a large share of how
        # far they go. A network's answer is far from it.
        roughly = self._quick if self._quick is not None and start is not None else nullcontext
        with roughly():
            losses = problem.losses(attacked, objective)
        seconds = None if ends is None else max(1e-3, ends - time.perf_counter())
        # Kept memory gets fragmented: the process then holds more than its tensors need.
        with kept_memory() if self._memory is None and roomy else returned_memory():
            try:
                return pgd(
                    losses,
                    problem.scene.origin,
                    problem.working_constraint(),
                    problem.steps(objective, seconds=seconds, warm=start is not None),
                    generator=Generator(self._device).manual_seed(problem.recipe.seed),
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

    def networks(self, recipe: Recipe) -> dict[str, str]:
        """SHA-256 of the networks that a recipe uses with these models, by the name of the model.

        Raises:
            UsageError: If the recipe needs networks, and a model has none.
        """
        if recipe.warm is None:
            return {}
        names = [model.name for model in self._models]
        lacking = [name for name in names if (name, recipe.opposed) not in self._networks]
        if lacking and recipe.warm == 0:
            beside, option = (
                (" that was trained beside a denoiser", " --opposed 0.7")
                if recipe.opposed
                else ("", "")
            )
            raise UsageError(
                f"the recipe needs a perturbation network of each model{beside}; "
                f"{', '.join(lacking)} has none",
                hint=f"photovax train-immunizer --model {lacking[0]}{option} makes one for "
                "--network, and --recipe fast needs none",
            )
        if lacking:
            return {}
        return {name: self._networks[name, recipe.opposed]().digest for name in names}

    def steps(self, recipe: Recipe) -> int:
        """The number of steps that a recipe takes with these models."""
        if not self.networks(recipe):
            return recipe.steps
        return 0 if recipe.warm == 0 else recipe.warmed().steps

    def digests(self, recipe: Recipe) -> list[str]:
        """SHA-256 of the weights that a recipe attacks, in hexadecimal digits, for each model.

        Raises:
            ModelError: If the recipe needs a part of a model that is not available.
        """
        objective = OBJECTIVES.create(recipe.objective)
        return [each.digest for each in self._surrogates.attacked(objective.needs)]

    @property
    def _models(self) -> list[Autoencoder]:
        return list(self.autoencoders.values())

    def _start(self, problem: Problem) -> Tensor | None:
        """The image that networks estimate; None if the recipe uses none here."""
        if not self.networks(problem.recipe):
            return None
        opposed = problem.recipe.opposed
        networks = [self._networks[model.name, opposed]().network for model in self._models]
        return problem.start(networks, self._quick)
