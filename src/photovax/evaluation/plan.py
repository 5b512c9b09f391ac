"""What an evaluation is to do: plain data, checked before anything heavy is loaded."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from photovax.attack.recipe import Recipe, load_recipe, visibility_word
from photovax.errors import UsageError
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.edit import Edit, Mode
from photovax.models.load import usual_edit
from photovax.pictures.types import PICTURE_SUFFIXES
from photovax.registry import Part, unknown

__all__ = [
    "DEFAULT_EDITS",
    "MASKS",
    "NOISE",
    "NONE",
    "Asked",
    "Floor",
    "Plan",
    "Variant",
    "find_photos",
    "load_edits",
    "variants",
]

DEFAULT_EDITS = Path(__file__).parent.parent / "data" / "edits.toml"
NONE = "none"
"""The purification that does nothing; among recipes the originals, which are always edited, too."""

NOISE = "noise"
"""Among recipes what is always measured beside each."""

MASKS = {
    "subject": "repaint all but the subject, as the defender expects",
    "dilated": "repaint a twentieth of the short side into the subject, too",
    "box": "repaint all but the subject's bounding box",
    "inverse": "repaint the subject",
    "everything": "repaint the whole photo",
}
"""Which region an adversary repaints, from the mask beside the photo."""


@dataclass(frozen=True)
class Asked:
    """One kind of edit to ask of every photo.

    Attributes:
        name: For tables.
        edit: The edit, with an empty prompt.
        prompts: Each photo gets one of them.
        mask: inpaint: which region is repainted; see ``MASKS``.
    """

    name: str
    edit: Edit
    prompts: tuple[str, ...]
    mask: str = "subject"

    @property
    def needs_mask(self) -> bool:
        """Whether the region depends on a mask beside the photo."""
        return self.edit.mode == "inpaint" and self.mask != "everything"

    def of(self, digest: str) -> Edit:
        """The edit of the photo with this SHA-256: always the same one."""
        return self.edit.asking(self.prompts[int(digest[:8], 16) % len(self.prompts)])


@dataclass(frozen=True)
class Floor:
    """Random noise of the size of a recipe's change: what a change does without any aim.

    Attributes:
        norm: ``linf``, ``l2`` or ``perceptual``.
        radius: In the budget's unit.
        kept: Only where an inpainting editor keeps the photo.
        bound: perceptual: largest change, in 8-bit levels.
    """

    norm: str
    radius: float
    kept: bool = False
    bound: float | None = None

    @property
    def whole_levels(self) -> int:
        """linf: the largest change, in whole 8-bit levels."""
        return math.floor(self.radius * 255 + 1e-3)

    @property
    def levels(self) -> float | None:
        """Largest change allowed, in 8-bit levels; None where a length is bounded."""
        return self.radius * 255 if self.norm == "linf" else self.bound

    @property
    def budget(self) -> Part:
        """As a part of a recipe."""
        options = {"radius": self.radius}
        return Part(self.norm, options if self.bound is None else {**options, "levels": self.bound})

    @property
    def label(self) -> str:
        """For tables."""
        return f"noise {_size(self.budget)}" + (" (kept region)" if self.kept else "")

    def facts(self) -> dict[str, Any]:
        """What its results are stored by."""
        # Noise that was stored before there was a bound keeps its key.
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Variant:
    """A recipe at one budget.

    Attributes:
        label: For tables.
        recipe: How to immunize.
    """

    label: str
    recipe: Recipe

    def against(self, mode: Mode) -> Recipe:
        """The recipe for a way of editing: through edits of that kind, if it goes through any."""
        try:
            return self.recipe.with_mode(mode)
        except UsageError:
            return self.recipe

    def applies(self, mode: Mode) -> bool:
        """Whether there is anything to attack in a way of editing."""
        adapted = self.against(mode)
        if adapted.objective.name == "first_step_norm":
            return mode != "img2img"  # its first step sees no photo
        return mode == "inpaint" or not adapted.needs_mask

    def floor(self, mode: Mode) -> Floor:
        """The noise to compare with in a way of editing."""
        adapted = self.against(mode)
        name, bound = adapted.budget.name, None
        if name == "perceptual":
            bound = adapted.levels
        return Floor(name, adapted.radius, adapted.needs_mask, bound)


@dataclass(frozen=True)
class Plan:
    """All that decides an evaluation's figures, but for photos and weights.

    Attributes:
        variants: Recipes at their budgets.
        edits: What is asked of every photo.
        purifications: Names of what the adversary does to a photo before editing it.
        seeds: Each edit is done with the seeds 0 .. seeds - 1.
        metrics: Names of pair metrics.
        models: What the recipes attack.
        editor: Who edits.
        size: Short side, in pixels, at which the editor is fed photos; its own when None.
    """

    variants: tuple[Variant, ...]
    edits: tuple[Asked, ...]
    purifications: tuple[str, ...] = (NONE,)
    seeds: int = 3
    metrics: tuple[str, ...] = ("psnr", "ssim")
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    editor: str = DEFAULT_MODEL
    size: int | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UsageError(f"an evaluation needs 1 seed or more, got {self.seeds}")
        for field in ("variants", "edits", "purifications"):
            if not getattr(self, field):
                raise UsageError(f"an evaluation needs one of the {field} or more, got none")

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Ways of editing, in the order of the edits."""
        return tuple(dict.fromkeys(asked.edit.mode for asked in self.edits))


