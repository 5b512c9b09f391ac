"""``photovax evaluate``: edits of immunized photos compared with edits of the originals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photovax.attack.budgets import LEVELS
from photovax.cli import options
from photovax.errors import Interrupted, UsageError
from photovax.models.catalog.entries import DEFAULT_MODEL

if TYPE_CHECKING:
    from photovax.evaluation.plan import Plan
    from photovax.evaluation.run import Progress
    from photovax.evaluation.suites import Experiment, Suite

DEFAULT_RECIPES = "noise,photoguard-demo,fast,fast-diffusion"
DEFAULT_METRICS = "psnr,ssim,ms_ssim,vifp,fsim,lpips,dists,lite0,face,jod,flip"


SET_BY_SUITES = ("recipes", "budget", "visibility", "edits", "mask", "pairs")
"""Options that cannot be given beside ``--suite``."""


def command(
    context: typer.Context,
    photos: Annotated[
        list[Path],
        typer.Argument(
            metavar="PHOTO...",
            help="Photos and folders of photos; NAME.mask.png next to a photo marks its subject.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Folder of the results; results that it contains are not computed again.",
            show_default=False,
        ),
    ],
    recipes: Annotated[
        str,
        typer.Option(
            help="Presets and recipe files, separated by commas; each is compared with noise."
        ),
    ] = DEFAULT_RECIPES,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Largest change in 8-bit levels, for recipes that bound it; several separated by "
            "commas. [default: each recipe's]",
            show_default=False,
        ),
    ] = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            help="Visibility (low, medium or high), for recipes that bound it; several separated "
            "by commas. [default: each recipe's]",
            show_default=False,
        ),
    ] = None,
    edits: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with [[edit]] tables. [default: two edits for each way of editing]",
            show_default=False,
        ),
    ] = None,
    purify: Annotated[
        str, typer.Option(help="Purifications before an edit, separated by commas, or all.")
    ] = "none",
    pairs: Annotated[
        bool,
        typer.Option(
            "--pairs",
            help="Also chain two purifications: for each photo and recipe the one that leaves the "
            "least effect, and each other one after it.",
        ),
    ] = False,
    seeds: Annotated[
        int, options.number("--seeds", options.COUNTS, help="Number of seeds of each edit.")
    ] = 3,
    metrics: Annotated[
        str, typer.Option(help="Pair metrics, separated by commas.")
    ] = DEFAULT_METRICS,
    mask: Annotated[
        str | None,
        typer.Option(
            help="Regions that inpainting repaints, separated by commas: subject, dilated, box, "
            "inverse, everything. [default: as the edits specify]",
            show_default=False,
        ),
    ] = None,
    model: options.Models = options.DEFAULT_MODELS,
    editor: Annotated[
        str, typer.Option(help="Model that edits; recipes attack the models of --model.")
    ] = DEFAULT_MODEL,
    weights: options.Weights = None,
    network: options.Networks = None,
    clip: Annotated[
        Path | None,
        typer.Option(help="Folder of a CLIP model, for CLIP scores.", show_default=False),
    ] = None,
    size: options.Size = None,
    shard: Annotated[
        str, typer.Option(help="I/N: every N-th photo, from the I-th, without a report.")
    ] = "1/1",
    device: options.Device = "auto",
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Experiment that sets models, recipes, edits and metrics: photoguard, kontext, or "
            "a TOML file. It first says what it takes. --model, --editor, --seeds, --size, "
            "--metrics and --purify replace its own.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Download the models of --suite without asking.")
    ] = False,
) -> None:
    """Edit immunized photos and their originals with the same seeds, and report the differences.

    Writes report.html, table.md, results.csv and results.json. An interrupted run continues when
    the same command is given again.
    """
    from photovax.evaluation.plan import Plan, find_photos, load_edits, variants

    part, networks = options.parse_shard(shard), options.networks(network)
    every, own = find_photos(photos), find_photos(photos, shard=part)
    plans: dict[Path, Plan] = {}
    if suite is None:
        if yes:
            raise UsageError("--yes is for --suite: leave it out")
        plans[out] = Plan(
            variants=variants(
                _names(recipes), _numbers(budget), _names(visibility or ""), size=size
            ),
            edits=load_edits(edits, editor, masks=_names(mask or "")),
            purifications=_purifications(purify),
            seeds=seeds,
            metrics=_names(metrics),
            models=tuple(model),
            editor=editor,
            size=size,
            pairs=pairs,
        )
    else:
        from photovax.evaluation.suites import load_suite

        given = _given(context)
        taken = [f"--{name}" for name in SET_BY_SUITES if name in given]
        if taken:
            raise UsageError(f"--suite sets {', '.join(taken)} itself: leave it out")
        chosen = load_suite(
            suite,
            models=tuple(model) if "model" in given else (),
            editor=editor if "editor" in given else None,
            seeds=seeds if "seeds" in given else None,
            size=size,
            metrics=_names(metrics) if "metrics" in given else (),
            purifications=_purifications(purify),
        )
        wanted = _prepare(chosen, own, weights, yes=yes)
        # The photos of other shards may have masks.
        if not any(each.suited(every) for each in chosen.parts):
            raise UsageError(
                f"there is nothing to run in suite {chosen.name}",
                hint="NAME.mask.png next to a photo marks its subject for inpainting",
            )
        plans = {out / each.name: each.plan for each in wanted}

    reported = None if part[1] > 1 else every
    failed = False
    for folder, plan in plans.items():
        failures = _run(
            plan,
            folder,
            own,
            reported,
            weights=weights,
            networks=networks,
            clip=clip,
            device=device,
        )
        failed = failed or failures
    if failed:
        sys.exit(1)


def _run(
    plan: Plan, out: Path, photos: Sequence[Path], reported: Sequence[Path] | None, **settings: Any
) -> bool:
    """Run a plan for some photos, and write the report on others if there are.

    Returns:
        Whether anything failed.
    """
    from photovax.evaluation.report import write_report
    from photovax.evaluation.run import Evaluation

    with _progress() as show:
        evaluation = Evaluation(plan, out, callback=show, **settings)
        try:
            evaluation.run(photos)
        except KeyboardInterrupt:
            raise Interrupted(
                "interrupted; finished results are kept, and the same command continues from here"
            ) from None
    for what, why in evaluation.failures.items():
        typer.echo(f"failed: {what}: {why}", err=True)
    if reported is not None:
        report = write_report(evaluation.results(reported), out, device=evaluation.device)
        for line in report.lines:
            typer.echo(line)
        for warning in report.warnings:
            typer.echo(f"warning: {warning}", err=True)
        typer.echo(f"{report.html}")
    return bool(evaluation.failures)


def _prepare(
    suite: Suite, photos: Sequence[Path], weights: Path | None, *, yes: bool
) -> list[Experiment]:
    """Say what a suite takes for some photos, and download its models if that is wanted.

    Returns:
        Its parts that there is something to run of.

    Raises:
        ModelError: If a download fails.
        UsageError: If nobody said yes.
    """
    from photovax.evaluation.suites import lacking
    from photovax.models.load import pull

    typer.echo(f"suite {suite.name}, {suite.source}".removesuffix(", "))
    for part in suite.parts:
        for line in part.lines(photos, weights):
            typer.echo(line)
    wanted = [part for part in suite.parts if part.suited(photos)]
    missing = lacking(wanted, weights)
    if missing and not yes and not (sys.stdin.isatty() and typer.confirm("Download?")):
        raise UsageError(
            f"{' and '.join(missing)} must be downloaded first, and nobody said yes",
            hint="give --yes, or --weights FOLDER if they are on this machine",
        )
    for name, whole in missing.items():
        pull(name, whole=whole)
    return wanted


def _given(context: typer.Context) -> set[str]:
    """Names of the parameters that were typed."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name != "DEFAULT"}


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        found = tuple(float(name) for name in _names(text or ""))
    except ValueError:
        raise UsageError(
            f"--budget takes numbers separated by commas, such as 8,16, got {text!r}"
        ) from None
    if any(number not in LEVELS for number in found):
        raise UsageError(f"--budget takes levels {LEVELS}, got {text}")
    return found


def _purifications(text: str) -> tuple[str, ...]:
    from photovax.adversary.purify import PURIFICATIONS
    from photovax.evaluation.plan import NONE

    if text.strip() == "all":
        return tuple(dict.fromkeys([NONE, *PURIFICATIONS]))
    # Survival is relative to the effect without purification.
    return tuple(dict.fromkeys([NONE, *_names(text)]))


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
