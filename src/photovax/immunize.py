"""Read this first: a photo and a recipe in, an immunized photo out, verified as a file.

photo -> budget and mask -> model -> objective -> optimiser -> rounding -> file -> measured
"""

from __future__ import annotations

import copy
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Generator

from photovax.attack.budget import BUDGETS, Constraint
from photovax.attack.decoded_jpeg import within_jpeg
from photovax.attack.losses import LossFn
from photovax.attack.objectives import OBJECTIVES, Objective
from photovax.attack.optimise import SCHEDULES, Step, pgd
from photovax.attack.recipe import Recipe
from photovax.attack.rounding import round_within
from photovax.attack.scene import Scene, view_loss
from photovax.attack.strength import MOST, Aim, largest_share, least_share
from photovax.check import Verdict, check_models, weakest
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded, ModelError, UsageError
from photovax.immunized import Immunized, Saved, check_promises
from photovax.machine.allocator import KEPT, kept_memory, returned_memory
from photovax.machine.device import pick_device
from photovax.machine.memory import LIBRARIES, PHOTO_COPIES, available_bytes, resident_bytes
from photovax.machine.precision import Precision, quick_passes
from photovax.metrics.cvvdp import load_cvvdp
from photovax.metrics.distortion import Visibility, visibility
from photovax.metrics.latent import LatentEffect, latent_effect
from photovax.metrics.visibility import VIEWING, VisibleDifference, jod, visible_difference
from photovax.models.autoencoders.base import PosteriorAutoencoder
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.places import each_once, no_whole_edit
from photovax.models.contracts import Autoencoder
from photovax.models.load import load_autoencoder, load_denoiser, load_editor
from photovax.models.transformer.denoiser import FlowDenoiser
from photovax.models.unet.editor import LatentEditor
from photovax.models.views import VIEWS, Tiles, View, fitted, interpolated
from photovax.pictures.atomic import check_free, write_text
from photovax.pictures.outputs import record_of
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.types import JPEG_SUFFIXES
from photovax.pictures.write import check_fits, write_photo
from photovax.tensors import tensor
from photovax.version import VERSION

__all__ = ["Immunizer"]