def variants(
    names: Iterable[str],
    budgets: Sequence[float] = (),
    visibilities: Sequence[str] = (),
    *,
    size: int | None = None,
) -> tuple[Variant, ...]:
    """Recipes by name or file, at strengths that fit them, or each at its own when none does.

    Levels are for recipes that bound the largest change, visibilities for those that bound what is
    seen; an l2 budget is kept. ``none`` and ``noise`` may be named but need not be: edits of the
    originals and of noise stand beside every recipe.

    Args:
        names: Presets and recipe files.
        budgets: Largest changes in 8-bit levels.
        visibilities: Words of ``photovax.attack.recipe.VISIBILITY``.
        size: Short side in pixels at which models are fed photos, for recipes that do not say.

    Raises:
        UsageError: If a recipe or strength does not make sense, two recipes have one label, or
            there is no recipe.
    """
    found: list[Variant] = []
    for name in dict.fromkeys(names):
        if name in (NONE, NOISE):
            continue
        recipe, label = load_recipe(name), Path(name).stem
        recipe = recipe if recipe.size is not None else replace(recipe, size=size)
        at = [recipe]
        if recipe.budget.name == "linf" and budgets:
            at = [recipe.with_levels(levels) for levels in dict.fromkeys(budgets)]
        if recipe.budget.name == "perceptual" and visibilities:
            at = [recipe.with_visibility(word) for word in dict.fromkeys(visibilities)]
        found += [Variant(f"{label} {_size(each.budget)}", each) for each in at]
    if not found:
        raise UsageError("name a recipe: the originals and noise are measured beside it")
    twice = _twice(variant.label for variant in found)
    if twice is not None:
        raise UsageError(f"two recipes would be called {twice!r} in tables; rename one's file")
    return tuple(found)


def _twice(names: Iterable[str]) -> str | None:
    """The first of some names that comes twice."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _size(budget: Part) -> str:
    """A budget's size for tables: levels, the word for a visibility, or a number of its unit."""
    radius = budget.options["radius"]
    if budget.name == "linf":
        return f"{radius * 255:.4g}/255"
    if budget.name == "perceptual":
        return visibility_word(radius) or f"{radius:g}"
    return f"{budget.name} {radius:g}"


def load_edits(path: Path | None, model: str, *, mask: str | None = None) -> tuple[Asked, ...]:
    """The edits of a TOML file: ``[[edit]]`` tables.

    Fields of a table: ``mode``; ``prompt``, or ``prompts`` that photos share out; ``name``;
    ``mask`` (see ``MASKS``); and those of ``photovax.models.edit.Edit``, which are by default as
    the model is usually asked.

    Args:
        path: The file; when None the two requests for each way of editing that ship with photovax.
        model: Catalogue name or folder of the editor.
        mask: Overrules the masks in the file.

    Raises:
        UsageError: If the file cannot be read, or says what no edit can be.
    """
    source = path or DEFAULT_EDITS
    try:
        data = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"edits {source}: {error}") from None
    tables = data.get("edit")
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"edits {source}: expected one [[edit]] table or more, got none")
    found = [_asked(table, model, source) for table in tables]
    twice = _twice(asked.name for asked in found)
    if twice is not None:
        raise UsageError(f"edits {source}: two edits are called {twice!r}; give them other names")
    if mask is not None:
        found = [replace(asked, mask=_known_mask(mask)) for asked in found]
    return tuple(found)


def _asked(table: Mapping[str, Any], model: str, source: Path) -> Asked:
    fields = dict(table)
    mode = fields.pop("mode", None)
    if mode is None:
        raise UsageError(f"edits {source}: an [[edit]] has no mode (instruct, inpaint or img2img)")
    prompts = fields.pop("prompts", None)
    prompts = [fields.pop("prompt", "")] if prompts is None else prompts
    if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) for p in prompts):
        raise UsageError(f"edits {source}: prompts must be a list of texts, got {prompts!r}")
    name = str(fields.pop("name", f"{mode}: {prompts[0]}"))
    mask = _known_mask(str(fields.pop("mask", "subject")))
    allowed = sorted(field.name for field in dataclasses.fields(Edit))
    for field in fields:
        if field not in allowed:
            raise unknown("edit field", field, dict.fromkeys([*allowed, "name", "prompts", "mask"]))
    try:
        edit = replace(usual_edit(model, str(mode)), **fields)
    except TypeError as error:
        raise UsageError(f"edits {source}: {name}: {error}") from None
    return Asked(name, edit, tuple(prompts), mask)


def _known_mask(name: str) -> str:
    if name not in MASKS:
        raise unknown("mask", name, MASKS)
    return name


def find_photos(paths: Iterable[Path], *, shard: tuple[int, int] = (1, 1)) -> tuple[Path, ...]:
    """The photos named, and those in folders named; masks beside photos are none of them.

    Args:
        paths: Files and folders.
        shard: (i, n): every n-th of them, from the i-th.

    Raises:
        UsageError: If there is none, two have one file name, by which reports know them, or the
            shard is not within 1 .. n.
    """
    index, count = shard
    if not 1 <= index <= count:
        raise UsageError(f"shard must be from 1/{count} to {count}/{count}, got {index}/{count}")
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        pictures = [f for f in inside if not path.is_dir() or f.suffix.lower() in PICTURE_SUFFIXES]
        found += [file for file in pictures if not file.stem.endswith(".mask")]
    found = list(dict.fromkeys(found))
    twice = _twice(file.name for file in found)
    if twice is not None:
        where = " and ".join(str(file.parent) for file in found if file.name == twice)
        raise UsageError(f"two photos are called {twice!r}, in {where}; rename one")
    if not found[index - 1 :: count]:
        raise UsageError("there is no photo to evaluate")
    return tuple(found[index - 1 :: count])
