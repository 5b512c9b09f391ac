"""``photovax immunize``: immunize photos."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from photovax.attack.budgets import LEVELS
from photovax.attack.presets import DEFAULT, PRESETS, load_recipe
from photovax.attack.recipe import Recipe
from photovax.attack.strength import JODS, Aim
from photovax.cli import options
from photovax.errors import Interrupted, UsageError
from photovax.machine.precision import Precision
from photovax.pictures.types import LOSSY_SUFFIXES, FileType
from photovax.ranges import QUALITIES, SEEDS, Range

if TYPE_CHECKING:
    from photovax.batch.local import Outcome
    from photovax.immunized import Immunized, Saved
    from photovax.pictures.compression import Quality


Target = Literal["pass"]
TIMES = Range(least=0.001)


def _read_quality(text: str) -> int | Literal["same"]:
    return "same" if text == "same" else int(QUALITIES.read(text))


def command(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File for one photo (.png, .tif, .webp, .jpg), folder for several. "
            "[default: NAME.immunized.png in the photo's folder]",
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
        options.checked(
            "--visibility",
            options.read_visibility,
            f"a word or a JOD {JODS}",
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
            help="Time for each photo, in seconds, instead of the recipe's number of steps.",
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
            help="Quality of JPEG and WebP results. same keeps the compression of the photo's own "
            "JPEG file. [default: same; 90 for JPEG from other files; WebP is lossless]",
            show_default=False,
        ),
    ] = None,
    lossless: Annotated[
        bool,
        typer.Option(
            "--lossless",
            help="Keep the budget in the decoded pixels of JPEG results, too: their files are "
            "several times as large.",
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
    forbid_ai: Annotated[
        bool,
        typer.Option(help="State in XMP that AI training and AI editing are forbidden."),
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also immunize photos that are immunized already.")
    ] = False,
    max_pixels: options.MaxPixels = None,
    as_json: options.AsJson = False,
    overwrite: Annotated[bool, typer.Option(help="Replace existing files.")] = False,
) -> None:
    """Immunize photos. Results keep the size of the photo, and are measured as saved files."""
    jod = options.as_number(visibility)
    aim = None if jod is None and target is None else Aim(jod=jod, passing=target is not None)
    chosen = load_recipe(recipe).adjusted(
        levels=budget,
        visibility=visibility if jod is None else jod,
        mode=mode,
        size=size,
        seed=seed,
    )
    outputs = _outputs(photos, output, file_type)
    kept = _quality(quality, lossless=lossless, paths=outputs.values())
    from photovax.batch.local import MaskOptions, immunize_files
    from photovax.immunizer import Immunizer
    from photovax.pictures.pillow import MAX_PIXELS

    immunizer = Immunizer(model, weights=weights, device=device, memory=memory, precision=precision)
    done: list[Outcome] = []
    # Ctrl-C before a result must not suppress the list of finished photos.
    with suppress(KeyboardInterrupt), options.progress(quiet=as_json) as show:
        for outcome in immunize_files(
            immunizer,
            outputs,
            chosen,
            mask=MaskOptions(mask, edit_region) if mask else None,
            aim=aim,
            seconds=seconds,
            quality=kept,
            overwrite=overwrite,
            strip_gps=strip_gps,
            forbid_ai=forbid_ai,
            again=again,
            max_pixels=max_pixels or MAX_PIXELS,
            callback=show,
        ):
            done.append(outcome)
            if not as_json:
                _show(outcome, chosen)
    if as_json:
        typer.echo(json.dumps([_data(outcome) for outcome in done], indent=1))
    _finish(done, list(outputs))


def _outputs(
    photos: list[Path], output: Path | None, file_type: FileType | None
) -> dict[Path, Path]:
    """The path of each photo's result."""
    from photovax.pictures.outputs import plan_outputs

    suffix = None if file_type == "same" else f".{file_type or 'png'}"
    planned = plan_outputs(photos, suffix=suffix)
    if output is None:
        return planned
    folder = os.path.isdir(output)  # unlike Path's, it takes names of any length
    if len(photos) == 1 and not folder and output.suffix:
        if file_type is not None:
            raise UsageError(f"-o {output} names the type by its suffix: leave out --type")
        return {photos[0]: output}
    if os.path.exists(output) and not folder:
        raise UsageError(f"-o {output} is a file; for several photos give a folder")
    output.mkdir(parents=True, exist_ok=True)
    # Photos of several folders go into one: names that collide keep the whole file name.
    return plan_outputs(photos, folder=output, suffix=suffix)