class Immunizer:
    """Models, loaded once, for any number of photos.

    Args:
        models: Catalogue names or folders. Every step goes through all of them, one after the
            other, and gives each the same weight, whatever the scale of its loss.
        weights: Where to look for weights that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        memory: Bytes that the process may hold on a CPU; all that the system has left when None,
            where it tells. What would take more is done in a way that takes less memory and more
            time; what would still take more than was said is refused.
        precision: What passes are computed in: ``auto``, ``bfloat16`` or ``float32``. With the
            former two steps are in bfloat16 as long as their gradients point as those in float32
            do, ``auto`` only where the device has instructions for it. All that is measured is
            measured in float32.

    Raises:
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
        UsageError: If the device is not there, memory is limited on one that is no CPU, two
            models have one folder name, or there is no such precision.
    """

    def __init__(
        self,
        models: Sequence[str] = (DEFAULT_MODEL,),
        *,
        weights: Path | None = None,
        device: str = "auto",
        memory: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        self.device = pick_device(device)
        self._quick = quick_passes(precision, self.device)
        self.memory = memory
        if memory is not None and self.device.type != "cpu":
            raise UsageError(f"memory can be limited on the cpu only, not on {self.device.type}")
        self._names = each_once(models)
        self.models: list[Autoencoder] = [
            load_autoencoder(name, device=self.device, weights=weights) for name in self._names
        ]
        self._weights = weights
        self._denoisers: dict[str, LatentEditor | FlowDenoiser] = {}
        self._bytes: dict[tuple[str, str, bool, bool], float] = {}

    def only(self, models: Sequence[str]) -> Immunizer:
        """An immunizer of some of these models, which both share: nothing is loaded again."""
        some = copy.copy(self)
        some._names = each_once(models)
        some.models = [self.models[self._names.index(name)] for name in some._names]
        return some

    def editor(self, model: Autoencoder) -> LatentEditor:
        """The whole editor of one of the models, loaded when first asked for.

        Raises:
            ModelError: If there is no more than an autoencoder, or its edits are not run here.
        """
        found = self._denoiser(model, load_editor)
        if not isinstance(found, LatentEditor):
            raise no_whole_edit(found.name)
        return found

    def denoiser(self, model: Autoencoder) -> LatentEditor | FlowDenoiser:
        """The denoiser of one of the models, loaded when first asked for.

        Raises:
            ModelError: If there is no more than an autoencoder.
        """
        return self._denoiser(model, load_denoiser)

    def _denoiser(
        self, model: Autoencoder, load: Callable[..., LatentEditor | FlowDenoiser]
    ) -> LatentEditor | FlowDenoiser:
        name = self._names[self.models.index(model)]
        if not isinstance(model, PosteriorAutoencoder):
            raise ModelError(f"model {name} is no more than an autoencoder: it cannot edit")
        if name not in self._denoisers:
            self._denoisers[name] = load(
                name, device=self.device, autoencoder=model, weights=self._weights
            )
        return self._denoisers[name]

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
            aim: What the strength is to be found by; the recipe's radius when None. The recipe of
                the answer has the radius that was found.
            seconds: Take as many steps as fit in so long, instead of the recipe's number; what
                comes out then depends on the machine.
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
        allowed = _allowed(photo, mask)
        visible = photo.visible()
        origin = tensor(visible, self.device)
        inside = torch.from_numpy(allowed).to(self.device)[None, None]
        objective = OBJECTIVES.create(recipe.objective)
        if recipe.needs_mask and mask is None:
            raise UsageError(
                "this recipe attacks inpainting, where a model sees only what is kept: "
                "it needs a mask (--mask FILE)"
            )
        full = Scene(origin, inside, None if mask is None else ~inside, recipe.kept_region_only)
        budget = self._budget(photo, recipe)
        scene = full.at(*budget.working_size(photo.height, photo.width))
        # All are loaded before any is measured, so that each is measured beside the others.
        surrogates = [self._attacked(model, objective) for model in self.models]
        attacked = list(zip(self.models, surrogates, strict=True))
        fits = [
            self._fit_memory(*pair, objective, recipe, scene, whole=origin.nbytes)
            for pair in attacked
        ]
        views: list[View] = []
        losses: list[LossFn] = []
        groups: list[int] = []
        costs: list[int] = []
        for number, (model, surrogate) in enumerate(attacked):
            fed = [fitted(VIEWS.create(part), recipe.size or model.size) for part in recipe.views]
            # A view named twice has twice the weight, but binds once.
            bound = {view: view_loss(surrogate, objective, view, scene) for view in set(fed)}
            losses += [bound[view] for view in fed]
            groups += [number] * len(fed)
            costs += [scene.passes(view) for view in fed]
            views += fed
        # What is kept lies in pieces, so a process holds more than its tensors need.
        with kept_memory() if self.memory is None and all(fits) else returned_memory():
            descent = pgd(
                losses,
                scene.origin,
                _masked(budget, scene.inside),
                steps=recipe.steps,
                step_size=recipe.step_size,
                generator=Generator(self.device).manual_seed(recipe.seed),
                groups=groups,
                costs=costs,
                schedule=SCHEDULES[recipe.schedule],
                momentum=recipe.momentum,
                adaptivity=recipe.adaptivity,
                draws=recipe.draws,
                random=objective.random or any(view.random for view in views),
                random_start=recipe.random_start,
                patience=recipe.patience,
                seconds=None
                if seconds is None
                else max(1e-3, seconds - time.perf_counter() + began),
                quick=self._quick,
                callback=callback,
            )
        x = descent.x
        if scene is not full:
            change = interpolated(x.sub_(scene.origin), photo.height, photo.width)
            x = _masked(budget, inside).project(change.add_(origin), origin)
            del change

        def made(share: float) -> Immunized:
            """The answer with a share of the change, which may be above 1."""
            chosen = recipe if share == 1 else recipe.with_radius(share * recipe.radius)
            budget = self._budget(photo, chosen)
            constraint = _masked(budget, inside)
            scaled = x
            if share != 1:
                scaled = constraint.project(torch.lerp(origin, x, share), origin)
            levels = round_within(scaled, origin, constraint)[0].permute(1, 2, 0).cpu().numpy()
            if not allowed.all():
                # Also puts back the colour under full transparency, which models never saw.
                levels = np.where(allowed[..., None], levels, photo.pixels)
            return Immunized(
                photo=photo.with_pixels(levels),
                original=photo,
                allowed=allowed,
                recipe=chosen,
                constraint=_masked(budget, torch.from_numpy(allowed)[None, None]),
                loss=descent.losses.item(),
                steps=descent.steps,
                passes=descent.passes,
                quick_steps=descent.quick_steps,
                stopped=descent.stopped,
                seconds=time.perf_counter() - began,
            )

        return made(1.0) if aim is None else self._aimed(aim, made)

    def _aimed(self, aim: Aim, made: Callable[[float], Immunized]) -> Immunized:
        """The answer whose strength is aimed at; that of the recipe where it cannot be reached."""
        named = dict(zip(self._names, self.models, strict=True))

        def passes(share: float) -> bool:
            try:
                result = made(share)
            except BudgetExceeded:  # so little rounds to nothing
                return False
            before, after = result.original.visible(), result.photo.visible()
            largest = int(np.abs(after.astype(np.int16) - before).max())
            found = check_models(
                before, after, named, largest=largest, device=self.device, size=result.recipe.size
            )
            return weakest(found) is Verdict.PASS

        def unseen(share: float) -> bool:
            try:
                result = made(share)
            except BudgetExceeded:
                return True
            found = jod(result.original.visible(), result.photo.visible())
            return found is None or found >= (aim.jod or 0)

        shares: list[float | None] = []
        if aim.jod is not None:
            shares.append(largest_share(unseen))
        if aim.passing:
            shares.append(least_share(passes, most=shares[0] or MOST if shares else MOST))
        reached = shares[-1]
        last = made(1.0 if reached is None else reached)
        return replace(last, reached=reached is not None)

    def _budget(self, photo: Photo, recipe: Recipe) -> Constraint:
        """The set of changes for a photo as the models are fed it."""
        short = min(photo.height, photo.width)
        # What one of a model's views does not see would be spent in vain there.
        side = max(
            min(
                fitted(VIEWS.create(part), recipe.size or model.size).fed_side(short)
                for part in recipe.views
            )
            for model in self.models
        )
        return BUDGETS.create(recipe.budget).fitted(photo.height, photo.width, side)

    def _attacked(
        self, model: Autoencoder, objective: Objective[Any]
    ) -> Autoencoder | LatentEditor | FlowDenoiser:
        """What an objective attacks of a model: the least that it needs."""
        if objective.needs == "editor":
            return self.editor(model)
        return self.denoiser(model) if objective.needs == "denoiser" else model

    def _fit_memory(
        self,
        model: Autoencoder,
        surrogate: Autoencoder | LatentEditor | FlowDenoiser,
        objective: Objective[Any],
        recipe: Recipe,
        scene: Scene,
        *,
        whole: int,
    ) -> bool:
        """Let a model recompute, from now on, where it would else take too much memory.

        The scene may be smaller than the photo, of which a copy has ``whole`` bytes.

        Returns:
            Whether there is memory to spare.

        Raises:
            UsageError: If it takes more than was allowed even so.
        """
        memory = self.memory
        if memory is None:
            available = available_bytes() if self.device.type == "cpu" else None
            if available is None:
                return True
            memory = resident_bytes() + available
        like = torch.empty(scene.origin.shape, device="meta")
        seen = [
            fitted(VIEWS.create(part), recipe.size or model.size)(like, Generator())
            for part in recipe.views
        ]
        height, width = max((view.shape[-2:] for view in seen), key=lambda sides: sides.numel())
        photo = scene.origin.nbytes
        # The picture, the best one so far, former gradients, the other models' gradients, and the
        # one that a quick one is compared with.
        # A sweep over tiles fills its own gradient, beside that of other views.
        tiled = any(isinstance(VIEWS.create(part), Tiles) for part in recipe.views)
        adaptive = recipe.adaptivity is not None
        copies = 2 + (recipe.momentum > 0) + adaptive + (len(self.models) > 1) + 2 * tiled
        copies += self._quick is not None

        asked = (repr(recipe.objective), recipe.kept_region_only, scene.repaint is not None)

        def passing() -> float:
            key = (model.name, *asked)
            if key not in self._bytes:
                self._bytes[key] = scene.bytes_per_pixel(surrogate, model, objective)
            return self._bytes[key] * height * width

        each = passing()
        # The probe is done: what libraries load when they are first used is in it.
        held = resident_bytes() + LIBRARIES
        left = memory - held - copies * photo
        roomy = KEPT * each <= left
        if each > left:
            surrogate.recompute()
            self._bytes.clear()
            each = passing()
        # Between passes there are the squares of former gradients and their root as well.
        between = PHOTO_COPIES + 2 * adaptive
        needed = held + max(between * whole, copies * photo + each)
        if self.memory is not None and needed > memory:
            raise UsageError(
                f"{memory / 2**30:.2f} GiB of memory are too little: a step takes about "
                f"{needed / 2**30:.2f} GiB, of which {model.name} at {width} x {height} pixels "
                f"{each / 2**30:.2f} GiB; give a smaller --size, or more memory"
            )
        return roomy

    def digests(self, recipe: Recipe) -> list[str]:
        """SHA-256 of the weights that a recipe attacks, for each model.

        Raises:
            ModelError: If the recipe needs more of a model than there is.
        """
        objective = OBJECTIVES.create(recipe.objective)
        return [self._attacked(model, objective).digest for model in self.models]

    def save(self, result: Immunized, path: Path, *, overwrite: bool = False) -> Saved:
        """Write the photo, reopen it, check every promise, and write the record beside it.

        Nothing is left on disk when a promise is broken.

        Raises:
            BudgetExceeded: If the reopened file changes more, or elsewhere, than allowed.
            OutputExists: If the photo or its record is there and must not be replaced.
            SaveError: If it cannot be written, or the file type cannot hold the photo.
        """
        check_fits(result.photo, path, masked=not result.allowed.all())
        # A photo must not come to lie beside the record of another.
        check_free(record_of(path), overwrite=overwrite)
        asked = result.photo
        if path.suffix.lower() in JPEG_SUFFIXES:
            pixels = within_jpeg(asked.pixels, result.original.pixels, result.constraint)
            asked, shown = (result.photo.with_pixels(each) for each in pixels)
            result = replace(result, photo=shown)
        measured: list[tuple[Visibility, VisibleDifference, dict[str, LatentEffect], str]] = []

        def verify(written: Path) -> None:
            reopened = read_photo(written, max_pixels=result.photo.height * result.photo.width)
            check_promises(result, reopened)
            before, after = result.original.visible(), reopened.visible()
            effects = {
                model.name: latent_effect(
                    model, before, after, self.device, size=result.recipe.size or model.size
                )
                for model in self.models
            }
            apart = visibility(before, after)
            seen = visible_difference(before, after, memory=self.memory)
            measured.append((apart, seen, effects, file_digest(written)))

        write_photo(asked, path, overwrite=overwrite, verify=verify)
        visible, seen, effects, digest = measured[0]
        saved = Saved(path, record_of(path), visible, seen, effects)
        record = json.dumps(self._record(result, saved, digest), indent=1) + "\n"
        write_text(record, saved.record, overwrite=overwrite)
        return saved

    def _record(self, result: Immunized, saved: Saved, digest: str) -> dict[str, Any]:
        """What the sidecar says; a separate file, since the photo itself should not tell."""
        digests = self.digests(result.recipe)
        return {
            "photovax": VERSION,
            "photo": saved.path.name,
            "sha256": digest,
            "recipe": asdict(result.recipe),
            "recipe_digest": result.recipe.digest(),
            "models": [
                {"name": model.name, "sha256": digest}
                for model, digest in zip(self.models, digests, strict=True)
            ],
            "budget": asdict(result.recipe.budget),
            "realised": saved.visible.figures() | saved.seen.figures() | {"viewing": VIEWING},
            "effects": {k: asdict(v) for k, v in saved.effects.items()},
            "loss": result.loss,
            "steps": result.steps,
            "passes": result.passes,
            "bfloat16_steps": result.quick_steps,
            "stopped": result.stopped,
            "seconds": round(result.seconds, 3),
            "device": str(self.device),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "diffusers": diffusers.__version__,
            },
            "notes": list(result.original.notes),
        }


def _masked(budget: Constraint, inside: torch.Tensor) -> Constraint:
    return budget if inside.all() else budget.within(inside)


def _allowed(photo: Photo, mask: np.ndarray | None) -> np.ndarray:
    """Pixels that are visible and inside the mask, bool (H, W)."""
    size = (photo.height, photo.width)
    if mask is not None and (mask.shape != size or mask.dtype != np.bool_):
        raise UsageError(
            f"mask must be bool {size}, got {mask.dtype} {mask.shape}; use masks.load_mask"
        )
    allowed = np.ones(size, dtype=bool) if mask is None else mask
    if photo.alpha is not None:
        allowed = allowed & (photo.alpha > 0)
    if not allowed.any():
        raise UsageError("no visible pixel may change: the photo is transparent where the mask is")
    return allowed
