"""Recipes: all that decides an immunization, as plain data.

The same recipe, photo and models give the same result. This file imports nothing heavy, so
that the command line can list presets at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from photovax.errors import UsageError
from photovax.models.edit import SIZES, USUAL_STRENGTH, valid_size
from photovax.registry import Part, unknown

__all__ = [
    "DEFAULT",
    "DIFFUSION",
    "GREY",
    "LINF",
    "NATIVE",
    "PRESETS",
    "VISIBILITY",
    "Recipe",
    "load_recipe",
    "visibility_word",
]

DEFAULT = "fast"
LINF = "fast-linf"
DIFFUSION = "fast-diffusion"
NATIVE = "fast-native"
GREY = "fast-grey"

VISIBILITY = {"low": 0.60, "medium": 0.88, "high": 1.12}
"""How much a change may be seen, by the word for it: the radius of a perceptual budget.

On full HD, ColorVideoVDP puts photos changed by as much at some 9.6, 9.2 and 8.9 JOD in the mean.
"""

_JOD_LOST, _JOD_POWER = 1.17, 2.05
"""JOD that a radius of 1 takes, and the power it grows with, in the mean of training photos."""


@dataclass(frozen=True)
class Recipe:
    """How to immunize.

    Attributes:
        objective: What to make the model do.
        budget: The set of allowed changes; its ``radius`` is in units of [0, 1], and of a
            perceptual one in thresholds.
        views: How the photo may be fed to the model; the loss is their mean.
        steps: Steps of projected gradient descent.
        step_size: Size of the first step, in the unit of the budget's radius.
        schedule: How the step size falls: ``constant``, ``linear`` or ``cosine``.
        momentum: Share of the former direction kept.
        adaptivity: Share of the former squared gradients kept, by which steps are shorter where
            the gradient turns (Adam's second beta, ``momentum`` being its first); all alike when
            None. Good where a target pulls: a pushed latent runs further without.
        draws: Views of each model used per step, taken in turn; all when None.
        random_start: Start from a random allowed image instead of the photo.
        patience: Stop after this many steps without 0.1 % of improvement; never when None.
        kept_region_only: The model is fed the photo with everything outside the mask in mid
            grey, as inpainting editors feed it.
        size: Short side in pixels at which the models are fed the photo, where a view does not
            say; each model's own when None.
        seed: Of all random choices.
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
        largest = 1 if self.budget.name == "linf" else math.inf
        checks = {
            "steps": (self.steps >= 1, "1 or more"),
            "step_size": (self.step_size > 0, "above 0"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "adaptivity": (
                self.adaptivity is None or 0 <= self.adaptivity < 1,
                "from 0 to below 1",
            ),
            "draws": (self.draws is None or self.draws >= 1, "1 or more"),
            "patience": (self.patience is None or self.patience >= 1, "1 or more"),
            "size": (
                self.size is None or valid_size(self.size),
                SIZES,
            ),
            "seed": (0 <= self.seed < 2**63, "from 0 to below 2 to the power of 63"),
            "views": (len(self.views) >= 1, "at least one view"),
            "schedule": (
                self.schedule in ("constant", "cosine", "linear"),
                "constant, cosine or linear",
            ),
            "budget": (
                0 < self.budget.options.get("radius", 0) <= largest,
                "a part with a radius above 0, for linf up to 1 (8 of 255 levels are 0.0314)",
            ),
        }
        self._refuse(checks)

    def _refuse(self, checks: Mapping[str, tuple[bool, str]]) -> None:
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UsageError(f"recipe {name} must be {allowed}, got {getattr(self, name)!r}")

    @property
    def radius(self) -> float:
        """The budget's radius, in its own unit."""
        return float(self.budget.options["radius"])

    @property
    def levels(self) -> float | None:
        """Largest change of any channel, in 8-bit levels; None where a length is bounded."""
        if self.budget.name == "linf":
            return self.radius * 255
        return self.budget.options.get("levels")

    @property
    def bound(self) -> tuple[str, float]:
        """What can be promised of a photo whoever looks at it: a norm, and the most in its unit.

        Levels for ``linf``, which a perceptual budget bounds as well; else the radius.
        """
        return (self.budget.name, self.radius) if self.levels is None else ("linf", self.levels)

    @property
    def bounds_seen(self) -> bool:
        """Whether its budget bounds how much the change is seen."""
        return self.budget.name == "perceptual"

    @property
    def visibility(self) -> str | None:
        """The word of ``VISIBILITY`` for how much of the change may be seen; None without one."""
        return visibility_word(self.radius) if self.bounds_seen else None

    @property
    def needs_mask(self) -> bool:
        """Whether it attacks inpainting, and so must know what an editor would keep."""
        return self.kept_region_only or "inpaint" in _modes(self.objective)

    def with_levels(self, levels: float) -> Recipe:
        """The same recipe with another largest change, in 8-bit levels, and no other bound.

        Raises:
            UsageError: If its budget bounds the length of the change.
        """
        if self.bounds_seen:
            share = self.step_size / self.radius
            budget = Part("linf", {"radius": levels / 255})
            return replace(self, budget=budget, step_size=levels / 255 * share / 2)
        if self.budget.name != "linf":
            raise UsageError(
                f"the recipe's budget is {self.budget.name} {self.radius:g}, not a largest change "
                "in levels: leave out --budget, or give a recipe file with another radius"
            )
        return self.with_radius(levels / 255)

    def with_visibility(self, visibility: str) -> Recipe:
        """The same recipe with a change that may be seen as much as a word of ``VISIBILITY`` says.

        Raises:
            UnknownName: If it is no such word.
            UsageError: If its budget bounds something else than what is seen.
        """
        if visibility not in VISIBILITY:
            raise unknown("visibility", visibility, VISIBILITY)
        if not self.bounds_seen:
            raise UsageError(
                f"the recipe's budget is {self.budget.name}, not what is seen of the change: leave "
                f"out --visibility, or use --recipe {DEFAULT}"
            )
        radius = VISIBILITY[visibility]
        return self if radius == self.radius else self.with_radius(radius)

    def near_jod(self, jod: float) -> Recipe:
        """The same recipe with a change that is seen, in the mean of photos, at so many JOD.

        Itself where its budget bounds something else than what is seen.
        """
        if self.budget.name != "perceptual":
            return self
        return self.with_radius(((10 - jod) / _JOD_LOST) ** (1 / _JOD_POWER))

    def with_bound(self, most: float) -> Recipe:
        """The same recipe with another ``bound``, in the same unit."""
        if self.bounds_seen:
            options = {**self.budget.options, "levels": most}
            return replace(self, budget=replace(self.budget, options=options))
        return self.with_radius(most / 255 if self.levels is not None else most)

    def with_radius(self, radius: float) -> Recipe:
        """The same recipe with another budget; its steps grow and shrink with it."""
        budget = replace(self.budget, options={**self.budget.options, "radius": radius})
        return replace(self, budget=budget, step_size=self.step_size * radius / self.radius)

    def with_mode(self, mode: str) -> Recipe:
        """The same recipe against another way of editing.

        Raises:
            UsageError: If its objective goes through no edit.
        """
        objective = _in_mode(self.objective, mode)
        if objective == self.objective:
            return self
        return replace(self, objective=objective, kept_region_only=mode == "inpaint")

    def to_json(self) -> str:
        """The recipe as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Recipe:
        """The recipe that plain data describes; ``preset`` names one to start from.

        Raises:
            UsageError: If a field is unknown, missing or out of range.
        """
        fields = dict(data)
        base = PRESETS[_known(fields.pop("preset"))] if "preset" in fields else None
        allowed = {field.name for field in dataclasses.fields(cls)}
        for name in fields.keys() - allowed:
            raise unknown("recipe field", name, dict.fromkeys(sorted(allowed)))
        try:
            for name in ("objective", "budget"):
                if name in fields:
                    fields[name] = _part(fields[name])
            if "views" in fields:
                fields["views"] = tuple(map(_part, fields["views"]))
            return replace(base, **fields) if base else cls(**fields)
        except TypeError as error:
            raise UsageError(f"recipe: {error}; a part is name = ..., options = {{...}}") from None

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with any field."""
        fields = asdict(self)
        if self.adaptivity is None:
            # Recipes written down before there was this field keep their digest.
            del fields["adaptivity"]
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def visibility_word(radius: float) -> str | None:
    """The word of ``VISIBILITY`` for a radius in thresholds; None where there is none."""
    return next((word for word, known in VISIBILITY.items() if known == radius), None)


def load_recipe(name: str) -> Recipe:
    """A preset by name, or the recipe in a ``.toml`` or ``.json`` file.

    Raises:
        UnknownName: If there is no such preset.
        UsageError: If the file cannot be read or does not describe a recipe.
    """
    path = Path(name)
    if path.suffix.lower() not in (".toml", ".json"):
        return PRESETS[_known(name)]
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"recipe {name}: {error}") from None
    if not isinstance(data, dict):
        raise UsageError(f"recipe {name}: expected a table of fields, got {type(data).__name__}")
    return Recipe.from_mapping(data)


def _part(data: Mapping[str, Any]) -> Part:
    part = Part(**data)
    if not isinstance(part.options, Mapping):
        raise TypeError(f"options must be a table, got {part.options!r}")
    return part


def _whole(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _known(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"preset must be a name, got {name!r}")
    if name not in PRESETS:
        raise unknown("recipe", name, PRESETS)
    return name


def _in_mode(objective: Part, mode: str) -> Part:
    options = dict(objective.options)
    if "edit" in options:
        options["edit"] = _edit_in_mode(options["edit"], mode)
    elif "mode" in options:
        options["mode"] = mode
    elif any(map(_has_mode, _terms(objective))):
        options["terms"] = [
            {**term, "options": dict(_in_mode(part, mode).options)} if _has_mode(part) else term
            for term, part in zip(options["terms"], _terms(objective), strict=True)
        ]
    else:
        raise UsageError(f"objective {objective.name} goes through no edit: leave out --mode")
    return replace(objective, options=options)


def _has_mode(part: Part) -> bool:
    return bool({"edit", "mode"} & part.options.keys())


def _modes(objective: Part) -> set[str]:
    """The ways of editing that an objective or its terms go through, where they say so."""
    edit = objective.options.get("edit")
    own = edit if isinstance(edit, Mapping) else objective.options
    return {str(own["mode"])} if "mode" in own else set().union(*map(_modes, _terms(objective)))


def _terms(objective: Part) -> list[Part]:
    terms = objective.options.get("terms", ()) if objective.name == "sum" else ()
    return [Part(term["name"], term.get("options", {})) for term in terms]


def _edit_in_mode(edit: Mapping[str, Any], mode: str) -> dict[str, Any]:
    changed = {**edit, "mode": mode}
    if mode == "img2img":
        # At full strength nothing of the photo is left to attack.
        strength = changed.setdefault("strength", USUAL_STRENGTH)
        if "steps" in changed and int(changed["steps"] * strength) < 1:
            changed["steps"] = math.ceil(1 / strength)
    return changed


def _linf(radius: float) -> Part:
    return Part("linf", {"radius": radius})


def _perceptual(visibility: str) -> Part:
    return Part("perceptual", {"radius": VISIBILITY[visibility], "levels": 16})


def _at(*times: float) -> tuple[Part, ...]:
    """The whole photo at these multiples of the model's own size."""
    return tuple(Part("short_side", {"times": factor}) for factor in times)


def _tiled() -> tuple[Part, ...]:
    """Tiles at eight alignments with the model's grid, each with the whole photo after it.

    Every row and every column of a block of 8 x 8 pixels is met once.
    """
    alignments = ((0, 0), (4, 4), (2, 6), (6, 2), (1, 3), (5, 7), (3, 1), (7, 5))
    return tuple(
        part
        for (down, right), whole in zip(alignments, _at(1, 1, 1.5, 1, 1, 1.5, 1, 1), strict=True)
        for part in (Part("tiles", {"down": down, "right": right}), whole)
    )


# What an adversary may ask for; nobody knows.
_ANY_PROMPT = [
    "make it night",
    "make it winter",
    "turn it into a drawing",
    "make it black and white",
    "make it look old",
    "change the colours",
]


def _published_edit(mode: str) -> dict[str, Any]:
    return {"mode": mode, "prompt": "", "steps": 4, "guidance": 7.5, "eta": 1.0}


def _diff_protect(objective: Part) -> Recipe:
    """The settings that Diff-Protect runs all its attacks with: 16 of 255 levels in truth."""
    return Recipe(
        objective=objective,
        budget=_linf(16 / 255),
        views=_at(1),
        steps=100,
        step_size=1 / 255,
        schedule="constant",
        random_start=False,
    )


# The published notebooks work in [-1, 1]; a radius or step there is halved here. They resize the
# photo to the model's size first: here it keeps its own, and the loss sees it at the model's.
PRESETS: dict[str, Recipe] = {
    DEFAULT: Recipe(
        objective=Part("latent_drift"),
        budget=_perceptual("medium"),
        # One view a step, in turn: at 512 and 768 pixels for Stable Diffusion 1.
        views=_at(1, 1, 1.5),
        steps=48,
        step_size=VISIBILITY["medium"],
        schedule="cosine",
        draws=1,
    ),
    # The same with a largest change in place of what is seen.
    LINF: Recipe(
        objective=Part("latent_drift"),
        budget=_linf(8 / 255),
        views=_at(1, 1, 1.5),
        steps=48,
        step_size=4 / 255,
        schedule="cosine",
        draws=1,
    ),
    # The photo at its own size, for adversaries who crop, and resized, for those who do not. A
    # step goes through all tiles of one alignment and one view of the whole.
    NATIVE: Recipe(
        objective=Part("latent_drift"),
        budget=_linf(8 / 255),
        views=_tiled(),
        steps=16,
        # Few steps, so long ones: the first puts every pixel at the edge of the budget.
        step_size=16 / 255,
        schedule="cosine",
        momentum=0.5,
        draws=2,
    ),
    # The objective of PhotoGuard's web demo in a sixth of its steps. A target is a place to
    # arrive at, so steps know where gradients turn; the first one crosses the whole budget.
    GREY: Recipe(
        objective=Part("latent_target", {"target": "grey"}),
        budget=_linf(8 / 255),
        views=_at(1),
        steps=32,
        step_size=8 / 255,
        momentum=0.5,
        adaptivity=0.5,
        random_start=False,
    ),
    # Our own attack through the edit, in one denoising step: away from the edit of the original
    # on the same noise, while the latent drifts as well.
    DIFFUSION: Recipe(
        objective=Part(
            "sum",
            {
                "terms": [
                    {"name": "latent_drift"},
                    {
                        "name": "edit_drift",
                        "weight": 40,
                        "options": {
                            "edit": {"mode": "instruct", "steps": 1, "guidance": 1},
                            "prompts": _ANY_PROMPT,
                        },
                    },
                ]
            },
        ),
        budget=_perceptual("medium"),
        views=_at(1),
        steps=40,
        step_size=VISIBILITY["medium"],
        schedule="cosine",
    ),
    # demo_simple_attack_img2img.ipynb: pushes the latent's norm to zero.
    "photoguard-img2img": Recipe(
        objective=Part("latent_target", {"target": "zero"}),
        budget=_linf(0.06 / 2),
        views=_at(1),
        steps=1000,
        step_size=0.02 / 2,
    ),
    # demo_simple_attack_inpainting.ipynb: pushes the kept region to the latent of a photo.
    "photoguard-inpaint": Recipe(
        objective=Part("latent_target", {"target": "photo"}),
        budget=_linf(0.06 / 2),
        views=_at(1),
        steps=1000,
        step_size=0.01 / 2,
        kept_region_only=True,
    ),
    # The web demo: pushes the latent to that of a grey picture.
    "photoguard-demo": Recipe(
        objective=Part("latent_target", {"target": "grey"}),
        budget=_linf(0.12 / 2),
        views=_at(1),
        steps=200,
        step_size=0.01 / 2,
    ),
    # demo_complex_attack_inpainting.ipynb: the whole edit to the zero tensor, the mean of ten
    # draws a step. Its eps=16 and step_size=1 are lengths over the picture, in [-1, 1].
    "photoguard-diffusion-l2": Recipe(
        objective=Part("edit_target", {"edit": _published_edit("inpaint"), "target": "zero"}),
        budget=Part("l2", {"radius": 16 / 2}),
        views=_at(*[1] * 10),
        steps=200,
        step_size=1 / 2,
        schedule="constant",
        random_start=False,
    ),
    # Its commented variant: eps=0.1, step_size=0.006.
    "photoguard-diffusion-linf": Recipe(
        objective=Part("edit_target", {"edit": _published_edit("inpaint"), "target": "zero"}),
        budget=_linf(0.1 / 2),
        views=_at(*[1] * 5),
        steps=200,
        step_size=0.006 / 2,
        schedule="constant",
        random_start=False,
    ),
    "advdm": _diff_protect(Part("denoising_error", {"mode": "img2img"})),
    "sds": _diff_protect(Part("denoising_error", {"mode": "img2img", "through_denoiser": False})),
    # Mist (arXiv 2305.12683): AdvDM and a pull to the latent of a target picture at once. The
    # two are in other units here than there, so the weights are not comparable.
    "mist": _diff_protect(
        Part(
            "sum",
            {
                "terms": [
                    {"name": "denoising_error", "options": {"mode": "img2img"}},
                    {"name": "latent_target", "options": {"target": "photo"}, "weight": 5},
                ]
            },
        )
    ),
    # eps=16/255 and step_size=1/255 in [-1, 1]: truly 8 levels, half a level a step.
    "diffusionguard": Recipe(
        objective=Part("first_step_norm", {"mode": "inpaint"}),
        budget=_linf(8 / 255),
        views=_at(1),
        steps=800,
        step_size=0.5 / 255,
        schedule="constant",
        random_start=False,
    ),
    "pid": Recipe(
        objective=Part("posterior_shift"),
        budget=_linf(0.05),
        views=_at(1),
        steps=1000,
        step_size=1 / 255,
        schedule="constant",
    ),
}
