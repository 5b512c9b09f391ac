"""One photo to immunize: the pixels that may change, and the views through which models see it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Generator, Tensor

from photovax.attack.budgets import Constraint, TakesEstimates
from photovax.attack.losses import Weighed
from photovax.attack.networks.estimate import estimator
from photovax.attack.networks.network import PerturbationNetwork
from photovax.attack.objectives import Objective
from photovax.attack.optimise import Steps
from photovax.attack.recipe import Recipe
from photovax.attack.scene import Scene, drawn_loss, view_loss
from photovax.errors import UsageError
from photovax.machine.plan import Copies, MemoryPlan
from photovax.machine.precision import Quick
from photovax.models.contracts import Autoencoder
from photovax.models.views import VIEWS, View, interpolated
from photovax.pictures.compression import Compression
from photovax.pictures.masks import kept_by_any, repainted
from photovax.pictures.photo import Photo
from photovax.pictures.regions import SUBJECT
from photovax.pictures.resize import fed_sides
from photovax.tensors import tensor

__all__ = ["Problem", "fed_side"]


class Problem:
    """A photo, a recipe and the models that it is immunized against.

    Args:
        photo: Photo.
        recipe: Recipe.
        mask: Pixels that may change, bool (H, W); all when None.
        models: Autoencoders of the models.
        device: Device of the tensors.
        compression: Compression of the file that the result is saved to; None if it is lossless.

    Attributes:
        allowed: Pixels that may change, bool (H, W): not transparent, and inside the mask.
        origin: Visible colours of the photo, float32 (1, C, H, W) in [0, 1].
        compression: Compression of the file that the result is saved to, or None.
        scene: Photo at the size at which the change is optimised, with the first of its masks.
        scenes: The same with each of the recipe's masks; one without a mask.
        views: Views of each model, through which it is fed the photo.

    Raises:
        UsageError: If the mask does not fit the photo, the recipe needs a mask and there is none,
            or no pixel may change.
    """

    def __init__(
        self,
        photo: Photo,
        recipe: Recipe,
        mask: np.ndarray | None,
        models: Sequence[Autoencoder],
        device: torch.device,
        compression: Compression | None = None,
    ) -> None:
        if recipe.needs_mask and mask is None:
            raise UsageError(
                "this recipe attacks inpainting, where a model sees only the kept region: it needs "
                "a mask",
                hint="give one with --mask FILE",
            )
        if recipe.masks != (SUBJECT,) and not recipe.needs_mask:
            raise UsageError(
                "this recipe does not attack inpainting, where an editor keeps a region: it takes "
                f"no masks, got {', '.join(recipe.masks)}",
                hint="leave them out of the recipe file, or attack inpainting with --mode inpaint",
            )
        self.photo, self.recipe, self._models = photo, recipe, models
        self.compression = compression
        self.allowed = _allowed(photo, mask, recipe.masks)
        self.origin = tensor(photo.visible(), device)
        self._inside = torch.from_numpy(self.allowed).to(device)[None, None]
        regions = [None] if mask is None else self._regions(mask, device)
        self.views = _views(recipe, models)
        working = self._set_of(recipe).working_size(photo.height, photo.width)
        self.scenes = [
            Scene(self.origin, self._inside, region, recipe.kept_region_only, compression).at(
                *working
            )
            for region in regions
        ]
        if not self.scenes[0].inside.any():
            height, width = working
            raise UsageError(
                f"the mask marks too little: nothing of it is left at {width} x {height} pixels, "
                "at which the change is made"
            )
        if recipe.needs_mask:
            self.scenes = [scene for scene in self.scenes if self._keeps(scene)]
            if not self.scenes:
                raise UsageError(
                    "the mask marks too little: nothing of it is left at the size at which models "
                    "are fed the photo",
                    hint="mark more, or give a larger --size",
                )
        self.scene = self.scenes[0]

    def constraint(self, recipe: Recipe) -> Constraint:
        """The set of allowed images at the photo's own size.

        Args:
            recipe: The problem's recipe, possibly with another strength.
        """
        return _masked(self._set_of(recipe), self._inside)

    def working_constraint(self) -> Constraint:
        """The set of allowed images at the size at which the change is optimised."""
        return _masked(self._set_of(self.recipe), self.scene.inside)

    def saved_constraint(self, recipe: Recipe) -> Constraint:
        """The set of allowed images at the photo's own size, on the CPU, to check a saved file."""
        return _masked(self._set_of(recipe), torch.from_numpy(self.allowed)[None, None])

    def losses(self, surrogates: Sequence[Any], objective: Objective[Any]) -> list[Weighed]:
        """The objective's loss for each model and each of its views; one group for each model."""
        losses: list[Weighed] = []
        for number, (surrogate, fed) in enumerate(zip(surrogates, self.views, strict=True)):
            # A view that the recipe names twice has twice the weight, but is bound once.
            bound = {
                view: drawn_loss(
                    [view_loss(surrogate, objective, view, scene) for scene in self.scenes]
                )
                for view in set(fed)
            }
            losses += [Weighed(bound[view], number, self.scene.passes(view)) for view in fed]
        return losses

    def start(self, networks: Sequence[PerturbationNetwork], quick: Quick | None) -> Tensor:
        """The allowed image (1, C, h, w) that networks estimate, one network for each model.

        Args:
            networks: Networks, in the order of the models.
            quick: Context of passes in low precision, or None.
        """
        feeds = [
            fed_sides(self.photo.height, self.photo.width, self.recipe.size or model.size)
            for model in self._models
        ]
        estimators = [estimator(network, quick) for network in networks]
        # The recipe refuses other budgets than those that take estimates.
        budget = cast(TakesEstimates, self.working_constraint())
        with torch.no_grad():
            return budget.estimated(self.scene.origin, list(zip(feeds, estimators, strict=True)))

    def enlarged(self, x: Tensor) -> Tensor:
        """Enlarge an optimised image (1, C, h, w) to the photo's own size, within the budget.

        The change is enlarged and added to the original. ``x`` is modified in place.
        """
        if self.scene.origin.shape == self.origin.shape:
            return x
        change = interpolated(x.sub_(self.scene.origin), self.photo.height, self.photo.width)
        return self.constraint(self.recipe).project(change.add_(self.origin), self.origin)

    def steps(self, objective: Objective[Any], *, seconds: float | None, warm: bool) -> Steps:
        """The settings of the descent.

        Args:
            objective: Objective.
            seconds: Time limit in seconds, used instead of the recipe's number of steps.
            warm: Whether networks give the start.
        """
        recipe = self.recipe.warmed() if warm else self.recipe
        return Steps(
            recipe.steps,
            recipe.step_size,
            schedule=recipe.schedule,
            momentum=recipe.momentum,
            adaptivity=recipe.adaptivity,
            draws=recipe.draws,
            random=objective.random
            or len(self.scenes) > 1
            or any(view.random for fed in self.views for view in fed),
            random_start=recipe.random_start,
            patience=recipe.patience,
            seconds=seconds,
        )

    def fit(
        self,
        plan: MemoryPlan,
        surrogates: Sequence[Any],
        objective: Objective[Any],
        *,
        compared: bool,
        gradient: bool = True,
    ) -> bool:
        """Make models recompute activations if they would exceed the memory limit otherwise.

        Args:
            plan: Memory plan.
            surrogates: Attacked part of each model.
            objective: Objective.
            compared: Whether exact gradients are compared with quick ones.
            gradient: Whether there are any; else losses alone are computed.

        Returns:
            Whether there is enough memory to keep freed blocks; see ``MemoryPlan.fit``.

        Raises:
            UsageError: If memory would still exceed the limit.
        """
        repaints = self.scene.repaint is not None
        asked = (repr(self.recipe.objective), self.recipe.kept_region_only, repaints, gradient)
        roomy = [
            plan.fit(
                (model.name, *asked),
                self._copies(compared=compared),
                name=model.name,
                sides=self._largest_fed(fed),
                probe=partial(
                    self.scene.bytes_per_pixel, surrogate, model, objective, gradient=gradient
                ),
                recompute=surrogate.recompute,
            )
            for model, surrogate, fed in zip(self._models, surrogates, self.views, strict=True)
        ]
        return all(roomy)

    def _copies(self, *, compared: bool) -> Copies:
        """The number and size of the copies of the photo that the descent holds."""
        adaptive, budget = self.recipe.adaptivity is not None, self.recipe.constraint
        pieces = any(self.scene.in_pieces(view) for view in self.views[0])
        # The image, the best one so far, former gradients, the other models' gradients, and the
        # exact gradient while a quick one is compared. A sweep over windows fills a gradient of its
        # own in addition to that of other views.
        during = 2 + (self.recipe.momentum > 0) + adaptive + (len(self.views) > 1) + 2 * pieces
        # As the file shows it, with colours at a lower resolution, and their difference.
        during += 0 if self.scene.compression is None else 3
        return Copies(
            working=self.scene.origin.nbytes,
            whole=self.origin.nbytes,
            during=during + compared + budget.copies_kept,
            # Between passes: the squares of former gradients, and their root.
            more=2 * adaptive,
            budget=budget.copies_at_work,
        )

    def _largest_fed(self, fed: Sequence[View]) -> tuple[int, int]:
        """Height and width, in pixels, of the largest image that a model is fed."""
        like = torch.empty(self.scene.origin.shape, device="meta")
        seen = [view(like, torch.Generator()).shape[-2:] for view in fed]
        height, width = max(seen, key=lambda sides: sides.numel())
        return height, width

    def _regions(self, mask: np.ndarray, device: torch.device) -> list[Tensor]:
        """The pixels that an editor repaints, bool (1, 1, H, W), for each mask that keeps some."""
        opaque = self.photo.opaque
        kept = [~repainted(mask, region) & opaque for region in self.recipe.masks]
        once = {each.tobytes(): each for each in kept if each.any()}
        return [torch.from_numpy(~each).to(device)[None, None] for each in once.values()]

    def _keeps(self, scene: Scene) -> bool:
        """Whether an editor keeps something of a scene as some model is fed it.

        Windows are fed at the photo's own size, at which regions keep something.
        """
        return any(
            scene.in_pieces(view) or not scene.repainted(view, Generator(scene.origin.device)).all()
            for fed in self.views
            for view in fed
        )

    def _set_of(self, recipe: Recipe) -> Constraint:
        height, width = self.photo.height, self.photo.width
        side = fed_side(recipe, self._models, min(height, width))
        return recipe.constraint.fitted(height, width, side)


