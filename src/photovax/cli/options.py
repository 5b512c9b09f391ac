"""Options that several verbs share, and the progress bar."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photovax.errors import UsageError
from photovax.models.catalog.entries import CATALOG, DEFAULT_MODEL

if TYPE_CHECKING:
    from photovax.attack.optimise import Step

DEFAULT_MODELS = [DEFAULT_MODEL]

Models = Annotated[
    list[str],
    typer.Option("--model", help=f"{', '.join(CATALOG)}, or a diffusers folder; repeatable."),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Folder or file of weights that do not ship with photovax.",
        envvar="PHOTOVAX_WEIGHTS",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Largest width x height of a photo that is decoded. [default: 200 million]",
        show_default=False,
    ),
]


MaskFile = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        help="Mask: a picture of the photo's size, white on the subject.",
        show_default=False,
    ),
]
EditRegion = Annotated[
    bool,
    typer.Option(
        "--edit-region/--keep-region",
        help="Whether white in the mask marks what an editor repaints or what it keeps.",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Short side, in pixels, at which models are fed the photo. [default: the model's own]",
        show_default=False,
    ),
]


def parse_bytes(text: str) -> int:
    """Parse a size such as ``4GiB``, ``1.5 GB`` or ``800MiB`` into bytes.

    Raises:
        UsageError: If it is not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG])(i?)B?", text.strip())
    if found is None:
        raise UsageError(f"memory must be a size such as 4GiB or 800MiB, got {text!r}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** ("kMG".index(found[2]) + 1))


def as_jod(visibility: str | None) -> float | None:
    """A visibility as a number of JOD; None if it is a word, or not given."""
    try:
        return None if visibility is None else float(visibility)
    except ValueError:
        return None


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[Path, Step], None] | None]:
    """A callback that shows loss, step time and time left, if stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[seconds]:.2f} s/step"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[Path, int] = {}

        def show(source: Path, step: Step) -> None:
            if source not in tasks:
                for finished in tasks.values():
                    bar.remove_task(finished)  # type: ignore[arg-type]
                tasks.clear()
                tasks[source] = bar.add_task(source.name, total=step.steps, loss=0.0, seconds=0.0)
            bar.update(
                tasks[source],  # type: ignore[arg-type]
                completed=step.index + 1,
                loss=step.losses.mean().item(),
                seconds=step.seconds,
            )

        yield show
