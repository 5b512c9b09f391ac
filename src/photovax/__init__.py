"""photovax: immunize photos against edits by diffusion models.

Importing this is fast: PyTorch and the models are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photovax.attack.presets import PRESETS, load_recipe
    from photovax.attack.recipe import Recipe
    from photovax.checks.check import Check
    from photovax.errors import PhotovaxError
    from photovax.functions import check, edit, immunize
    from photovax.immunized import Immunized, Saved
    from photovax.immunizer import Immunizer
    from photovax.pictures.photo import Photo, read_photo

_HOMES = {
    "PRESETS": "attack.presets",
    "Check": "checks.check",
    "Immunized": "immunized",
    "Immunizer": "immunizer",
    "Photo": "pictures.photo",
    "PhotovaxError": "errors",
    "Recipe": "attack.recipe",
    "Saved": "immunized",
    "check": "functions",
    "edit": "functions",
    "immunize": "functions",
    "load_recipe": "attack.presets",
    "read_photo": "pictures.photo",
}

__all__ = [
    "PRESETS",
    "Check",
    "Immunized",
    "Immunizer",
    "Photo",
    "PhotovaxError",
    "Recipe",
    "Saved",
    "check",
    "edit",
    "immunize",
    "load_recipe",
    "read_photo",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"photovax.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'photovax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
