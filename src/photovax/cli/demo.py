"""``photovax demo``: see it work on the sample photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.cli import options


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path(
        "demo"
    ),
    device: options.Device = "auto",
) -> None:
    """Immunize the sample photo and write a picture strip of what its model sees."""
    from photovax.demo import SAMPLE, run_demo

    with options.progress(quiet=False) as show:
        done = run_demo(output, device=device, callback=show and (lambda step: show(SAMPLE, step)))
    (effect,) = done.saved.effects.values()
    seen = done.saved.visible
    typer.echo(f"immunized in {done.seconds:.1f} s: {done.saved.path}")
    typer.echo(f"  change: {seen.linf} of 255 levels at most, PSNR {seen.psnr:.1f} dB")
    typer.echo(
        f"  the model's latent moved by {effect.shift:.2f} of its standard deviation, "
        f"its reconstruction is {effect.damage:.1f} dB worse"
    )
    typer.echo(f"picture strip: {done.strip}")
