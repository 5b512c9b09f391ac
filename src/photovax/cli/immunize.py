"""``photovax immunize``: immunize photos, a few or very many."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from photovax.attack.budgets import LEVELS
from photovax.attack.presets import DEFAULT, PRESETS, load_recipe
from photovax.attack.strength import JODS, Aim
from photovax.cli import options
from photovax.errors import UsageError
from photovax.machine.precision import Precision
from photovax.pictures.types import LOSSY_SUFFIXES, FileType
from photovax.ranges import QUALITIES, SEEDS, Range

if TYPE_CHECKING:
    from photovax.batch.plan import Plan, Task
    from photovax.pictures.compression import Quality

Target = Literal["pass"]
TIMES = Range(least=0.001)


def _read_quality(text: str) -> int | Literal["same"]:
    return "same" if text == "same" else int(QUALITIES.read(text))


def command(
    photos: Annotated[
        list[str],
        typer.Argument(
            metavar="PHOTO|FOLDER...",
            help="Paths, or URLs such as s3://bucket/folder. - is standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH|URL",
            help="File for one photo (.png, .tif, .webp, .jpg, .avif, .heic), or - for standard "
            "output; folder for several, which mirrors theirs. [default: NAME.immunized.png in the "
            "photo's folder]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help=f"Recipe: {', '.join(PRESETS)}, or a .toml or .json file.")
    ] = DEFAULT,
    model: options.Models = options.DEFAULT_MODELS,
    weights: options.Weights = None,
    network: options.Networks = None,
    visibility: Annotated[
        str | None,
        options.checked(
            "--visibility",
            options.read_visibility,
            f"a word or a JOD {JODS}",
            metavar="low|medium|high|JOD",
            help="How visible the change may be. A number is a lower bound in JOD of "
            "ColorVideoVDP, where 10 is invisible, such as 9.7. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Target | None,
        typer.Option(
            help="pass: the weakest change for which `photovax check` prints PASS. [default: the "
            "strongest that visibility or budget allows]",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        options.number(
            "--budget",
            LEVELS,
            help="Bound on the largest change instead of visibility, in 8-bit levels of 255, "
            "such as 8. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    mask: options.MaskFile = None,
    edit_region: options.EditRegion = False,
    mode: Annotated[
        str | None,
        typer.Option(
            help="Way of editing that the recipe attacks: instruct, inpaint or img2img. "
            "[default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    size: options.Size = None,
    seed: Annotated[
        int | None,
        options.number(
            "--seed",
            SEEDS,
            help="Seed of random draws. [default: the recipe's]",
            show_default=False,
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        options.number(
            "--time",
            TIMES,
            help="Time for each photo from start to file, in seconds, instead of the recipe's "
            "number of steps.",
            show_default=False,
        ),
    ] = None,
    file_type: Annotated[
        FileType | None,
        typer.Option(
            "--type",
            help="File type of results; same is the photo's own, or png if that is not written. "
            "[default: png]",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[
        Any,
        options.checked(
            "--quality",
            _read_quality,
            f"{QUALITIES}, or same",
            metavar="1-100|same",
            help="Quality of JPEG, WebP, AVIF and HEIC results. same keeps the compression of the "
            "photo's own JPEG file. [default: same; 90 for JPEG from other files, 85 for AVIF, "
            "60 for HEIC; WebP is lossless]",
            show_default=False,
        ),
    ] = None,
    lossless: Annotated[
        bool,
        typer.Option(
            "--lossless",
            help="Keep the budget in the decoded pixels of JPEG and AVIF results, too: their files "
            "are several times as large.",
        ),
    ] = False,
    device: options.Device = "auto",
    memory: Annotated[
        int | None,
        options.checked(
            "--memory",
            options.read_bytes,
            "a size such as 4GiB or 800MiB",
            metavar="SIZE",
            help="Memory limit of the process on a CPU, such as 4GiB; lower limits are slower, and "
            "refused if too low.",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Precision of steps. bfloat16 is up to twice as fast on machines with "
            "instructions for it, and used while its gradients agree with float32; auto uses it "
            "only on such machines."
        ),
    ] = "auto",
    strip_gps: Annotated[bool, typer.Option(help="Remove the location from the metadata.")] = False,
    survival: options.Survival = False,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Measure how visible the change is and what it does to models, too. The budget "
            "is verified in any case.",
        ),
    ] = True,
    forbid_ai: Annotated[
        bool,
        typer.Option(help="State in XMP that AI training and AI editing are forbidden."),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also immunize photos that are immunized already.")
    ] = False,
    max_pixels: options.MaxPixels = None,
    as_json: options.AsJson = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace existing files, except results that are up to date."
        ),
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Enter the folders in folders.")
    ] = False,
    addition: Annotated[
        str | None,
        typer.Option(
            "--suffix",
            help="What is added to names, such as .immunized. [default: nothing into a folder]",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        options.checked(
            "--workers",
            options.read_workers,
            f"{options.COUNTS}, or auto",
            metavar="N|auto",
            help="Number of photos at a time, each in a process of its own; auto measures how many "
            "are fastest on this machine. [default: 1; with --cluster as many as it has room for]",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local",
            help="Work on a Ray cluster, such as 10.0.0.1:6379; local starts one on this machine. "
            "All its machines must see the photos and results.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str,
        typer.Option(
            metavar="I/N", help="Do the I-th of N parts, to share the work between machines."
        ),
    ] = "1/1",
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Skip photos whose result exists, whatever made it. Results of the same photo "
            "with the same settings are skipped in any case.",
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Go on with photos that come into the folders, until Ctrl-C."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say how many photos, how long, how much memory and disk."
        ),
    ] = False,
    keep_times: Annotated[
        bool, typer.Option("--keep-times", help="Give results the file times of their photos.")
    ] = False,
    keep_partial: Annotated[
        bool,
        typer.Option("--keep-partial", help="Save the best result so far when interrupted."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write what was reached for each photo: a table (.csv), or a page with "
            "pictures (.html).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Immunize photos. Results keep the size of the photo, and are measured as saved files.

    Photos that are done are skipped, so a command that was interrupted in any way goes on when it
    is given again. The exit code is 0 only if all photos are immunized.
    """
    began = time.perf_counter()
    from photovax.batch.order import MaskOptions, Order
    from photovax.batch.plan import make_plan
    from photovax.batch.storage import is_url
    from photovax.cli.batch import Wish, immunize
    from photovax.cli.pipes import piped
    from photovax.pictures.pillow import MAX_PIXELS

    if cluster is not None and keep_partial:
        raise UsageError("--keep-partial needs workers on this machine: leave out --cluster")
    if dry_run and (as_json or report is not None):
        given = "--json" if as_json else "--report"
        raise UsageError(f"--dry-run prints lines of text and makes no results: leave out {given}")
    if survival and not measure:
        raise UsageError("--survival is measured with the rest: leave out --no-measure")
    if workers not in (None, 1) and keep_partial and os.name == "nt":
        raise UsageError("--keep-partial needs one worker on Windows: leave out --workers")
    stored = any(map(is_url, [*photos, output or ""]))
    if stored and (watch or keep_times):
        name = "--watch" if watch else "--keep-times"
        raise UsageError(f"{name} works on folders, not in stores such as s3://")
    if stored and report is not None and report.suffix.lower() != ".csv":
        raise UsageError("--report shows no pictures of a store such as s3://; give a .csv file")
    jod = options.as_number(visibility)
    bounded = budget is not None or (visibility is not None and jod is None)
    suffix = None if file_type == "same" else f".{file_type or 'png'}"
    order = Order(
        recipe=load_recipe(recipe).adjusted(
            levels=budget,
            visibility=visibility if jod is None else jod,
            mode=mode,
            size=size,
            seed=seed,
        ),
        models=tuple(model),
        weights=weights,
        networks=options.networks(network),
        device=device,
        memory=memory,
        precision=precision,
        mask=MaskOptions(mask, edit_region) if mask else None,
        aim=None
        if jod is None and target is None
        else Aim(jod, passing=target is not None, within=bounded),
        seconds=seconds,
        strip_gps=strip_gps,
        forbid_ai=forbid_ai,
        survival=survival,
        measure=measure,
        max_pixels=max_pixels or MAX_PIXELS,
        quality=_quality(quality, lossless=lossless),
        again=again,
        overwrite=overwrite,
        keep_times=keep_times,
        keep_partial=keep_partial,
        naming=f"{addition or ''}*{suffix or ''}",
    )
    wish = Wish(
        order=order,
        workers=_workers(workers, cluster),
        cluster=cluster,
        shard=options.parse_shard(shard),
        existing=skip_existing,
        watched=[Path(path) for path in photos if os.path.isdir(path)] if watch else None,
        recursive=recursive,
        dry_run=dry_run,
        report=report,
        as_json=as_json,
        began=began,
    )
    with piped(photos, output, file_type, as_json=as_json) as pipe:

        def plan() -> Plan:
            found = make_plan(
                pipe.photos,
                pipe.output,
                suffix=suffix,
                addition=addition,
                recursive=recursive,
                shard=wish.shard,
                results=again,
            )
            named = output is not None and not pipe.to_stdout and found.folder is None
            if named and file_type is not None:
                raise UsageError(f"-o {output} names the type by its suffix: leave out --type")
            # Photos of other types may come to watched folders.
            of_types = watch and file_type == "same"
            if (
                quality is not None
                and found.tasks
                and not (of_types or any(map(_lossy, found.tasks)))
            ):
                raise UsageError(
                    f"--quality {quality}: only JPEG, WebP, AVIF and HEIC files have a quality",
                    hint="give --type jpg or -o NAME.jpg, or --type same for such photos",
                )
            return found

        immunize(wish, plan, pipe)


def _workers(asked: int | None, cluster: str | None) -> int | None:
    """Number of workers; None for as many as are fastest, or as there is room for."""
    return 1 if asked is None and cluster is None else asked or None


def _quality(asked: int | Literal["same"] | None, *, lossless: bool) -> Quality:
    """The quality of the results.

    Raises:
        UsageError: If two are asked for.
    """
    if lossless and asked is not None:
        raise UsageError(f"--lossless and --quality {asked} exclude each other: leave out one")
    return "lossless" if lossless else "same" if asked is None else asked


def _lossy(task: Task) -> bool:
    return os.path.splitext(task.output)[1].lower() in LOSSY_SUFFIXES
