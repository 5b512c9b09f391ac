"""Read this first: a photo and a recipe in, an immunized photo out, verified as a file.

photo -> budget and mask -> model -> objective -> optimiser -> rounding -> file -> measured
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.allocator import kept_memory
from photovax.budget import BUDGETS, TOLERANCE, Constraint, Within
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded, ModelError, UsageError
from photovax.footprint import peak_bytes
from photovax.jpeg import within_jpeg
from photovax.memory import PHOTO_COPIES, resident_bytes
from photovax.metrics.latent import LatentEffect, latent_effect, tensor
from photovax.metrics.visible import Visibility, visibility
from photovax.models.autoencoders import KLAutoencoder
from photovax.models.catalog import (
    DEFAULT_MODEL,
    load_autoencoder,
    load_denoiser,
    load_editor,
    pick_device,
)
from photovax.models.contracts import Autoencoder
from photovax.models.editors import LatentEditor
from photovax.models.flows import FlowDenoiser
from photovax.models.places import no_whole_edit
from photovax.objectives import OBJECTIVES, LossFn, Objective
from photovax.optimise import SCHEDULES, Step, pgd
from photovax.photo import Photo, read_photo
from photovax.randomness import twin
from photovax.recipe import Recipe
from photovax.registry import Part
from photovax.rights import forbids_training
from photovax.saving import JPEG_SUFFIXES, check_fits, record_of, write_photo, write_text
from photovax.sweep import swept
from photovax.version import VERSION
from photovax.views import VIEWS, Identity, Tiles, View, Window, fitted, resize

__all__ = ["Immunized", "Immunizer", "Saved", "round_within"]


@dataclass(frozen=True, eq=False)
class Immunized:
    """The answer, with what is needed to check and repeat it.

    Attributes:
        photo: The immunized photo, 8-bit, exactly as it is saved.
        original: The photo that was given.
        allowed: Pixels that were allowed to change, bool (H, W).
        recipe: How it was made.
        loss: Final loss, mean over views and models, before rounding.
        steps: Steps taken.
        passes: Forward and backward passes through a model.
        stopped: ``done``, ``plateau`` or ``interrupted``.
        seconds: What it took.
    """

    photo: Photo
    original: Photo
    allowed: np.ndarray
    recipe: Recipe
    loss: float
    steps: int
    passes: int
    stopped: str
    seconds: float


@dataclass(frozen=True)
class Saved:
    """A saved photo, and what was measured on the file.

    Attributes:
        path: The photo.
        record: The JSON file beside it.
        visible: How visible the change is.
        effects: What it does to each model, at the size the recipe feeds it.
    """

    path: Path
    record: Path
    visible: Visibility
    effects: dict[str, LatentEffect]


class Immunizer:
    """Models, loaded once, for any number of photos.

    Args:
        models: Catalogue names or folders. Every step goes through all of them, one after the
            other, and gives each the same weight, whatever the scale of its loss.
        weights: Where to look for weights that do not ship with photovax.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …
        memory: Bytes that the process may hold on a CPU. What would take more is done in a way that
            takes less memory and more time; what would still take more is refused.

    Raises:
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
        UsageError: If the device is not there, or memory is limited on one that is no CPU.
    """

    def __init__(
        self,
        models: Sequence[str] = (DEFAULT_MODEL,),
        *,
        weights: Path | None = None,
        device: str = "auto",
        memory: int | None = None,
    ) -> None:
        self.device = pick_device(device)
        self.memory = memory
        if memory is not None and self.device.type != "cpu":
            raise UsageError(f"memory can be limited on the cpu only, not on {self.device.type}")
        self.models: list[Autoencoder] = [
            load_autoencoder(name, device=self.device, weights=weights)
            for name in dict.fromkeys(models)
        ]
        self._names = list(dict.fromkeys(models))
        self._weights = weights
        self._denoisers: dict[str, LatentEditor | FlowDenoiser] = {}

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
        if not isinstance(model, KLAutoencoder):
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
        seconds: float | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Immunized:
        """Immunize a photo at its own size.

        Args:
            photo: What ``read_photo`` gave.
            recipe: A preset or your own.
            mask: Pixels that may change, bool (H, W); all when None.
            seconds: Take as many steps as fit in so long, instead of the recipe's number; what
                comes out then depends on the machine.
            callback: Called after every step.

        Raises:
            UsageError: If the mask does not fit, no pixel is visible, or it would take more memory
                than is allowed.
            OptimiserError: If the loss or its gradient is of no use.
            KeyboardInterrupt: If interrupted before the first step; later, the best so far is
                returned.
        """
        began = time.perf_counter()
        allowed = _allowed(photo, mask)
        visible = photo.visible()
        origin = tensor(visible, self.device)
        inside = torch.from_numpy(allowed).to(self.device)[None, None]
        constraint: Constraint = BUDGETS.create(recipe.budget)
        if not allowed.all():
            constraint = Within(constraint, inside)
        objective = OBJECTIVES.create(recipe.objective)
        if recipe.needs_mask and mask is None:
            raise UsageError(
                "this recipe attacks inpainting, where a model sees only what is kept: "
                "it needs a mask (--mask FILE)"
            )
        scene = _Scene(origin, inside, None if mask is None else ~inside, recipe.kept_region_only)
        if self.memory is not None:
            for model in self.models:
                self._fit_memory(self.memory, model, objective, recipe, scene)
        views: list[View] = []
        losses: list[LossFn] = []
        groups: list[int] = []
        passes: list[list[int]] = []
        for number, model in enumerate(self.models):
            surrogate = self._attacked(model, objective)
            fed = [fitted(VIEWS.create(part), recipe.size or model.size) for part in recipe.views]
            # A view named twice has twice the weight, but binds once.
            bound = {view: _view_loss(surrogate, objective, view, scene) for view in set(fed)}
            losses += [bound[view] for view in fed]
            groups += [number] * len(fed)
            passes.append([scene.passes(view) for view in fed])
            views += fed
        # What is kept lies in pieces, so a process holds more than its tensors need.
        with kept_memory() if self.memory is None else nullcontext():
            descent = pgd(
                losses,
                origin,
                constraint,
                steps=recipe.steps,
                step_size=recipe.step_size,
                generator=Generator(self.device).manual_seed(recipe.seed),
                groups=groups,
                schedule=SCHEDULES[recipe.schedule],
                momentum=recipe.momentum,
                draws=recipe.draws,
                random=objective.random or any(view.random for view in views),
                random_start=recipe.random_start,
                patience=recipe.patience,
                seconds=seconds,
                callback=callback,
            )
        levels = round_within(descent.x, origin, constraint)[0].permute(1, 2, 0).cpu().numpy()
        if not allowed.all():
            # Also puts back the colour under full transparency, which models never saw.
            levels = np.where(allowed[..., None], levels, photo.pixels)
        return Immunized(
            photo=photo.with_pixels(levels),
            original=photo,
            allowed=allowed,
            recipe=recipe,
            loss=descent.losses.item(),
            steps=descent.steps,
            passes=_passes(passes, recipe.draws, descent.steps),
            stopped=descent.stopped,
            seconds=time.perf_counter() - began,
        )

    def _attacked(
        self, model: Autoencoder, objective: Objective[Any]
    ) -> Autoencoder | LatentEditor | FlowDenoiser:
        """What an objective attacks of a model: the least that it needs."""
        if objective.needs == "editor":
            return self.editor(model)
        return self.denoiser(model) if objective.needs == "denoiser" else model

    def _fit_memory(
        self,
        memory: int,
        model: Autoencoder,
        objective: Objective[Any],
        recipe: Recipe,
        scene: _Scene,
    ) -> None:
        """Let a model recompute where it would else take too much memory.

        Raises:
            UsageError: If it takes too much even so.
        """
        surrogate = self._attacked(model, objective)
        like = torch.empty(scene.origin.shape, device="meta")
        seen = [
            fitted(VIEWS.create(part), recipe.size or model.size)(like, Generator())
            for part in recipe.views
        ]
        height, width = max((view.shape[-2:] for view in seen), key=lambda sides: sides.numel())
        held, photo = resident_bytes(), scene.origin.nbytes
        # The picture, the best one so far, the last direction, and the other models' gradients.
        # A sweep over tiles fills its own gradient, beside that of other views.
        tiled = any(isinstance(VIEWS.create(part), Tiles) for part in recipe.views)
        copies = 2 + (recipe.momentum > 0) + (len(self.models) > 1) + 2 * tiled

        def step() -> tuple[float, float]:
            each = scene.bytes_per_pixel(surrogate, model, objective) * height * width
            return each, held + max(PHOTO_COPIES * photo, copies * photo + each)

        each, needed = step()
        if needed > memory:
            surrogate.recompute()
            each, needed = step()
        if needed > memory:
            raise UsageError(
                f"{memory / 2**30:.2f} GiB of memory are too little: a step takes about "
                f"{needed / 2**30:.2f} GiB, of which {model.name} at {width} x {height} pixels "
                f"{each / 2**30:.2f} GiB; give a smaller --size, or more memory"
            )

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
            SaveError: If it cannot be written, or the file type cannot hold the photo.
        """
        check_fits(result.photo, path, masked=not result.allowed.all())
        asked = result.photo
        if path.suffix.lower() in JPEG_SUFFIXES:
            constraint = BUDGETS.create(result.recipe.budget)
            pixels = within_jpeg(asked.pixels, result.original.pixels, constraint)
            asked, shown = (result.photo.with_pixels(each) for each in pixels)
            result = replace(result, photo=shown)
        measured: list[tuple[Visibility, dict[str, LatentEffect], str]] = []

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
            measured.append((visibility(before, after), effects, file_digest(written)))

        write_photo(asked, path, overwrite=overwrite, verify=verify)
        visible, effects, digest = measured[0]
        saved = Saved(path, record_of(path), visible, effects)
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
            "realised": asdict(saved.visible),
            "effects": {k: asdict(v) for k, v in saved.effects.items()},
            "loss": result.loss,
            "steps": result.steps,
            "passes": result.passes,
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