def _quality(
    asked: int | Literal["same"] | None, *, lossless: bool, paths: Iterable[Path]
) -> Quality:
    """The quality of the results.

    Raises:
        UsageError: If no result can have the quality.
    """
    if lossless:
        if asked is not None:
            raise UsageError(f"--lossless and --quality {asked} exclude each other: leave out one")
        return "lossless"
    if asked is not None and not any(path.suffix.lower() in LOSSY_SUFFIXES for path in paths):
        raise UsageError(
            f"--quality {asked}: only JPEG and WebP files have a quality",
            hint="give --type jpg, --type webp or -o NAME.jpg, or --type same for such photos",
        )
    return "same" if asked is None else asked


def _show(outcome: Outcome, recipe: Recipe) -> None:
    if outcome.saved is None or outcome.result is None:
        typer.echo(f"photovax: {outcome.failure}", err=True)
        return
    for line in _summary(outcome.result, outcome.saved, recipe):
        typer.echo(line)


def _summary(result: Immunized, saved: Saved, recipe: Recipe) -> list[str]:
    """The summary of one photo."""
    seen = saved.visible
    ssim = "" if seen.ssim is None else f", SSIM {seen.ssim:.4f}"
    lines = [
        f"{saved.path}",
        f"  size        {result.photo.width} x {result.photo.height}",
        f"  change      {seen.linf} of 255 levels at most, l2 {seen.l2:.2f}, "
        f"PSNR {seen.psnr:.1f} dB{ssim}",
        *([] if saved.compressed is None else [f"  compressed  {saved.compressed.line}"]),
        f"  seen        {saved.seen.line}",
    ]
    for name, effect in saved.effects.items():
        worse = "" if effect.damage is None else f", reconstruction {effect.damage:+.1f} dB worse"
        lines.append(
            f"  {name:<11} latent moved by {effect.shift:.2f} of its standard deviation{worse}"
        )
    quick = f" ({result.quick_steps} in bfloat16)" if result.quick_steps else ""
    lines.append(
        f"  work        {result.steps} steps{quick}, {result.seconds:.1f} s, "
        f"recipe {recipe.digest()}"
    )
    lines += [f"  note        {note}" for note in saved.notes]
    if not result.reached:
        lines.append("  note        the strength asked for cannot be reached; the recipe's is used")
    if result.stopped == "interrupted":
        lines.append("  note        interrupted: this is the best result so far")
    return lines


def _data(outcome: Outcome) -> dict[str, object]:
    if outcome.saved is None or outcome.result is None:
        return {"source": str(outcome.source), "error": outcome.failure}
    return {
        "source": str(outcome.source),
        "photo": str(outcome.saved.path),
        "record": json.loads(outcome.saved.record.read_text(encoding="utf-8")),
    }


def _finish(done: list[Outcome], sources: list[Path]) -> None:
    """List failed and unfinished photos, and exit with the code of the first error."""
    failed = [outcome for outcome in done if outcome.error is not None]
    left = sources[len(done) :]
    last = done[-1].result if done else None
    interrupted = bool(left) or (last is not None and last.stopped == "interrupted")
    if len(sources) > 1:
        for outcome in failed:
            typer.echo(f"not done: {outcome.failure}", err=True)
        for source in left:
            typer.echo(f"not done: {source}: interrupted", err=True)
        typer.echo(f"{len(done) - len(failed)} of {len(sources)} photos immunized", err=True)
    elif left:
        typer.echo("photovax: interrupted before there was a result", err=True)
    if interrupted:
        sys.exit(Interrupted.exit_code)
    if failed and failed[0].error is not None:
        sys.exit(failed[0].error.exit_code)
