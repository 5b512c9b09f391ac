"""The noise schedule that a pipeline's folder edits by, for each way of editing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers

from photovax.models.catalog.objects import json_object
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
