"""The progress of photos on the terminal: of all with the time left, of each with its stage."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from photovax.attack.optimise import Step
    from photovax.batch.outcome import Progress, Stage

__all__ = ["Bars", "bars"]

_SAID: dict[Stage, str] = {
    "reading": "reads the photo",
    "steps": "",
    "scoring": "scores the results",
    "saving": "saves and measures",
}


class Bars:
    """Bars of a run; without a terminal none are drawn.

    Args:
        bar: Rich's bars; None without a terminal.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._photos: dict[str, Any] = {}
        self._all: Any = None
        self._total = self._done = 0
        self._began = time.monotonic()

    def begin(self, total: int) -> None:
        """Show how many photos there are."""
        self._total, self._done, self._began = total, 0, time.monotonic()
        if self._bar is not None and total > 1:
            if self._all is not None:
                self._bar.remove_task(self._all)
            self._all = self._bar.add_task(f"0 of {total} photos", total=total, said="")

    def show(self, source: str, progress: Progress) -> None:
        """Show how far a photo is."""
        if self._bar is None:
            return
        if source not in self._photos:
            self._photos[source] = self._bar.add_task(Path(source).name, total=None, said="")
        said = _SAID[progress.stage]
        if progress.stage == "steps":
            said = f"loss {progress.loss:.3f}, {progress.seconds:.2f} s a step"
        self._bar.update(
            self._photos[source],
            total=progress.steps or None,
            completed=progress.done,
            said=said,
        )

    def say(self, line: str) -> None:
        """Print a line on stderr, above the bars."""
        if self._bar is None:
            typer.echo(line, err=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def step(self, path: Path, step: Step) -> None:
        """Show a step, as the callbacks of the library report it."""
        from photovax.batch.outcome import Progress

        loss = step.losses.mean().item()
        done = Progress("steps", step.index + 1, step.steps, loss, step.seconds)
        self.show(str(path), done)

    def finished(self, source: str) -> str:
        """Count a photo, and return how many there are in words; empty for a single one."""
        from photovax.batch.outcome import duration

        self._done += 1
        if self._bar is not None and source in self._photos:
            self._bar.remove_task(self._photos.pop(source))
        if self._total <= 1:
            return ""
        left = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        count = f"{self._done} of {self._total}"
        if self._bar is not None:
            self._bar.update(
                self._all, completed=self._done, description=f"{count} photos", said=""
            )
        return f"{count}, {duration(left)} left" if self._done < self._total else count


@contextmanager
def bars(*, quiet: bool = False) -> Iterator[Bars]:
    """Bars on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield Bars(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Drawn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        TimeRemainingColumn(),
    )
    with Drawn(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bars(bar)
