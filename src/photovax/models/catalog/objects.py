"""JSON files in a model's folder; imports nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from photovax.errors import ModelError, first_line

__all__ = ["json_object", "unloadable"]


def unloadable(name: str, place: Path, error: Exception) -> ModelError:
    """The error for a model that cannot be loaded from a place, in one line."""
    return ModelError(f"model {name}: {place} cannot be loaded: {first_line(error)}")


def json_object(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file, such as a configuration or a pipeline's index.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not JSON in UTF-8, or not an object; the message does not name the
            file.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"not a JSON object but a {type(found).__name__}")
    return found
