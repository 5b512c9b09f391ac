"""What is told of a photo while it is worked on and at its end, as plain data for any process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from photovax.batch.manifest import Entry
from photovax.batch.plan import Task
from photovax.errors import PhotovaxError

__all__ = ["Made", "Outcome", "Progress", "Show", "Stage", "duration", "figures_of"]

Stage = Literal["reading", "steps", "scoring", "saving"]


@dataclass(frozen=True)
class Progress:
    """How far the work on a photo is.

    Attributes:
        stage: What is done at present.
        done: Number of steps done.
        steps: Number of steps in all, an estimate where time is limited; 0 until known.
        loss: Loss before the last step.
        seconds: Duration of the last step, in seconds.
        note: Line for the user; empty without one.
    """

    stage: Stage
    done: int = 0
    steps: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    note: str = ""


Show = Callable[[Task, Progress], None]


@dataclass(frozen=True)
class Made:
    """A result that was saved.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        record: Content of its record.
        seen: Visibility of the change in one line.
        verdicts: Verdict of ``photovax check`` by model; empty if it was not asked for.
        verdict: The worst of them; None without any.
        meaning: What it means for edits, in words; empty without any.
        compressed: What the compression of the file did, in one line; None where it is lossless.
        partial: Whether it is the best result so far of an interrupted photo.
        seconds: Time from start to file, in seconds; from the start of the command where it has
            a time limit and a single photo.
    """

    width: int
    height: int
    record: dict[str, Any]
    seen: str
    verdicts: dict[str, str]
    verdict: str | None
    meaning: str
    compressed: str | None
    partial: bool
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """The end of one photo: a result or an error.

    Attributes:
        task: Photo and path of its result.
        made: Result; None after an error.
        error: Error; None if there is a result.
        entry: Line for the manifest.
    """

    task: Task
    entry: Entry
    made: Made | None = None
    error: PhotovaxError | None = None

    @property
    def failure(self) -> str:
        """The error and how to put it right, in one line; empty where there is none."""
        return "" if self.error is None else self.error.line

    @classmethod
    def of_error(cls, task: Task, error: PhotovaxError) -> Outcome:
        """The outcome of a photo that failed."""
        return cls(task, Entry(task.key, "failed", error=error.line), error=error)


def figures_of(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of a record that reports show; none where it could not be measured."""
    realised, effects = record.get("realised") or {}, record.get("effects") or {}
    names = ("linf", "l2", "psnr", "ssim", "jod_fhd", "jod_4k", "flip")
    figures = {name: realised[name] for name in names if name in realised}
    if effects:  # the model that is moved least
        figures["shift"] = min(effect["shift"] for effect in effects.values())
    return figures


def duration(seconds: float) -> str:
    """A duration in words of fitting size, such as ``3 min`` or ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
