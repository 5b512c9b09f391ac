"""The noise schedule that a pipeline's folder edits by, for each way of editing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers

from photovax.models.edit import Mode

__all__ = ["SCHEDULER", "load_scheduler", "own_scheduler_file"]

SCHEDULER = "scheduler_config.json"
"""What diffusers calls the file in a scheduler's folder."""


def own_scheduler_file(folder: Path, mode: Mode) -> Path | None:
    """Where the scheduler of one way of editing alone lies: in ``scheduler_MODE``."""
    file = folder / f"scheduler_{mode}" / SCHEDULER
    return file if file.is_file() else None


def load_scheduler(file: Path) -> Any:
    """The scheduler that a configuration describes.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it describes no scheduler of diffusers.
    """
    config = json.loads(file.read_text(encoding="utf-8"))
    name = config.get("_class_name") if isinstance(config, dict) else None
    kind: Any = getattr(diffusers, str(name), None)
    if kind is None:
        raise ValueError(f"{file.parent.name} names no scheduler of diffusers: {name!r}")
    return kind.from_config(config)
