"""Presets: recipes by name, and recipes from files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from photovax.attack.budgets import BUDGETS, VISIBILITY
from photovax.attack.recipe import Recipe
from photovax.errors import UsageError
from photovax.registry import Part, unknown

__all__ = [
    "DEFAULT",
    "DIFFUSION",
    "GREY",
    "INSTANT",
    "LINF",
    "MAX",
    "NATIVE",
    "PRESETS",
    "ROBUST",
    "load_recipe",
    "recipe_from",
]

DEFAULT = "fast"
INSTANT = "instant"
ROBUST = "robust"
MAX = "max"
LINF = "fast-linf"
DIFFUSION = "fast-diffusion"
NATIVE = "fast-native"
GREY = "fast-grey"


class _Presets(Mapping[str, Recipe]):
    """The recipes of ``presets.toml``, each created when it is first used."""

    def __init__(self) -> None:
        self._made: dict[str, Recipe] = {}

    @cached_property
    def _tables(self) -> dict[str, Any]:
        text = Path(__file__).with_name("presets.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)

    def __getitem__(self, name: str) -> Recipe:
        if name not in self._made:
            self._made[name] = recipe_from(self._tables[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


PRESETS: Mapping[str, Recipe] = _Presets()
"""Presets by name, the default first."""


_WITHOUT_NETWORKS = {"objective", "steps", "kept_region_only"}
"""Fields that make a descent another one than that for which networks were trained."""


_OF_STEPS = {
    *("steps", "step_size", "step_share", "schedule", "momentum", "adaptivity", "draws"),
    *("patience", "random_start"),
}
"""Fields that mean nothing where networks alone decide the change."""


def load_recipe(name: str) -> Recipe:
    """Load a preset by name, or a recipe from a ``.toml`` or ``.json`` file.

    Args:
        name: Name of a preset, or path of a file.

    Raises:
        UnknownName: If there is no such preset, or the file has an unknown field.
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
        raise UsageError(f"recipe {name}: expected a table of fields, got {data!r}")
    return recipe_from(data)


def recipe_from(data: Mapping[str, Any]) -> Recipe:
    """Create the recipe that plain data describes.

    Args:
        data: Fields of ``Recipe``. Parts (objective, budget, views) are tables with ``name`` and
            ``options``. Three more fields are allowed: ``preset`` names a recipe to start from;
            ``step_share`` is the size of the first step divided by the radius, instead of
            ``step_size``; the option ``visibility`` of a perceptual budget, a name in
            ``VISIBILITY``, sets its radius and levels. ``radius``, ``step_size``, ``step_share``,
            ``warm``, ``momentum`` and ``adaptivity`` may be fractions in quotes, such as
            ``"8/255"``. Networks are not used with another objective, number of steps or kind
            of budget than the preset's, unless ``warm`` is given, too. A preset that takes no
            steps takes no field of theirs.

    Raises:
        UnknownName: If a field, a visibility or a preset is not known.
        UsageError: If a field is missing, of a wrong type, or out of range.
    """
    given = dict(data)
    base = PRESETS[_known(given.pop("preset"))] if "preset" in given else None
    allowed = [field.name for field in fields(Recipe)]
    for name in given.keys() - {*allowed, "step_share"}:
        raise unknown("recipe field", name, dict.fromkeys(sorted([*allowed, "step_share"])))
    checked = _checked(given)
    share = checked.pop("step_share", None)
    if "budget" in checked:
        checked["budget"] = _budget(checked["budget"])
    if share is not None:
        if "step_size" in checked:
            raise UsageError("recipe: step_share and step_size both set the step: leave out one")
        if base is None and "budget" not in checked:
            raise UsageError("recipe: budget missing; give it, or a preset to start from")
        budget: Part = checked["budget"] if base is None else checked.get("budget", base.budget)
        checked["step_size"] = share * budget.options["radius"]
    if base is not None:
        if base.warm == 0 and "warm" not in checked and (idle := sorted(_OF_STEPS & given.keys())):
            raise UsageError(
                f"recipe: preset {data['preset']} takes no steps, so {', '.join(idle)} would do "
                "nothing: leave it out, or start from fast"
            )
        if (
            checked.get("budget", base.budget).name != base.budget.name
            and "step_size" not in checked
        ):
            raise UsageError(
                f"recipe: the preset's step_size is for its own budget, {base.budget.name}; give "
                "another, or step_share (the first step in radii)"
            )
        bounds_seen = BUDGETS.create(checked.get("budget", base.budget)).bounds_seen
        if base.warm != 0 and (_WITHOUT_NETWORKS & checked.keys() or not bounds_seen):
            checked.setdefault("warm", None)
        return replace(base, **checked)
    missing = [
        name for name in ("objective", "budget", "views", "steps", "step_size") if name not in given
    ]
    if missing and not (missing == ["step_size"] and share is not None):
        raise UsageError(
            f"recipe: {', '.join(missing)} missing; give it, or a preset to start from"
        )
    return Recipe(**checked)


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with tables converted to parts and fractions to numbers."""
    checked = dict(given)
    for name in ("objective", "budget"):
        if name in given:
            checked[name] = _part(given[name], name)
    if "views" in given:
        if not isinstance(given["views"], list | tuple):
            raise UsageError(f"recipe views must be a list, got {given['views']!r}")
        checked["views"] = tuple(_part(each, "views") for each in given["views"])
    if isinstance(given.get("masks"), list):
        checked["masks"] = tuple(given["masks"])
    for name in ("step_size", "step_share", "warm", "momentum", "adaptivity"):
        if name in given and given[name] is not None:
            checked[name] = _number(given[name], name)
    return checked


def _part(data: object, field: str) -> Part:
    if isinstance(data, Part):
        return data
    form = '{ name = "...", options = { ... } }'
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise UsageError(f"recipe {field} must be {form}, got {data!r}")
    for key in data.keys() - {"name", "options"}:
        raise unknown(f"field of recipe {field}", key, dict.fromkeys(("name", "options")))
    options = data.get("options", {})
    if not isinstance(options, Mapping):
        raise UsageError(f"recipe {field}: options must be a table, got {options!r}")
    return Part(data["name"], options)


def _budget(part: Part) -> Part:
    """The budget, with a named visibility replaced by its options and fractions by numbers."""
    options = dict(part.options)
    word = options.pop("visibility", None)
    if word is not None:
        if not isinstance(word, str) or word not in VISIBILITY:
            raise unknown("visibility", str(word), VISIBILITY)
        options = {**VISIBILITY[word], **options}
    if "radius" not in options:
        raise UsageError(f"recipe budget {part.name} needs a radius in its options")
    options["radius"] = _number(options["radius"], "radius")
    return Part(part.name, options)


def _number(value: object, name: str) -> float:
    """The number that a number or a fraction in quotes stands for."""
    if isinstance(value, str):
        try:
            return float(Fraction(value))
        except (ValueError, ZeroDivisionError, OverflowError):
            pass
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise UsageError(f'recipe {name} must be a number or a fraction such as "8/255", got {value!r}')


def _known(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"preset must be a name, got {name!r}")
    if name not in PRESETS:
        raise unknown("recipe", name, PRESETS)
    return name
