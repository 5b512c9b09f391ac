"""Plans of evaluations: plain data, checked before any model is loaded."""

from __future__ import annotations

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from photovax.adversary.purify import is_cheap
from photovax.attack.budgets import BUDGETS, Constraint
from photovax.attack.presets import load_recipe
from photovax.attack.recipe import Recipe
from photovax.errors import UsageError
from photovax.models.catalog.entries import CATALOG, DEFAULT_MODEL
from photovax.models.catalog.places import denoiser_folders, model_folder
from photovax.models.edit import Edit, Mode
from photovax.models.load import usual_edit, usual_edits
from photovax.pictures.regions import REGIONS, SUBJECT
from photovax.pictures.types import PICTURE_SUFFIXES
from photovax.ranges import check_shard
from photovax.registry import Part, unknown

__all__ = [
    "DEFAULT_EDITS",
    "NOISE",
    "NONE",
    "Asked",
    "Floor",
    "Plan",
    "Variant",
    "asked_edits",
    "find_photos",
    "load_edits",
    "mask_of",
    "variants",
]

DEFAULT_EDITS = Path(__file__).parent.parent / "data" / "edits.toml"
NONE = "none"
"""Name of the purification that does nothing, and of the originals among recipes."""

NOISE = "noise"
"""Name of random noise among recipes, which is always compared with each recipe."""


@dataclass(frozen=True)
class Asked:
    """One kind of edit that is requested of every photo.

    Attributes:
        name: Name in tables.
        edit: The edit with its settings, and an empty prompt.
        prompts: Possible prompts; each photo receives one.
        mask: Region that inpaint repaints, a key of ``REGIONS``.
    """

    name: str
    edit: Edit
    prompts: tuple[str, ...]
    mask: str = SUBJECT

    @property
    def needs_mask(self) -> bool:
        """Whether the repainted region depends on the mask file of the photo."""
        return self.edit.mode == "inpaint" and self.mask != "everything"

    def of(self, digest: str) -> Edit:
        """The edit of the photo with this SHA-256, with a prompt that depends on it alone."""
        return self.edit.asking(self.prompts[int(digest[:8], 16) % len(self.prompts)])


@dataclass(frozen=True)
class Floor:
    """The noise floor: random noise with the norm and size of a recipe's budget.

    Attributes:
        budget: Budget that it is drawn from.
        kept: Whether there is noise only where an inpainting editor keeps the photo.
        masks: Regions that the editor may repaint, keys of ``REGIONS``; noise is where one of them
            keeps the photo.
        side: Short side, in pixels, that limits the frequencies of the recipe's changes, and so of
            the noise, where the budget depends on it.
    """

    budget: Part
    kept: bool = False
    masks: tuple[str, ...] = (SUBJECT,)
    side: int | None = None

    @property
    def constraint(self) -> Constraint:
        """The set that it is drawn from."""
        return BUDGETS.create(self.budget)

    @property
    def levels(self) -> float | None:
        """Largest change, in 8-bit levels; None where a length is bounded."""
        return self.constraint.most if self.constraint.unit == "levels" else None

    @property
    def label(self) -> str:
        """For tables."""
        where = "kept region" if self.masks == (SUBJECT,) else f"kept by {', '.join(self.masks)}"
        return f"noise {self.constraint.label}" + (f" ({where})" if self.kept else "")

    def facts(self) -> dict[str, Any]:
        """The fields that identify stored results."""
        fields = asdict(self)
        # Results from before these fields existed keep their keys.
        if self.masks == (SUBJECT,):
            del fields["masks"]
        if self.side is None:
            del fields["side"]
        return fields


@dataclass(frozen=True)
class Variant:
    """A recipe at one budget.

    Attributes:
        label: Name in tables.
        recipe: The recipe.
    """

    label: str
    recipe: Recipe

    def against(self, mode: Mode) -> Recipe:
        """The recipe for a way of editing: through edits of that kind, if it goes through any."""
        return self.recipe if self.recipe.mode is None else self.recipe.with_mode(mode)

    def applies(self, mode: Mode) -> bool:
        """Whether there is anything to attack in a way of editing."""
        try:
            adapted = self.against(mode)
        except UsageError:  # the objective cannot go through it
            return False
        return mode == "inpaint" or not adapted.needs_mask

    def floor(self, mode: Mode) -> Floor:
        """The noise floor of the recipe for a way of editing."""
        adapted = self.against(mode)
        return Floor(adapted.budget, adapted.needs_mask, adapted.masks)


