"""Writes reference/recipes.md: fields of recipe files, and the parts that they name.

Run it after a part or its options have changed: python docs/recipes.py
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from photovax.attack.budgets import BUDGETS
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.recipe import Recipe
from photovax.models.edit import Edit
from photovax.models.views import VIEWS
from photovax.registry import Registry

PAGE = Path(__file__).with_name("reference") / "recipes.md"
PRESETS = "../../src/photovax/attack/presets.toml"
START = f"""\
# Recipe files

`--recipe FILE.toml` (or `.json`) takes a recipe of your own, from Python `photovax.load_recipe`.
The presets are written in the same form: [presets.toml]({PRESETS}) is
the example of everything below. `python docs/recipes.py` writes this page from the docstrings of
the parts, and a test fails while it is not up to date.

```toml
preset = "fast-linf"
objective = {{ name = "latent_target", options = {{ target = "grey" }} }}
budget = {{ name = "linf", options = {{ radius = "6/255" }} }}
step_size = "1/255"
views = [
    {{ name = "short_side" }},
    {{ name = "chain", options = {{ views = [{{ name = "jpeg" }}, {{ name = "short_side" }}] }} }},
]
steps = 60
```

`preset` names the recipe that fields are taken from if the file does not give them. `step_share`,
the size of the first step divided by the radius, can stand for `step_size`, and in a perceptual
budget the option `visibility`, `low`, `medium` or `high`, for `radius` and `levels`. `radius`,
`step_size`, `step_share`, `warm`, `momentum` and `adaptivity` may be fractions in quotes. Parts of
a plug-in are named in the same way ([how to write one](../howto/objective.md)).
"""
# What a part is told by the photo, and no file can hold.
TOLD = re.compile(r"Tensor|Viewing")


def registered(parts: Registry[Any]) -> Iterator[str]:
    """Yield a section for each part of photovax, with its options and what they mean."""
    for name, maker in parts.makers.items():
        options = [
            f"  {option.name} = {default(option)}"
            for option in inspect.signature(maker).parameters.values()
            if not TOLD.search(str(option.annotation))
        ]
        yield section(3, f"`{name}`", "\n".join(["options:", *options]) if options else "", maker)


def default(option: inspect.Parameter) -> str:
    """What an option is if it is left out."""
    return "(must be given)" if option.default is option.empty else repr(option.default)


def section(level: int, title: str, options: str, described: Any) -> str:
    """A heading, options and the docstring of what they are of."""
    text = "\n\n".join(filter(None, (inspect.getdoc(described), options)))
    return f"{'#' * level} {title}\n\n```text\n{text}\n```\n"


def page() -> str:
    """Return the whole page."""
    kinds: Mapping[str, Registry[Any]] = {
        "Objectives": OBJECTIVES,
        "Budgets": BUDGETS,
        "Views": VIEWS,
    }
    parts = [START, section(2, "Fields", "", Recipe)]
    for title, registry in kinds.items():
        parts += [f"## {title}\n", *registered(registry)]
    parts.append(section(2, "The table `edit` of an objective", "", Edit))
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
