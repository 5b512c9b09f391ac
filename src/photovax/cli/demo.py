"""``photovax demo``: the effect on edits of the sample photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.cli import options
from photovax.cli.progress import bars


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path(
        "demo"
    ),
    device: options.Device = "auto",
) -> None:
    """Immunize the sample photo, edit it in three ways, and write a sheet of pictures."""
    from photovax.demo import run_demo

    with bars() as drawn:
        done = run_demo(output, device=device, callback=drawn.step)
    for saved in done.saved:
        typer.echo(f"immunized: {saved.path}, PSNR {saved.visible.psnr:.1f} dB; {saved.seen.line}")
    typer.echo("edit of the immunized photo against the edit of the original, same noise:")
    for found in done.figures:
        lost = "" if found.lost is None else f", {found.lost:.1f} dB further from the true edit"
        ssim = "" if found.ssim is None else f", SSIM {found.ssim:.2f}"
        typer.echo(
            f"  {found.edit.mode:<8} {found.attack:<9} attack: PSNR {found.psnr:.1f} dB{ssim}{lost}"
        )
    typer.echo(f"{done.seconds:.0f} s; pictures: {done.strip}")