@dataclass(frozen=True)
class Plan:
    """Everything that determines the figures of an evaluation except photos and weights.

    Attributes:
        variants: Recipes, each at one budget.
        edits: Edits that are requested of every photo.
        purifications: Names of the purifications before an edit.
        seeds: Number of seeds, from 0 to seeds - 1, of each edit.
        metrics: Names of pair metrics.
        models: Models that the recipes attack.
        editor: Model that edits.
        size: Short side, in pixels, at which the editor is fed photos; its default when None.
        pairs: Whether to chain two cheap purifications, too: for each photo and recipe the one that
            leaves the least effect, and each other one after it.

    Raises:
        UsageError: If a field is empty, there is no seed, or pairs are asked of fewer than two
            quick purifications.
    """

    variants: tuple[Variant, ...]
    edits: tuple[Asked, ...]
    purifications: tuple[str, ...] = (NONE,)
    seeds: int = 3
    metrics: tuple[str, ...] = ("psnr", "ssim")
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    editor: str = DEFAULT_MODEL
    size: int | None = None
    pairs: bool = False

    def __post_init__(self) -> None:
        if self.pairs and len(self.cheap) < 2:
            raise UsageError(
                "pairs of purifications need two or more that take no minutes, got "
                f"{', '.join(self.cheap) or 'none'}",
                hint="name more with --purify, such as jpeg75,blur,cropresize",
            )
        if self.seeds < 1:
            raise UsageError(f"an evaluation needs 1 seed or more, got {self.seeds}")
        for field in ("variants", "edits", "purifications"):
            if not getattr(self, field):
                raise UsageError(f"an evaluation needs at least one of the {field}, got none")

    @property
    def cheap(self) -> tuple[str, ...]:
        """The purifications that take no minutes, which pairs are made of."""
        return tuple(filter(is_cheap, self.purifications))

    @property
    def per_photo(self) -> int:
        """Number of edits of immunized and noisy copies of a photo with a mask."""
        count = 0
        for asked in self.edits:
            fitting = [v for v in self.variants if v.applies(asked.edit.mode)]
            floors = {v.floor(asked.edit.mode).label for v in fitting}
            count += len(fitting) + len(floors)
        pairs = len(self.cheap) - 1 if self.pairs else 0
        return count * self.seeds * (len(self.purifications) + pairs)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The ways of editing, in the order of the edits."""
        return tuple(dict.fromkeys(asked.edit.mode for asked in self.edits))


def variants(
    names: Iterable[str],
    budgets: Sequence[float] = (),
    visibilities: Sequence[str] = (),
    *,
    size: int | None = None,
) -> tuple[Variant, ...]:
    """Recipes by name or file, at each given strength that fits their budget.

    Levels apply to recipes that bound the largest change, visibilities to recipes that bound the
    visibility. A recipe keeps its own budget where no strength fits. ``none`` and ``noise`` are
    accepted and ignored, since originals and noise are always edited.

    Args:
        names: Names of presets, and recipe files.
        budgets: Largest changes, in 8-bit levels.
        visibilities: Words of ``photovax.attack.budgets.VISIBILITY``.
        size: Short side in pixels at which models are fed photos, for recipes without a size.

    Raises:
        UsageError: If a recipe or strength does not make sense, two recipes have one label, or
            no recipe is named.
    """
    found: list[Variant] = []
    for name in dict.fromkeys(names):
        if name in (NONE, NOISE):
            continue
        recipe, label = load_recipe(name), Path(name).stem
        if label == NOISE:
            raise UsageError(f"{name}: in tables {NOISE!r} is random noise; rename the file")
        recipe = recipe if recipe.size is not None else replace(recipe, size=size)
        at = [recipe]
        bound = recipe.constraint
        if budgets and bound.unit == "levels" and not bound.bounds_seen:
            at = [recipe.with_levels(levels) for levels in dict.fromkeys(budgets)]
        if visibilities and bound.bounds_seen:
            at = [recipe.with_visibility(word) for word in dict.fromkeys(visibilities)]
        found += [Variant(f"{label} {each.constraint.label}", each) for each in at]
    if not found:
        raise UsageError("no recipe was named; originals and noise are compared with a recipe")
    twice = _twice(variant.label for variant in found)
    if twice is not None:
        raise UsageError(f"two recipes would be called {twice!r} in tables; rename the file of one")
    return tuple(found)


def _twice(names: Iterable[str]) -> str | None:
    """The first name that occurs twice; None without any."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def load_edits(path: Path | None, model: str, *, masks: Sequence[str] = ()) -> tuple[Asked, ...]:
    """The edits of a TOML file: ``[[edit]]`` tables.

    A table has the fields ``mode``; ``prompt``, or ``prompts``, a list from which each photo
    receives one; ``name``; ``mask``, a key of ``REGIONS``; and those of
    ``photovax.models.edit.Edit``, whose defaults are the usual settings of the model.

    Args:
        path: The file; when None, the edits that ship with photovax, two for each way of editing
            that the model knows.
        model: Catalogue name or folder of the editor.
        masks: Regions to repaint instead of those in the file, keys of ``REGIONS``. With several,
            each inpainting edit is asked for with each.

    Raises:
        UsageError: If the file cannot be read or an edit in it is not valid.
    """
    source = path or DEFAULT_EDITS
    try:
        data = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"edits {source}: {error}") from None
    tables = data.get("edit")
    if path is None:
        known = set(usual_edits(model))
        if model not in CATALOG:
            known &= set(denoiser_folders(model_folder(model), name=model))
        tables = [table for table in data["edit"] if table["mode"] in known]
    return asked_edits(tables, model, f"edits {source}", masks=masks)


