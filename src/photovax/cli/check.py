"""``photovax check``: how strongly a photo is immunized, measured on the file."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photovax.cli import options
from photovax.cli.survival import survival_lines

if TYPE_CHECKING:
    from photovax.checks.check import Check


def command(
    photo: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTO",
            help="The immunized photo, or a copy of it that was resized, cropped or recompressed.",
            show_default=False,
        ),
    ],
    original: Annotated[
        Path, typer.Option(help="The photo before it was immunized.", show_default=False)
    ],
    model: options.Models = options.DEFAULT_MODELS,
    weights: options.Weights = None,
    size: options.Size = None,
    survival: options.Survival = False,
    device: options.Device = "auto",
    max_pixels: options.MaxPixels = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare a photo with its original, and its effect on models with that of random noise.

    What a platform did to the photo (crop, scale, JPEG) is found, and done to the original, too.

    Exit codes are 0 for PASS, 10 for WEAK and 11 for FAIL; others are errors.
    """
    from photovax.batch.libraries import import_libraries
    from photovax.checks.check import check
    from photovax.pictures.photo import read_photo
    from photovax.pictures.pillow import MAX_PIXELS

    cap = max_pixels or MAX_PIXELS
    photos = [read_photo(path, max_pixels=cap) for path in (photo, original)]
    import_libraries()
    found = check(
        *photos,
        models=model,
        weights=weights,
        size=size,
        survival=survival,
        device=device,
    )
    if as_json:
        typer.echo(json.dumps(_data(found), indent=1))
    else:
        for line in _lines(found):
            typer.echo(line)
    sys.exit(found.verdict.exit_code)


def _data(found: Check) -> dict[str, object]:
    return {
        "verdict": found.verdict.value,
        "meaning": found.meaning,
        "next": _next(found),
        "step": None if found.step is None else found.step.figures(),
        "filtered": found.filtered,
        "visible": found.visible.figures() | found.seen.figures(),
        "models": {
            name: asdict(model) | {"verdict": model.verdict.value}
            for name, model in found.models.items()
        },
        **({} if found.survival is None else {"survival": found.survival.figures()}),
    }


def _lines(found: Check) -> list[str]:
    seen = found.visible
    ssim = "" if seen.ssim is None else f", SSIM {seen.ssim:.4f}"
    lines = [] if found.step is None else [f"step: {found.step.line}; the original likewise"]
    lines += [
        f"change: {seen.linf} of 255 levels at most, l2 {seen.l2:.2f}, "
        f"{seen.changed:.0%} of pixels, PSNR {seen.psnr:.1f} dB{ssim}",
        f"seen: {found.seen.line}",
    ]
    for name, model in found.models.items():
        effect, floor = model.effect, model.floor
        lines += [
            f"{name}: {model.verdict.value}",
            f"  latent shift           {effect.shift:.3f}   noise of the same size "
            f"{floor.shift:.3f}",
        ]
        if effect.damage is not None and floor.damage is not None:
            lines.append(
                f"  reconstruction damage  {effect.damage:.2f} dB  noise of the same size "
                f"{floor.damage:.2f} dB"
            )
    if found.filtered:
        lines.append(
            "note: most of the change was one of all colours, as by a filter (brightness, "
            "contrast, saturation), and does not count"
        )
    if found.survival is not None:
        lines += survival_lines(found.survival.figures())
    lines.append(f"{found.verdict.value}: {found.meaning}")
    if (advice := _next(found)) is not None:
        lines.append(f"next: {advice}")
    return lines


def _next(found: Check) -> str | None:
    """What to do about a verdict; None where nothing is left to do."""
    step = found.step
    if found.verdict.value == "PASS":
        return None if step is not None else "check the copy that is served after an upload, too"
    stronger = "immunize the original with --visibility high"
    if step is None or step.resampling is None:
        return stronger
    width, height = step.size
    first = "resize" if step.whole else "crop and resize"
    return f"{first} the original to {width} x {height} as here, then {stronger}"