def round_within(x: Tensor, origin: Tensor, constraint: Constraint) -> Tensor:
    """Round images to 8 bits without leaving the budget: what is saved is what was promised.

    Nearest rounding, which loses the least. Where that leaves the set (a radius of 7.65 levels
    rounds to 8; rounding lengthens an l2 change), the change is shrunk, image by image and
    percent by percent, until it fits.

    Args:
        x: Float images (N, C, H, W) in [0, 1] inside the set.
        origin: The originals, on 8-bit levels.
        constraint: The set.

    Returns:
        Uint8 images (N, C, H, W).

    Raises:
        BudgetExceeded: If nothing but the original fits.
    """
    share = torch.ones(len(x), 1, 1, 1, device=x.device)
    for _ in range(100):
        rounded = torch.lerp(origin, x, share).mul_(255).round_().clamp_(0, 255)
        over = constraint.size(rounded.div(255), origin) > 1 + TOLERANCE
        if not over.any():
            if torch.equal(rounded, (origin * 255).round()) and not torch.equal(x, origin):
                break
            return rounded.to(torch.uint8)
        share = torch.where(over.view(-1, 1, 1, 1), share - 0.01, share)
    raise BudgetExceeded(
        f"nothing of the change is left in 8 bits at a budget of {constraint.radius:g} "
        f"({constraint.radius * 255:g} levels); use a larger one"
    )