def asked_edits(
    tables: Any, model: str, source: str, *, masks: Sequence[str] = ()
) -> tuple[Asked, ...]:
    """The edits of ``[[edit]]`` tables; see ``load_edits``.

    Args:
        tables: The tables.
        model: Catalogue name or folder of the editor.
        source: What they are from, for errors.
        masks: Regions to repaint instead of theirs.

    Raises:
        UsageError: If there is none, or an edit is not valid.
    """
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{source}: expected one [[edit]] table or more, got none")
    for table in tables:
        if not isinstance(table, Mapping):
            raise UsageError(f"{source}: each edit must be an [[edit]] table, got {table!r}")
    found = [_asked(table, model, source) for table in tables]
    twice = _twice(asked.name for asked in found)
    if twice is not None:
        raise UsageError(f"{source}: two edits are called {twice!r}; give them other names")
    for mask in masks:
        _known_mask(mask)
    return tuple(each for asked in found for each in _with_masks(asked, masks))


def _with_masks(asked: Asked, masks: Sequence[str]) -> list[Asked]:
    """The edit with each of some masks; itself if it has none."""
    if not masks or asked.edit.mode != "inpaint":
        return [asked]
    several = len(masks) > 1
    return [
        replace(asked, mask=mask, name=f"{asked.name}, {mask}" if several else asked.name)
        for mask in masks
    ]


def _asked(table: Mapping[str, Any], model: str, source: str) -> Asked:
    fields = dict(table)
    mode = fields.pop("mode", None)
    if mode is None:
        raise UsageError(f"{source}: an [[edit]] has no mode (instruct, inpaint or img2img)")
    prompts = fields.pop("prompts", None)
    prompts = [fields.pop("prompt", "")] if prompts is None else prompts
    if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) for p in prompts):
        raise UsageError(f"{source}: prompts must be a list of texts, got {prompts!r}")
    name = str(fields.pop("name", f"{mode}: {prompts[0]}"))
    mask = _known_mask(str(fields.pop("mask", SUBJECT)))
    allowed = sorted(field.name for field in dataclasses.fields(Edit))
    for field in fields:
        if field not in allowed:
            raise unknown("edit field", field, dict.fromkeys([*allowed, "name", "prompts", "mask"]))
    try:
        edit = replace(usual_edit(model, str(mode)), **fields)
    except TypeError as error:
        raise UsageError(f"{source}: {name}: {error}") from None
    return Asked(name, edit, tuple(prompts), mask)


def _known_mask(name: str) -> str:
    if name not in REGIONS:
        raise unknown("mask", name, REGIONS)
    return name


def find_photos(paths: Iterable[Path], *, shard: tuple[int, int] = (1, 1)) -> tuple[Path, ...]:
    """The given photos and those in given folders, without mask files.

    Args:
        paths: Files and folders.
        shard: (i, n) selects every n-th photo, from the i-th.

    Raises:
        UsageError: If there is no photo, two photos have one file name, which identifies them in
            reports, or the shard is not within 1 .. n.
    """
    check_shard(shard)
    index, count = shard
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


def mask_of(photo: Path) -> Path:
    """The file that marks the subject of a photo, which need not exist."""
    return photo.with_name(f"{photo.stem}.mask.png")
