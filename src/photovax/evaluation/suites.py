"""Suites: experiments of papers by name, with what they take, said before anything is loaded."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photovax.attack.recipe import Recipe
from photovax.errors import UsageError, WeightsMissing
from photovax.evaluation.plan import NONE, Asked, Plan, asked_edits, mask_of, variants
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import autoencoder_place, fed_size, model_folder
from photovax.models.edit import SIZES, Edit, valid_size
from photovax.registry import Part, unknown

if TYPE_CHECKING:
    from photovax.models.contracts import Need

__all__ = ["SUITES", "Experiment", "Suite", "lacking", "load_suite"]

SUITES = Path(__file__).parent.parent / "data" / "suites.toml"

_RATE = 20.0
"""Speed for which durations are stated, in 10^12 operations a second."""
_SIDE = 512
"""Sides of the picture for which a suite states operations, in pixels."""
_PART = {"name", "model", "recipes", "levels", "size", "memory", "operations", "edit"}
_SUITE = {"source", "seeds", "metrics", "part"}
_OPERATIONS = {"encode", "decode", "predict", "step"}
_FOLDER = re.compile(r"\w([\w .-]{0,58}\w)?")
"""Names of parts, which are folders on every system."""


@dataclass(frozen=True)
class Experiment:
    """One part of a suite.

    Attributes:
        name: Name, and that of the folder of its results.
        plan: The plan.
        memory: Memory that it takes, in words; empty where that is not known.
        operations: 10^12 floating-point operations of a forward pass for a picture of 512 x 512
            pixels: to ``encode``, to ``decode``, to ``predict`` once, or for a ``step`` with
            guidance. Empty where they are not known.
    """

    name: str
    plan: Plan
    memory: str
    operations: Mapping[str, float]

    def hours(self, photos: int) -> float | None:
        """Estimated hours of an evaluation at 20 * 10^12 operations a second.

        None where its models' operations are not known. Only multiplications and additions of
        layers count.

        Args:
            photos: Number of photos.
        """
        if not self.operations:
            return None
        plan = self.plan
        made = sum(
            _immunizing(variant.against(mode), self.operations)
            for variant in plan.variants
            for mode in (plan.modes if variant.recipe.mode is not None else plan.modes[:1])
            if variant.applies(mode)
        )
        # Edits of originals beside those of copies, all of about the same cost.
        originals = len(plan.edits) * plan.seeds * len(plan.purifications)
        each = sum(_editing(asked.edit, self.operations) for asked in plan.edits) / len(plan.edits)
        edited = (plan.per_photo + originals) * each
        larger = (fed_size(plan.editor, plan.size) / _SIDE) ** 2
        return (made + edited) * larger * photos / _RATE / 3600

    def suited(self, photos: Sequence[Path]) -> list[Path]:
        """The photos that there is something to run for; inpainting may need a mask of each.

        Args:
            photos: The photos.
        """
        if False in self._need_masks:
            return list(photos)
        return [photo for photo in photos if self._need_masks and mask_of(photo).exists()]

    @property
    def _need_masks(self) -> set[bool]:
        """Whether pairs of a recipe and an edit need a mask; empty if no recipe fits an edit."""
        return {
            asked.needs_mask or variant.against(asked.edit.mode).needs_mask
            for variant in self.plan.variants
            for asked in self.plan.edits
            if variant.applies(asked.edit.mode)
        }

    def lines(self, photos: Sequence[Path], weights: Path | None) -> list[str]:
        """What it does and takes, for people.

        Args:
            photos: The photos.
            weights: Folder of weights that do not ship with photovax.
        """
        plan, suited = self.plan, self.suited(photos)
        masked = sum(mask_of(photo).exists() for photo in photos)
        said = [
            f"{self.name}: {', '.join(plan.models)} attacked, edits by {plan.editor}",
            f"  recipes   {', '.join(variant.label for variant in plan.variants)}, noise as large",
            *(f"  edits     {_shown(asked)}" for asked in plan.edits),
            f"  photos    {len(photos)}"
            + (f", {masked} with a mask" if True in self._need_masks else ""),
        ]
        if not suited:
            why = "no photo has a mask" if self._need_masks else "no recipe fits an edit"
            return [*said, f"  nothing to run: {why}"]
        missing = lacking([self], weights)
        pulled = [f"{name} ({CATALOG[name].download}{_licence(name)})" for name in missing]
        hours = self.hours(len(suited))
        took = "not known for these models"
        if hours is not None:
            took = (
                f"about {hours:.2g} hours at {_RATE:g} TFLOP/s, estimated from the models' "
                "operations; a CPU takes a hundred times as long"
            )
        return [
            *said,
            f"  seeds     {plan.seeds} of each edit",
            f"  download  {', '.join(pulled) or 'nothing: the weights are here'}",
            f"  memory    {f'about {self.memory}, estimated' if self.memory else 'not known'}",
            f"  time      {took}",
        ]


@dataclass(frozen=True)
class Suite:
    """A named experiment.

    Attributes:
        name: Name.
        source: Paper.
        parts: Its parts, each with a plan.
    """

    name: str
    source: str
    parts: tuple[Experiment, ...]


def load_suite(
    name: str,
    *,
    models: Sequence[str] = (),
    editor: str | None = None,
    seeds: int | None = None,
    size: int | None = None,
    metrics: Sequence[str] = (),
    purifications: Sequence[str] = (NONE,),
) -> Suite:
    """Load a suite by name, or that of a ``.toml`` file of the same form.

    Args:
        name: Key in ``suites.toml``, or path of a file with a single suite.
        models: Models to attack instead of the suite's.
        editor: Model that edits instead of the suite's; the first of ``models`` when None.
        seeds: Number of seeds instead of the suite's.
        size: Short side in pixels at which models are fed photos, instead of the suite's.
        metrics: Metrics instead of the suite's.
        purifications: Names of the purifications before an edit.

    Raises:
        UnknownName: If there is no such suite, or a field of it is not known.
        UsageError: If it cannot be read or is not valid.
    """
    file = Path(name) if Path(name).suffix == ".toml" else SUITES
    try:
        suites = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"suite {name}: {error}") from None
    if file != SUITES:
        if len(suites) != 1:
            raise UsageError(f"suite {name}: expected one suite, got {', '.join(suites) or 'none'}")
        (called,) = suites
    else:
        called = name
    if called not in suites:
        raise unknown("suite", called, suites)
    table = suites[called]
    _check(table, _SUITE, f"suite {called}")
    tables = _field(table, "part", list, f"suite {called}")
    count = table.get("seeds", 1) if seeds is None else seeds
    if not _is_number(count) or not isinstance(count, int):
        raise UsageError(f"seeds of suite {called} must be a whole number, got {count!r}")
    used = tuple(metrics) or tuple(_texts(table, "metrics", f"suite {called}"))
    parts: list[Experiment] = []
    for number, part in enumerate(tables, start=1):
        where = f"suite {called}, part {number}"
        _check(part, _PART, where)
        title = _field(part, "name", str, where)
        if not _FOLDER.fullmatch(title):
            raise UsageError(
                f"name of {where} must be that of a folder, up to 60 letters, digits, spaces and "
                f". _ - that begin and end with a letter or digit, got {title!r}"
            )
        # Some systems do not tell small letters from capitals in names of folders.
        if title.casefold() in {each.name.casefold() for each in parts}:
            raise UsageError(f"suite {called}: two parts are called {title!r}; rename one")
        where = f"suite {called}, part {title!r}"
        own, memory = _field(part, "model", str, where), part.get("memory", "")
        operations, levels = part.get("operations"), part.get("levels", [])
        if operations is not None:
            _check_operations(operations, where)
        if not isinstance(levels, list) or not all(map(_is_number, levels)):
            raise UsageError(f"levels of {where} must be a list of numbers, got {levels!r}")
        if not isinstance(memory, str):
            raise UsageError(f"memory of {where} must be a text, got {memory!r}")
        fed = part.get("size")
        if fed is not None and not (isinstance(fed, int) and valid_size(fed)):
            raise UsageError(f"size of {where} must be {SIZES}, got {fed!r}")
        fed = fed if size is None else size
        attacked = tuple(models) or (own,)
        edits_by = editor or attacked[0]
        plan = Plan(
            variants=variants(_texts(part, "recipes", where), levels, size=fed),
            edits=asked_edits(part.get("edit"), edits_by, where),
            purifications=tuple(purifications),
            seeds=count,
            metrics=used,
            models=attacked,
            editor=edits_by,
            size=fed,
        )
        known = attacked == (own,) and edits_by == own
        parts.append(
            Experiment(title, plan, memory if known else "", (operations or {}) if known else {})
        )
    return Suite(called, str(table.get("source", "")), tuple(parts))


def lacking(parts: Sequence[Experiment], weights: Path | None) -> dict[str, bool]:
    """The catalogue's models in some parts whose weights are not on this machine.

    Args:
        parts: The parts.
        weights: Folder of weights that do not ship with photovax.

    Returns:
        For the name of each, whether all its weights are needed or its autoencoder's alone.

    Raises:
        ModelError: If weights that are here are of another model or damaged, or a mere autoencoder
            would have to edit.
    """
    wanted: dict[str, bool] = {}
    for part in parts:
        whole = _attacks_denoisers(part.plan)
        for name in part.plan.models:
            wanted[name] = wanted.get(name, False) or whole
        wanted[part.plan.editor] = True
    found = {}
    for name, whole in wanted.items():
        try:
            if whole or name not in CATALOG:
                model_folder(name, weights=weights)
            else:
                autoencoder_place(name, weights)
        except WeightsMissing:
            found[name] = whole
    return found


def _attacks_denoisers(plan: Plan) -> bool:
    """Whether a recipe that is run needs more of the models than their autoencoders."""
    return any(
        _needs(variant.recipe.objective) != "autoencoder"
        for variant in plan.variants
        if any(map(variant.applies, plan.modes))
    )


def _needs(objective: Part) -> Need:
    from photovax.attack.objectives import OBJECTIVES

    return OBJECTIVES.create(objective).needs


def _immunizing(recipe: Recipe, operations: Mapping[str, float]) -> float:
    """The operations of an immunization; a backward pass is twice a forward pass."""
    views = len(recipe.views) if recipe.draws is None else min(recipe.draws, len(recipe.views))
    return recipe.steps * views * _loss(recipe.objective, operations)


def _loss(objective: Part, operations: Mapping[str, float]) -> float:
    """The operations of a loss and its gradient; predictions are computed again for it."""
    if "terms" in objective.options:
        terms = (Part(term["name"], term.get("options", {})) for term in objective.options["terms"])
        return sum(_loss(term, operations) for term in terms)
    needs = _needs(objective)
    cost = 3 * operations["encode"]
    if needs == "denoiser":
        cost += 4 * operations["predict"]
    if needs == "editor":
        edit = Edit(**objective.options["edit"])
        cost += 4 * _denoising(edit, operations) + 3 * operations["decode"]
    return cost


def _editing(edit: Edit, operations: Mapping[str, float]) -> float:
    return operations["encode"] + _denoising(edit, operations) + operations["decode"]


def _denoising(edit: Edit, operations: Mapping[str, float]) -> float:
    """The operations of the steps of an edit."""
    steps = edit.steps if edit.mode == "instruct" else int(edit.steps * edit.strength)
    return steps * operations["step"]


def _licence(name: str) -> str:
    return "; its licence must be accepted on the hub first" if CATALOG[name].gated else ""


def _shown(asked: Asked) -> str:
    edit = asked.edit
    strength = "" if edit.mode == "instruct" else f", strength {edit.strength:g}"
    eta = f", eta {edit.eta:g}" if edit.eta else ""
    return (
        f"{asked.name}: {edit.mode}, {edit.steps} steps, guidance {edit.guidance:g}"
        f"{strength}{eta}; one of {len(asked.prompts)} prompts for each photo"
    )


def _check(table: Any, known: set[str], where: str) -> None:
    """Refuse what is no table, and fields that are not known.

    Raises:
        UnknownName: If a field is not known.
        UsageError: If it is no table.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{where} must be a table, got {table!r}")
    for key in table.keys() - known:
        raise unknown(f"field of {where}", key, dict.fromkeys(sorted(known)))


def _check_operations(table: Any, where: str) -> None:
    """Refuse operations that are not all known.

    Raises:
        UnknownName: If a field is not known.
        UsageError: If one is missing or no number above 0.
    """
    _check(table, _OPERATIONS, f"operations of {where}")
    for name in sorted(_OPERATIONS):
        value = table.get(name)
        if not _is_number(value) or not 0 < value < inf:
            raise UsageError(
                f"operations of {where} must be a number above 0 for each of "
                f"{', '.join(sorted(_OPERATIONS))}; {name} is {value!r}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _field(table: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = table.get(name)
    if not isinstance(value, kind) or not value:
        raise UsageError(f"{where} needs {name}, a {'list' if kind is list else 'text'}")
    return value


def _texts(table: Mapping[str, Any], name: str, where: str) -> list[str]:
    found: list[str] = _field(table, name, list, where)
    if not all(isinstance(each, str) for each in found):
        raise UsageError(f"{name} of {where} must be texts, got {found!r}")
    return found