PROBE = 128
"""Sides, in pixels, of the picture on which a model's memory is counted: it grows with pixels."""


def check_promises(result: Immunized, reopened: Photo) -> None:
    """Compare a reopened file with what was promised.

    Raises:
        BudgetExceeded: If size, channels, transparency, rights, mask or budget do not hold.
    """
    given = result.original
    broken = None
    if reopened.pixels.shape != given.pixels.shape:
        broken = f"shape {reopened.pixels.shape} instead of {given.pixels.shape}"
    elif not np.array_equal(reopened.pixels, result.photo.pixels):
        broken = "pixels other than those that were written"
    elif not _same(given.alpha, reopened.alpha):
        broken = "another transparency"
    elif forbids_training(result.photo.metadata) and not forbids_training(reopened.metadata):
        broken = "no word against AI training"
    elif (reopened.pixels != given.pixels)[~result.allowed].any():
        broken = "changes outside the mask"
    else:
        constraint: Constraint = BUDGETS.create(result.recipe.budget)
        cpu = torch.device("cpu")
        size = constraint.size(tensor(reopened.pixels, cpu), tensor(given.pixels, cpu)).item()
        if size > 1 + TOLERANCE:
            broken = f"{size:.4f} of the budget"
    if broken is not None:
        raise BudgetExceeded(f"the saved file would have {broken}; nothing was kept")


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        # WebP drops an alpha that is opaque everywhere, which shows the same picture.
        there = second if first is None else first
        return there is None or bool((there == 255).all())
    return np.array_equal(first, second)


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


