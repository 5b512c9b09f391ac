"""Suites: experiments of papers by name, with what they take, said before anything is loaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photovax.attack.recipe import Recipe
from photovax.errors import UsageError, WeightsMissing
from photovax.evaluation.plan import NONE, Asked, Plan, asked_edits, mask_of, variants
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import fed_size, model_folder
from photovax.models.edit import Edit
from photovax.registry import Part, unknown

__all__ = ["SUITES", "Experiment", "Suite", "lacking", "load_suite"]

SUITES = Path(__file__).parent.parent / "data" / "suites.toml"

_RATE = 20.0
"""Speed for which durations are stated, in 10^12 operations a second."""
_SIDE = 512
"""Sides of the picture for which a suite states operations, in pixels."""
_PART = {"name", "model", "recipes", "levels", "size", "memory", "operations", "edit"}
_SUITE = {"source", "seeds", "metrics", "part"}
_OPERATIONS = {"encode", "decode", "predict", "step"}


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

    def lines(self, photos: Sequence[Path], weights: Path | None) -> list[str]:
        """What it does and takes, for people.

        Args:
            photos: The photos.
            weights: Folder of weights that do not ship with photovax.
        """
        plan = self.plan
        masked = sum(mask_of(photo).exists() for photo in photos)
        without = [asked.name for asked in plan.edits if asked.needs_mask]
        missing = lacking([self], weights)
        pulled = [f"{name} ({CATALOG[name].download}{_licence(name)})" for name in missing]
        hours = self.hours(len(photos))
        took = "not known for these models"
        if hours is not None:
            took = (
                f"about {hours:.2g} hours at {_RATE:g} TFLOP/s, estimated from the models' "
                "operations; a CPU takes a hundred times as long"
            )
        return [
            f"{self.name}: {', '.join(plan.models)} attacked, edits by {plan.editor}",
            f"  recipes   {', '.join(variant.label for variant in plan.variants)}, noise as large",
            *(f"  edits     {_shown(asked)}" for asked in plan.edits),
            f"  photos    {len(photos)}" + (f", {masked} with a mask" if without else ""),
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
    if not isinstance(count, int):
        raise UsageError(f"seeds of suite {called} must be a whole number, got {count!r}")
    parts = []
    for part in tables:
        where = f"suite {called}, part {part.get('name', '')!r}"
        _check(part, _PART, where)
        own = _field(part, "model", str, where)
        attacked = tuple(models) or (own,)
        edits_by = editor or attacked[0]
        fed = part.get("size") if size is None else size
        levels = part.get("levels", [])
        if not all(isinstance(each, int | float) for each in levels):
            raise UsageError(f"levels of {where} must be numbers, got {levels!r}")
        plan = Plan(
            variants=variants(_field(part, "recipes", list, where), levels, size=fed),
            edits=asked_edits(part.get("edit"), edits_by, where),
            purifications=tuple(purifications),
            seeds=count,
            metrics=tuple(metrics) or tuple(_field(table, "metrics", list, f"suite {called}")),
            models=attacked,
            editor=edits_by,
            size=fed,
        )
        same = attacked == (own,) and edits_by == own
        operations = part.get("operations", {}) if same else {}
        if operations:
            _check(operations, _OPERATIONS, f"operations of {where}")
        parts.append(
            Experiment(
                _field(part, "name", str, where),
                plan,
                part.get("memory", "") if same else "",
                operations,
            )
        )
    return Suite(called, str(table.get("source", "")), tuple(parts))


def lacking(parts: Sequence[Experiment], weights: Path | None) -> list[str]:
    """Names of the catalogue's models in some parts whose weights are not on this machine.

    Args:
        parts: The parts.
        weights: Folder of weights that do not ship with photovax.

    Raises:
        ModelError: If weights that are here are of another model or damaged.
    """
    found = []
    for name in dict.fromkeys(n for part in parts for n in (*part.plan.models, part.plan.editor)):
        try:
            model_folder(name, weights=weights)
        except WeightsMissing:
            found.append(name)
    return found


def _immunizing(recipe: Recipe, operations: Mapping[str, float]) -> float:
    """The operations of an immunization; a backward pass is twice a forward pass."""
    views = len(recipe.views) if recipe.draws is None else min(recipe.draws, len(recipe.views))
    return recipe.steps * views * _loss(recipe.objective, operations)


def _loss(objective: Part, operations: Mapping[str, float]) -> float:
    """The operations of a loss and its gradient; predictions are computed again for it."""
    from photovax.attack.objectives import OBJECTIVES

    if "terms" in objective.options:
        terms = (Part(term["name"], term.get("options", {})) for term in objective.options["terms"])
        return sum(_loss(term, operations) for term in terms)
    needs = OBJECTIVES.create(objective).needs
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


def _field(table: Mapping[str, Any], name: str, kind: type, where: str) -> Any:
    value = table.get(name)
    if not isinstance(value, kind) or not value:
        raise UsageError(f"{where} needs {name}, a {'list' if kind is list else 'text'}")
    return value
