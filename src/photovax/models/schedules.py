"""Noise schedules of a pipeline's folder, for each way of editing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers

from photovax.models.catalog.objects import json_object
from photovax.models.edit import Mode

__all__ = ["SCHEDULER", "load_scheduler", "own_scheduler_file"]

SCHEDULER = "scheduler_config.json"
"""Name of the file in a scheduler's folder."""


def own_scheduler_file(folder: Path, mode: Mode) -> Path | None:
    """The scheduler's file for one way of editing, in ``scheduler_MODE``; None if it is missing."""
    file = folder / f"scheduler_{mode}" / SCHEDULER
    return file if file.is_file() else None


def load_scheduler(file: Path) -> Any:
    """Load the scheduler that a configuration describes.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it describes no scheduler of diffusers; its class may raise more of
            ``DAMAGED``.
    """
    config = json_object(file)
    name = config.get("_class_name")
    kind = getattr(diffusers, str(name), None)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        raise ValueError(f"{file.parent.name} names no scheduler of diffusers: {name!r}")
    chosen: Any = kind  # untyped in diffusers
    return chosen.from_config(config)
