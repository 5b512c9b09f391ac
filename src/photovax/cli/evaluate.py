"""``photovax evaluate``: edits of immunized photos against edits of the originals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photovax.cli import options
from photovax.errors import Interrupted, UsageError
from photovax.models.catalog.entries import DEFAULT_MODEL

if TYPE_CHECKING:
    from photovax.evaluation.run import Progress

DEFAULT_RECIPES = "noise,photoguard-demo,fast,fast-diffusion"
DEFAULT_METRICS = "psnr,ssim,ms_ssim,vifp,fsim,lpips,dists,lite0,face,jod,flip"


def command(
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO...",
            help="Files and folders; NAME.mask.png beside a photo marks its subject.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Folder of results; what is done in it is not done again.",
            show_default=False,
        ),
    ],
    recipes: Annotated[
        str, typer.Option(help="Presets and recipe files, with commas; noise stands beside each.")
    ] = DEFAULT_RECIPES,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Largest change in 8-bit levels, of recipes that bound it; several with commas. "
            "[default: each recipe's]",
            show_default=False,
        ),
    ] = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            help="low, medium or high, of recipes that bound what is seen; several with commas. "
            "[default: each recipe's]",
            show_default=False,
        ),
    ] = None,
    edits: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of [[edit]] tables. [default: two for each way of editing]",
            show_default=False,
        ),
    ] = None,
    purify: Annotated[
        str, typer.Option(help="What is done to photos before an edit, with commas, or all.")
    ] = "none",
    seeds: Annotated[int, typer.Option(min=1, help="Each edit is done with so many.")] = 3,
    metrics: Annotated[str, typer.Option(help="Pair metrics, with commas.")] = DEFAULT_METRICS,
    mask: Annotated[
        str | None,
        typer.Option(
            help="What inpainting repaints: subject, dilated, box, inverse or everything. "
            "[default: as the edits say]",
            show_default=False,
        ),
    ] = None,
    model: options.Models = options.DEFAULT_MODELS,
    editor: Annotated[
        str, typer.Option(help="The model that edits; recipes attack those of --model.")
    ] = DEFAULT_MODEL,
    weights: options.Weights = None,
    clip: Annotated[
        Path | None,
        typer.Option(help="Folder of a CLIP model, for its scores.", show_default=False),
    ] = None,
    size: options.Size = None,
    shard: Annotated[
        str, typer.Option(help="I/N: only every N-th photo, from the I-th, without a report.")
    ] = "1/1",
    device: options.Device = "auto",
) -> None:
    """Edit immunized photos and their originals on the same seeds, and report what differs.

    Writes report.html, table.md, results.csv and results.json. An interrupted run goes on when it
    is started again.
    """
    from photovax.evaluation.plan import Plan, find_photos, load_edits, variants

    part = _shard(shard)
    plan = Plan(
        variants=variants(_names(recipes), _numbers(budget), _names(visibility or ""), size=size),
        edits=load_edits(edits, editor, mask=mask),
        purifications=_purifications(purify),
        seeds=seeds,
        metrics=_names(metrics),
        models=tuple(model),
        editor=editor,
        size=size,
    )
    every = find_photos(photos)
    own = find_photos(photos, shard=part)

    from photovax.evaluation.report import write_report
    from photovax.evaluation.run import Evaluation

    with _progress() as show:
        evaluation = Evaluation(plan, out, weights=weights, clip=clip, device=device, callback=show)
        try:
            evaluation.run(own)
        except KeyboardInterrupt:
            raise Interrupted(
                "interrupted; what is done is kept: the same command goes on from here"
            ) from None
    if part[1] == 1:
        report = write_report(evaluation.results(every), out, device=evaluation.device)
        for line in report.lines:
            typer.echo(line)
        typer.echo(f"{report.html}")
    for what, why in evaluation.failures.items():
        typer.echo(f"not done: {what}: {why}", err=True)
    if evaluation.failures:
        sys.exit(1)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        found = tuple(float(name) for name in _names(text or ""))
    except ValueError:
        raise UsageError(f"--budget takes numbers with commas, as in 8,16, got {text!r}") from None
    if any(not 0 < number <= 255 for number in found):
        raise UsageError(f"--budget takes levels above 0 and up to 255, got {text}")
    return found


def _purifications(text: str) -> tuple[str, ...]:
    from photovax.adversary.purify import PURIFICATIONS
    from photovax.evaluation.plan import NONE

    if text.strip() == "all":
        return tuple(dict.fromkeys([NONE, *PURIFICATIONS]))
    # Survival is measured against the photo as it is.
    return tuple(dict.fromkeys([NONE, *_names(text)]))


def _shard(text: str) -> tuple[int, int]:
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"--shard takes I/N, as in 2/8, got {text!r}") from None
    return index, count


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=1)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.total,
                completed=progress.done,
                description=progress.unit,
            )

        yield show