def fed_side(recipe: Recipe, models: Sequence[Autoencoder], short: int) -> int:
    """The short side that limits the frequencies of a recipe's changes, in pixels.

    That is the smallest at which a model is fed the photo, and the largest of these of the models.

    Args:
        recipe: Recipe.
        models: Autoencoders that it attacks.
        short: Short side of the photo, in pixels.
    """
    # Frequencies that one of a model's views removes would be wasted in that view.
    return max(min(view.fed_side(short) for view in fed) for fed in _views(recipe, models))


def _views(recipe: Recipe, models: Sequence[Autoencoder]) -> list[list[View]]:
    views = [VIEWS.create(part) for part in recipe.views]
    return [[view.fitted(recipe.size or model.size) for view in views] for model in models]


def _masked(budget: Constraint, inside: Tensor) -> Constraint:
    return budget if inside.all() else budget.within(inside)


def _allowed(photo: Photo, mask: np.ndarray | None, regions: Sequence[str]) -> np.ndarray:
    """Pixels that are not transparent and that an editor may keep, bool (H, W).

    Raises:
        UsageError: If the mask has another shape or type, or no pixel is left.
    """
    size = (photo.height, photo.width)
    if mask is not None and (mask.shape != size or mask.dtype != np.bool_):
        raise UsageError(
            f"mask must be bool {size}, got {mask.dtype} {mask.shape}; "
            "photovax.pictures.masks.load_mask reads one"
        )
    allowed = photo.opaque
    if mask is not None:
        allowed = allowed & kept_by_any(mask, regions)
        if not mask.any():
            raise UsageError("no pixel may change: the mask marks nothing")
    if not allowed.any():
        raise UsageError("no visible pixel may change: all pixels inside the mask are transparent")
    return allowed
