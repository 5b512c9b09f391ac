"""Read this first: immunization of a photo by a recipe, verified on the saved file.

photo -> budget and mask -> model -> objective -> optimiser -> rounding -> file -> measurements
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path

import numpy as np

from photovax.attack.attacker import Attacker
from photovax.attack.optimise import Step
from photovax.attack.problem import Problem
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim
from photovax.immunized import Found, Immunized, Saved
from photovax.machine.device import pick_device
from photovax.machine.host import own_settings
from photovax.machine.precision import Precision
from photovax.metrics.visibility import check_jod
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.contracts import Autoencoder
from photovax.pictures.compression import Compression
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo
from photovax.saving import Extra, always, save

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
            ``bfloat16``, networks use it except on a CPU, and steps do while their gradients have a
            cosine similarity of 0.95 or more with those in float32; ``auto`` does so only if the
            device has instructions for it. Saved files are measured in float32.

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
        self.memory = memory
        self._attacker = Attacker(
            models,
            device=self.device,
            weights=None if weights is None else Path(weights),
            networks=[Path(file) for file in networks],
            memory=memory,
            precision=precision,
        )
        self.models: list[Autoencoder] = list(self._attacker.autoencoders.values())

    def only(self, models: Sequence[str]) -> Immunizer:
        """An immunizer with a subset of these models, which shares the loaded weights."""
        some = copy(self)
        some._attacker = self._attacker.only(models)
        some.models = list(some._attacker.autoencoders.values())
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
            compression: Compression of the JPEG, WebP, AVIF or HEIC file of the result. The change
                is then made to survive it, and the budget bounds the change before it. None keeps
                the budget in the saved file.
            seconds: Time limit in seconds, used instead of the recipe's number of steps. The result
                then depends on the machine. At least one step is taken; none at 0 where networks
                give the start.
            callback: Function called after every step.

        Returns:
            The immunized photo; if interrupted by Ctrl-C after the first step, the best so far.

        Raises:
            UsageError: If the mask is missing or does not fit, no pixel may change, or memory would
                exceed the limit.
            ModelError: If the recipe needs a part of a model that is not available.
            OptimiserError: If a loss has a wrong shape, or its gradient is not finite or zero.
            BudgetExceeded: If nothing of the change is left in 8 bits.
            MetricUnavailable: If the goal is in JOD, and that cannot be measured of this photo: the
                package is missing, a side has fewer than 8 pixels, or there is too little memory.
            KeyboardInterrupt: If interrupted before the first step was done.
        """
        began = time.perf_counter()
        if aim is not None and aim.jod is not None:
            check_jod(photo.visible(), memory=self.memory)  # which fails before the work
        problem = Problem(photo, recipe, mask, self.models, self.device, compression)
        ends = None if seconds is None else began + seconds
        descent = self._attacker.descend(problem, ends, callback)
        found = Found(
            problem,
            descent,
            networks=self.networks(recipe),
            began=began,
            saver=self,
            memory=self.memory,
        )
        return found.aimed(aim, self._attacker.autoencoders, self.device)

    def networks(self, recipe: Recipe) -> dict[str, str]:
        """SHA-256 of the networks that a recipe uses with these models, by the name of the model.

        Raises:
            UsageError: If the recipe needs networks, and a model has none.
        """
        return self._attacker.networks(recipe)

    def steps(self, recipe: Recipe) -> int:
        """The number of steps that a recipe takes with these models."""
        return self._attacker.steps(recipe)

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
        return self._attacker.digests(recipe)

    @own_settings()
    def save(
        self,
        result: Immunized,
        path: str | Path | Destination,
        *,
        overwrite: bool = False,
        survival: bool = False,
        checked: bool = False,
        measure: bool = True,
        time_for: Callable[[Extra], bool] = always,
    ) -> Saved:
        """Write the photo, verify the reopened file, measure it, and write its record next to it.

        No file is left if the verification fails.

        Args:
            result: Result of ``immunize``.
            path: File to write, or a ``Destination`` that is already checked.
            overwrite: Whether existing files may be replaced; a ``Destination`` states it itself.
            survival: Whether to measure what common treatments leave of the effect, too.
            checked: Whether to find out what ``photovax check`` says of the file, too.
            measure: Whether to measure visibility and effect. Without it the file is verified all
                the same, ``survival`` and ``checked`` do nothing, and a small photo takes a fifth
                of the time with ``instant``.
            time_for: Function that is asked before each measurement that may be left out.

        Raises:
            BudgetExceeded: If the reopened file exceeds the budget or changes other pixels.
            OutputExists: If the photo or its record exists and must not be replaced.
            SaveError: If the photo cannot be written, or the file type cannot hold it.
            MetricUnavailable: If memory ran out during the measurements. The photo is then written
                and verified, and its record has no measurements.
        """
        loaded = (self.models, self.digests(result.recipe), self.device)
        return save(
            result,
            path,
            *loaded,
            memory=self.memory,
            overwrite=overwrite,
            survival=survival,
            checked=checked,
            measure=measure,
            time_for=time_for,
        )
