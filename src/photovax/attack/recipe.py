"""Recipes: all settings of an immunization, as plain data.

The same recipe, photo and models give the same result. Importing this file is fast: objectives,
which import PyTorch, are loaded only by properties that depend on the way of editing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photovax.attack.budgets import (
    BUDGETS,
    LEVELS,
    VISIBILITY,
    Constraint,
    largest_change,
    radius_near,
)
from photovax.digests import file_digest
from photovax.errors import UnreadablePhoto, UsageError
from photovax.models.edit import MODES, SIZES, valid_size
from photovax.pictures.regions import REGIONS, SUBJECT
from photovax.ranges import SEEDS
from photovax.registry import Part, unknown

if TYPE_CHECKING:
    from photovax.attack.objectives import Objective

__all__ = ["Recipe"]

_NAMED_TARGETS = ("zero", "grey", "photo")
DEFENDED = tuple(region for region in REGIONS if region != "everything")
"""Regions that recipes can defend against; an editor that repaints everything sees no photo."""


@dataclass(frozen=True)
class Recipe:
    """The settings of an immunization.

    Attributes:
        objective: Objective, whose loss is minimised.
        budget: Set of allowed changes. Its ``radius`` is in units of [0, 1], for a perceptual
            budget in thresholds.
        views: Views through which models are fed the photo; the loss is the mean over them.
        steps: Number of steps of projected gradient descent.
        step_size: Size of the first step, in the unit of the budget's radius.
        schedule: Decay of the step size: ``constant``, ``linear`` or ``cosine``.
        momentum: Share of the former direction that is kept, from 0 to below 1 (arXiv 1710.06081).
        adaptivity: Share of the former squared gradients that is kept, from 0 to below 1. Steps are
            then shorter where the gradient changes sign between steps. This is beta 2 of Adam
            (arXiv 1412.6980), and ``momentum`` its beta 1. Steps are not scaled when None. It helps
            objectives with a target; those without one get further without it.
        draws: Number of views of each model used per step, in turn; all when None.
        random_start: Whether to start from a random allowed image instead of the photo.
        warm: Share of the steps that is enough where perturbation networks give the start, from 0
            to 1; their first step is smaller by the same factor. Networks are used where all
            models have one, and required if it is 0; they are not used when None.
        opposed: Whether these networks are those that were trained beside a denoiser, whose changes
            are harder to remove (``photovax.learning.opponent``).
        patience: Number of steps without 0.1 % of improvement after which to stop; never when None.
        kept_region_only: Whether models are fed the photo with everything outside the mask in mid
            grey, as inpainting editors are.
        masks: Regions that an inpainting editor may repaint, keys of
            ``photovax.pictures.regions.REGIONS``, for recipes against inpainting. With several, one
            is drawn at each step and model, and a pixel may change where one of them keeps the
            photo: also outside the subject with ``box`` or ``inverse``.
        size: Short side in pixels at which models are fed the photo, for views that do not set it;
            each model's own when None.
        seed: Seed of all random choices, from 0 to below 2^63.

    Raises:
        UnknownName: If there is no such budget.
        UsageError: If a field is of a wrong type or out of range.
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
    warm: float | None = None
    opposed: bool = False
    patience: int | None = None
    kept_region_only: bool = False
    masks: tuple[str, ...] = (SUBJECT,)
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        whole = ("steps", "draws", "patience", "size", "seed")
        self._refuse({name: (_whole(getattr(self, name)), "a whole number") for name in whole})
        given = ("steps", "step_size", "momentum", "seed")
        self._refuse({name: (getattr(self, name) is not None, "given") for name in given})
        yes_or_no = ("random_start", "kept_region_only", "opposed")
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
                "warm": (self.warm is None or 0 <= self.warm <= 1, "from 0 to 1"),
                "draws": (self.draws is None or self.draws >= 1, "1 or more"),
                "patience": (self.patience is None or self.patience >= 1, "1 or more"),
                "size": (self.size is None or valid_size(self.size), SIZES),
                "seed": (self.seed in SEEDS, str(SEEDS)),
                "views": (len(self.views) >= 1, "at least one view"),
                "masks": (_regions(self.masks), f"some of {', '.join(DEFENDED)}, each once"),
                "schedule": (
                    self.schedule in ("constant", "cosine", "linear"),
                    "constant, cosine or linear",
                ),
            }
        )
        warms = self.constraint.takes_estimates  # raises if the budget is unknown or out of range
        if self.warm is not None and not warms:
            raise UsageError(
                "recipe warm needs a budget that takes estimates, such as perceptual, got "
                f"{self.budget.name}: networks estimate visibility thresholds"
            )

    def _refuse(self, checks: Mapping[str, tuple[bool, str]]) -> None:
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UsageError(f"recipe {name} must be {allowed}, got {getattr(self, name)!r}")

    @property
    def constraint(self) -> Constraint:
        """The set of allowed images, not yet fitted to a photo."""
        return BUDGETS.create(self.budget)

    @property
    def radius(self) -> float:
        """The budget's radius: in units of [0, 1], for a perceptual budget in thresholds."""
        return self.constraint.radius

    @property
    def levels(self) -> float | None:
        """The largest change of any channel, in 8-bit levels; None if a length is bounded."""
        return self.constraint.most if self.constraint.unit == "levels" else None

    @property
    def visibility(self) -> str | None:
        """The name in ``VISIBILITY`` of the budget's radius; None where it has no name."""
        bounded = self.constraint.bounds_seen
        return self.constraint.label if bounded and self.constraint.label in VISIBILITY else None

    @property
    def takes_levels(self) -> bool:
        """Whether a largest change can be asked for instead; not if networks alone decide it."""
        return self.warm != 0

    @property
    def mode(self) -> str | None:
        """The way of editing that the objective attacks; None if it does not depend on one."""
        return self._objective.mode

    @property
    def needs_mask(self) -> bool:
        """Whether a mask is required: inpainting editors see only the kept region."""
        return self.kept_region_only or self.mode == "inpaint"

    @property
    def pictures(self) -> tuple[Path, ...]:
        """Files of target pictures of its objective, besides what ships with photovax."""
        return tuple(Path(target) for target in _targets(self.objective.options))

    def picture_digests(self) -> list[str]:
        """SHA-256 of the content of each of ``pictures``.

        Raises:
            UnreadablePhoto: If one cannot be read.
        """
        found = []
        for path in self.pictures:
            try:
                found.append(file_digest(path))
            except OSError as error:
                reason = error.strerror or str(error)
                raise UnreadablePhoto(f"{path}: cannot be read: {reason}") from error
        return found

    def adjusted(
        self,
        *,
        levels: float | None = None,
        visibility: str | float | None = None,
        mode: str | None = None,
        size: int | None = None,
        seed: int | None = None,
    ) -> Recipe:
        """The recipe with the settings that are not None.

        Args:
            levels: See ``with_levels``.
            visibility: Name for ``with_visibility``, or a number of JOD for ``near_jod``.
            mode: See ``with_mode``.
            size: Short side in pixels at which the models are fed the photo.
            seed: Seed of all random choices.

        Raises:
            UsageError: If both levels and a visibility are given, or one does not fit the recipe.
        """
        recipe = self
        if levels is not None and visibility is not None:
            raise UsageError(
                "a budget bounds the largest change, a visibility how visible it is: give one",
                hint="leave out one of --budget and --visibility",
            )
        if levels is not None:
            recipe = recipe.with_levels(levels)
        if isinstance(visibility, str):
            recipe = recipe.with_visibility(visibility)
        elif visibility is not None:
            recipe = recipe.near_jod(visibility)
        if mode is not None:
            recipe = recipe.with_mode(mode)
        given: dict[str, Any] = {"size": size, "seed": seed}
        return replace(recipe, **{key: each for key, each in given.items() if each is not None})

    def with_levels(self, levels: float) -> Recipe:
        """The recipe with an l-infinity budget of ``levels`` 8-bit levels.

        Raises:
            UsageError: If the levels are not above 0 and up to 255, or the recipe's budget bounds
                the length of the change.
        """
        if levels not in LEVELS:
            raise UsageError(f"the largest change must be {LEVELS} levels, got {levels!r}")
        if not self.takes_levels:
            raise UsageError(
                "the recipe takes no steps: its networks estimate thresholds, not levels",
                hint="leave out --budget, or use --recipe fast",
            )
        if self.constraint.bounds_seen:
            size = levels / 255 * self.step_size / self.radius / 2
            return replace(self, budget=largest_change(levels), step_size=size, warm=None)
        if self.constraint.unit != "levels":
            raise UsageError(
                f"the recipe bounds {self.constraint.shown(self.radius)}, not a largest change in "
                "levels",
                hint="leave out --budget, or give a recipe file with another radius",
            )
        return self.with_bound(levels)

    def with_visibility(self, visibility: str) -> Recipe:
        """The recipe with a named visibility of the change.

        Args:
            visibility: Name in ``VISIBILITY``: ``low``, ``medium`` or ``high``.

        Raises:
            UnknownName: If there is no such name.
            UsageError: If its budget does not bound the visibility of the change.
        """
        if visibility not in VISIBILITY:
            raise unknown("visibility", visibility, VISIBILITY)
        if not self.constraint.bounds_seen:
            raise UsageError(
                f"the recipe's budget is {self.budget.name}, which does not bound the visibility "
                "of the change",
                hint="leave out --visibility, or use --recipe fast",
            )
        return self._visible(VISIBILITY[visibility]["radius"], VISIBILITY[visibility])

    def near_jod(self, jod: float) -> Recipe:
        """The recipe with the radius whose changes have ``jod`` JOD in the mean of photos.

        The recipe itself if its budget does not bound the visibility of the change.
        """
        if not self.constraint.bounds_seen:
            return self
        radius = radius_near(jod)
        louder = (known for known in VISIBILITY.values() if known["radius"] >= radius)
        return self._visible(radius, next(louder, VISIBILITY["high"]))

    def with_bound(self, most: float) -> Recipe:
        """The recipe with another largest change, in the unit that its budget bounds.

        If the radius depends on it, the step size is scaled with the radius.
        """
        changed = self.constraint.bounding(most)
        if "radius" in changed:
            return self.with_radius(changed["radius"])
        return replace(self, budget=_with_options(self.budget, changed))

    def with_radius(self, radius: float) -> Recipe:
        """The recipe with another radius, and the step size scaled in proportion."""
        budget = _with_options(self.budget, {"radius": radius})
        return replace(self, budget=budget, step_size=self.step_size * radius / self.radius)

    def warmed(self) -> Recipe:
        """The recipe where networks give the start: with fewer steps, and a smaller first one.

        The recipe itself if it uses no networks, or takes no steps from them.
        """
        if not self.warm:
            return self
        count = max(1, round(self.steps * self.warm))
        return replace(self, steps=count, step_size=self.step_size * self.warm)

    def with_mode(self, mode: str) -> Recipe:
        """The recipe against another way of editing: ``instruct``, ``inpaint`` or ``img2img``.

        Raises:
            UnknownName: If there is no such way of editing.
            UsageError: If its objective does not depend on a way of editing, or cannot attack this
                one.
        """
        if mode not in MODES:
            raise unknown("mode", mode, dict.fromkeys(MODES))
        changed = self._objective.options_for(mode)
        if changed is None:
            raise UsageError(
                f"objective {self.objective.name} goes through no edit",
                hint="leave out --mode",
            )
        objective = _with_options(self.objective, changed)
        inpaint = mode == "inpaint"
        recipe = self if inpaint else replace(self, masks=(SUBJECT,))
        if objective == self.objective:
            return recipe
        # Networks are trained on whole photos.
        warm = None if inpaint else self.warm
        return replace(recipe, objective=objective, kept_region_only=inpaint, warm=warm)

    def _visible(self, radius: float, named: Mapping[str, float]) -> Recipe:
        """The same recipe with another radius, and a named visibility's other options.

        Options that the recipe has chosen itself stay.
        """
        if radius == self.radius:
            return self
        present = VISIBILITY.get(self.constraint.label, {})
        options = self.budget.options
        changed = {
            name: value
            for name, value in named.items()
            if name in present and options.get(name) == present[name] and name != "radius"
        }
        recipe = self.with_radius(radius)
        return replace(recipe, budget=_with_options(recipe.budget, changed))

    def to_json(self) -> str:
        """The recipe as JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    def digest(self) -> str:
        """The first sixteen hexadecimal digits of the SHA-256 of the recipe's JSON."""
        fields = asdict(self)
        for name in ("adaptivity", "warm"):
            # Left out by default: records made before these fields existed keep their digest.
            if fields[name] is None:
                del fields[name]
        if self.masks == (SUBJECT,):
            del fields["masks"]
        if not self.opposed:
            del fields["opposed"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def _objective(self) -> Objective[Any]:
        from photovax.attack.objectives import OBJECTIVES

        return OBJECTIVES.create(self.objective)


def _targets(options: Mapping[str, Any]) -> Iterator[str]:
    """Paths of target pictures in the options of an objective, or of the terms of a sum."""
    target = options.get("target")
    if isinstance(target, str) and target not in _NAMED_TARGETS:
        yield target
    terms = options.get("terms")
    for term in terms if isinstance(terms, list | tuple) else ():
        own = term.get("options") if isinstance(term, Mapping) else None
        if isinstance(own, Mapping):
            yield from _targets(own)


def _with_options(part: Part, options: Mapping[str, Any]) -> Part:
    return replace(part, options={**part.options, **options})


def _regions(masks: object) -> bool:
    """Whether these are masks of a recipe, each once."""
    if not isinstance(masks, tuple) or not masks or any(mask not in DEFENDED for mask in masks):
        return False
    return len(set(masks)) == len(masks)


def _whole(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))
