"""Recipes: all that decides an immunization, as plain data.

The same recipe, photo and models give the same result. This file imports nothing heavy;
objectives, which import PyTorch, are asked only when a way of editing is at issue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from photovax.attack.budgets import BUDGETS, VISIBILITY, Constraint, largest_change, radius_near
from photovax.errors import UsageError
from photovax.models.edit import SIZES, valid_size
from photovax.registry import Part, unknown

if TYPE_CHECKING:
    from photovax.attack.objectives import Objective

__all__ = ["Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How to immunize.

    Attributes:
        objective: What to make the model do.
        budget: The set of allowed changes. Its ``radius`` is in units of [0, 1], for a perceptual
            budget in thresholds.
        views: How the photo may be fed to the model; the loss is their mean.
        steps: Steps of projected gradient descent.
        step_size: Size of the first step, in the unit of the budget's radius.
        schedule: How the step size falls: ``constant``, ``linear`` or ``cosine``.
        momentum: Share of the former direction that is kept, from 0 to below 1.
        adaptivity: Share of the former squared gradients that is kept, from 0 to below 1: steps are
            shorter where the gradient turns (Adam's second beta; ``momentum`` is its first). All
            steps alike when None. Good where a target pulls; a pushed latent runs further without.
        draws: Views of each model used per step, taken in turn; all when None.
        random_start: Whether to start from a random allowed image instead of the photo.
        patience: Number of steps without 0.1 % of improvement after which to stop; never when None.
        kept_region_only: Whether the model is fed the photo with everything outside the mask in
            mid grey, as inpainting editors feed it.
        size: Short side in pixels at which the models are fed the photo, where a view does not
            say; each model's own when None.
        seed: Seed of all random choices.
    """

    objective: Part
    budget: Part
    views: tuple[Part, ...]
    steps: int
    step_size: float
    schedule: str = "linear"
    momentum: float = 0.0
    adaptivity: float | None = None
    draws: int | None = None
    random_start: bool = True
    patience: int | None = None
    kept_region_only: bool = False
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        whole = ("steps", "draws", "patience", "size", "seed")
        self._refuse({name: (_whole(getattr(self, name)), "a whole number") for name in whole})
        yes_or_no = ("random_start", "kept_region_only")
        self._refuse({n: (isinstance(getattr(self, n), bool), "true or false") for n in yes_or_no})
        self._refuse(
            {
                "steps": (self.steps >= 1, "1 or more"),
                "step_size": (self.step_size > 0, "above 0"),
                "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
                "adaptivity": (
                    self.adaptivity is None or 0 <= self.adaptivity < 1,
                    "from 0 to below 1",
                ),
                "draws": (self.draws is None or self.draws >= 1, "1 or more"),
                "patience": (self.patience is None or self.patience >= 1, "1 or more"),
                "size": (self.size is None or valid_size(self.size), SIZES),
                "seed": (0 <= self.seed < 2**63, "from 0 to below 2 to the power of 63"),
                "views": (len(self.views) >= 1, "at least one view"),
                "schedule": (
                    self.schedule in ("constant", "cosine", "linear"),
                    "constant, cosine or linear",
                ),
            }
        )
        self.constraint  # noqa: B018 - refuses a budget that there is not, or out of range

    def _refuse(self, checks: Mapping[str, tuple[bool, str]]) -> None:
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UsageError(f"recipe {name} must be {allowed}, got {getattr(self, name)!r}")

    @property
    def constraint(self) -> Constraint:
        """The budget itself, for any photo."""
        return BUDGETS.create(self.budget)

    @property
    def radius(self) -> float:
        """The budget's radius, in its own unit."""
        return self.constraint.radius

    @property
    def levels(self) -> float | None:
        """Largest change of any channel, in 8-bit levels; None where a length is bounded."""
        return self.constraint.most if self.constraint.unit == "levels" else None

    @property
    def visibility(self) -> str | None:
        """The word of ``VISIBILITY`` for how visible the change may be; None without one."""
        bounded = self.constraint.bounds_seen
        return self.constraint.label if bounded and self.constraint.label in VISIBILITY else None

    @property
    def mode(self) -> str | None:
        """The way of editing that the objective goes through; None where it goes through none."""
        return self._objective.mode

    @property
    def needs_mask(self) -> bool:
        """Whether it attacks inpainting, and so must know what an editor would keep."""
        return self.kept_region_only or self.mode == "inpaint"

    def with_levels(self, levels: float) -> Recipe:
        """The same recipe with another largest change, in 8-bit levels, and no other bound.

        Raises:
            UsageError: If its budget bounds the length of the change.
        """
        if self.constraint.bounds_seen:
            share = self.step_size / self.radius
            return replace(self, budget=largest_change(levels), step_size=levels / 255 * share / 2)
        if self.constraint.unit != "levels":
            raise UsageError(
                f"the recipe bounds {self.constraint.shown(self.radius)}, not a largest change in "
                "levels",
                hint="leave out --budget, or give a recipe file with another radius",
            )
        return self.with_bound(levels)

    def with_visibility(self, visibility: str) -> Recipe:
        """The same recipe with a change that is as visible as a word of ``VISIBILITY`` says.

        Raises:
            UnknownName: If it is no such word.
            UsageError: If its budget does not bound how visible the change is.
        """
        if visibility not in VISIBILITY:
            raise unknown("visibility", visibility, VISIBILITY)
        if not self.constraint.bounds_seen:
            raise UsageError(
                f"the recipe's budget is {self.budget.name}, which does not bound how visible the "
                "change is",
                hint="leave out --visibility, or use --recipe fast",
            )
        options = VISIBILITY[visibility]
        if options["radius"] == self.radius:
            return self
        return self.with_radius(options["radius"]).with_bound(options["levels"])

    def near_jod(self, jod: float) -> Recipe:
        """The same recipe with a change that has, in the mean of photos, so many JOD.

        The recipe itself where its budget does not bound how visible the change is.
        """
        if not self.constraint.bounds_seen:
            return self
        return self.with_radius(radius_near(jod))

    def with_bound(self, most: float) -> Recipe:
        """The same recipe with another largest change, in the unit that its budget bounds.

        Where that is the radius, the steps grow and shrink with it.
        """
        changed = self.constraint.bounding(most)
        if "radius" in changed:
            return self.with_radius(changed["radius"])
        return replace(self, budget=_with_options(self.budget, changed))

    def with_radius(self, radius: float) -> Recipe:
        """The same recipe with another budget; its steps grow and shrink with it."""
        budget = _with_options(self.budget, {"radius": radius})
        return replace(self, budget=budget, step_size=self.step_size * radius / self.radius)

    def with_mode(self, mode: str) -> Recipe:
        """The same recipe against another way of editing.

        Raises:
            UsageError: If its objective goes through no edit, or cannot go through that one.
        """
        changed = self._objective.options_for(mode)
        if changed is None:
            raise UsageError(
                f"objective {self.objective.name} goes through no edit",
                hint="leave out --mode",
            )
        objective = _with_options(self.objective, changed)
        if objective == self.objective:
            return self
        return replace(self, objective=objective, kept_region_only=mode == "inpaint")

    def to_json(self) -> str:
        """The recipe as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any field."""
        fields = asdict(self)
        if self.adaptivity is None:
            # Recipes written down before there was this field keep their digest.
            del fields["adaptivity"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _objective(self) -> Objective[Any]:
        from photovax.attack.objectives import OBJECTIVES

        return OBJECTIVES.create(self.objective)


def _with_options(part: Part, options: Mapping[str, Any]) -> Part:
    return replace(part, options={**part.options, **options})


def _whole(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