@dataclass(frozen=True, eq=False)
class _Scene:
    """The original, where it may change or be repainted, and whether models see only the rest."""

    origin: Tensor
    inside: Tensor
    repaint: Tensor | None
    kept_region_only: bool

    def through(self, view: View, images: Tensor, generator: Generator) -> Tensor:
        """Images of this scene as a model is fed them."""
        if self.kept_region_only and self.repaint is not None:
            # Inpainting editors paint what they will repaint mid grey before they encode.
            images = torch.where(self.repaint, 0.5, images)
        return view(images, generator)

    def bind(
        self, surrogate: Any, objective: Objective[Any], view: View, generator: Generator
    ) -> LossFn:
        """The objective's loss on images that have been through the view."""
        seen = self.through(view, self.origin, twin(generator))
        if self.repaint is None:
            return objective.bind(surrogate, seen)
        repaint = view(self.repaint.float(), twin(generator)) > 0.5
        return objective.bind(surrogate, seen, repaint)

    def windows(self, view: Tiles) -> list[Window]:
        """The tiles in which a pixel may change; a model learns nothing from the others."""
        windows = view.windows(*self.origin.shape[-2:])
        return [window for window in windows if window.core_of(self.inside).any()]

    def passes(self, view: View) -> int:
        """Passes through a model that a step with this view takes."""
        return len(self.windows(view)) if isinstance(view, Tiles) else 1

    def cut(self, window: Window) -> _Scene:
        """What a window sees of it, as a scene of its own."""
        repaint = None if self.repaint is None else window.cut(self.repaint)
        inside = window.cut(self.inside)
        return _Scene(window.cut(self.origin), inside, repaint, self.kept_region_only)

    def bytes_per_pixel(
        self, surrogate: Any, model: Autoencoder, objective: Objective[Any]
    ) -> float:
        """What a forward and backward pass takes for each pixel that a model is fed."""
        size = (PROBE, PROBE)
        repaint = self.repaint
        if repaint is not None:
            repaint = F.interpolate(repaint.float(), size) > 0.5
        inside = F.interpolate(self.inside.float(), size) > 0.5
        small = _Scene(resize(self.origin, *size), inside, repaint, self.kept_region_only)
        generator = Generator(self.origin.device)
        loss = _seen_loss(surrogate, objective, VIEWS.create(Part("identity")), small)

        def attack() -> None:
            images = small.origin.clone().requires_grad_()
            torch.autograd.grad(loss(images, generator).sum(), images)

        def measure() -> None:
            with torch.no_grad():
                latents = model.encode(small.origin)
                if model.decodes:
                    model.decode(latents)

        return max(peak_bytes(attack), peak_bytes(measure)) / PROBE**2


def _passes(each: Sequence[Sequence[int]], draws: int | None, steps: int) -> int:
    """Passes in all, where each view of each model, taken in turn, takes so many."""
    total = 0
    for views in each:
        drawn = steps * (len(views) if draws is None else min(draws, len(views)))
        turns, rest = divmod(drawn, len(views))
        total += turns * sum(views) + sum(views[:rest])
    return total


def _view_loss(surrogate: Any, objective: Objective[Any], view: View, scene: _Scene) -> LossFn:
    """The objective's loss of one model that is fed the photo through one view, or in tiles."""
    if not isinstance(view, Tiles):
        return _seen_loss(surrogate, objective, view, scene)
    windows = scene.windows(view)
    whole = Identity()
    return swept(
        windows, [_seen_loss(surrogate, objective, whole, scene.cut(each)) for each in windows]
    )


def _seen_loss(surrogate: Any, objective: Objective[Any], view: View, scene: _Scene) -> LossFn:
    """The objective's loss of one model that is fed the photo through one view."""
    if view.random:

        def drawn_loss(images: Tensor, generator: Generator) -> Tensor:
            # Photo, original and mask must meet the same draw, or the loss measures the view.
            bound = scene.bind(surrogate, objective, view, generator)
            return bound(scene.through(view, images, generator), generator)

        return drawn_loss

    bound = scene.bind(surrogate, objective, view, Generator(scene.origin.device))
    return lambda images, generator: bound(scene.through(view, images, generator), generator)
