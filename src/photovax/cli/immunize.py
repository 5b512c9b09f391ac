"""``photovax immunize``: immunize photos, a few or very many."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from photovax.attack.presets import DEFAULT, PRESETS, load_recipe
from photovax.attack.strength import Aim
from photovax.cli import options
from photovax.errors import UsageError
from photovax.machine.precision import Precision
from photovax.pictures.types import FileType

if TYPE_CHECKING:
    from photovax.batch.plan import Plan

Target = Literal["pass"]


def command(
    photos: Annotated[
        list[Path],
        typer.Argument(metavar="PHOTO|FOLDER...", help="- is standard input.", show_default=False),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File for one photo (.png, .tif, .webp, .jpg), or - for standard output; folder "
            "for several, which mirrors theirs. [default: NAME.immunized.png in the photo's "
            "folder]",
            show_default=False,
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help=f"Recipe: {', '.join(PRESETS)}, or a .toml or .json file.")
    ] = DEFAULT,
    model: options.Models = options.DEFAULT_MODELS,
    weights: options.Weights = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            metavar="low|medium|high|JOD",
            help="How visible the change may be. A number is a lower bound in JOD of "
            "ColorVideoVDP, where 10 is invisible, such as 9.7. [default: medium]",
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
        typer.Option(
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
        typer.Option(help="Seed of random draws. [default: the recipe's]", show_default=False),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--time",
            min=0.001,
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
            "JPEG loses a little of the effect, the others none. [default: png]",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    memory: Annotated[
        int | None,
        typer.Option(
            parser=options.parse_bytes,
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
    forbid_ai: Annotated[
        bool,
        typer.Option(help="State in XMP that AI training and AI editing are forbidden."),
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
        str,
        typer.Option(
            metavar="N|auto",
            help="Number of photos at a time, each in a process of its own; auto measures how many "
            "are fastest on this machine.",
        ),
    ] = "1",
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
    from photovax.batch.order import MaskOptions, Order
    from photovax.batch.plan import make_plan
    from photovax.cli.batch import Wish, immunize
    from photovax.cli.pipes import piped
    from photovax.pictures.pillow import MAX_PIXELS

    jod = options.as_jod(visibility)
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
        device=device,
        memory=memory,
        precision=precision,
        mask=MaskOptions(mask, edit_region) if mask else None,
        aim=None if jod is None and target is None else Aim(jod=jod, passing=target is not None),
        seconds=seconds,
        strip_gps=strip_gps,
        forbid_ai=forbid_ai,
        max_pixels=max_pixels or MAX_PIXELS,
        overwrite=overwrite,
        keep_times=keep_times,
        keep_partial=keep_partial,
        naming=f"{addition or ''}*{suffix or ''}",
    )
    wish = Wish(
        order=order,
        workers=options.parse_workers(workers),
        shard=options.parse_shard(shard),
        existing=skip_existing,
        watched=[path for path in photos if path.is_dir()] if watch else None,
        recursive=recursive,
        dry_run=dry_run,
        report=report,
        as_json=as_json,
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
            )
            named = output is not None and not pipe.to_stdout and found.folder is None
            if named and file_type is not None:
                raise UsageError(f"-o {output} names the type by its suffix: leave out --type")
            return found

        immunize(wish, plan, pipe)
