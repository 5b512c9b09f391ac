"""``photovax train-immunizer``: train a network that immunizes in one pass."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from photovax.attack.networks.headers import USUAL_WIDTH
from photovax.attack.presets import DEFAULT, load_recipe
from photovax.cli import options
from photovax.errors import UsageError
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.ranges import SEEDS, Range

MINUTES = Range(above=0)
OPPOSED = Range(least=0, most=1)
WIDTHS = Range(least=8, most=256, whole=True)


def command(
    photos: Annotated[
        Path,
        typer.Option(help="Folder of photos to train on, and below it.", show_default=False),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="File of the network, .safetensors.", show_default=False
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Model whose autoencoder is attacked: a name or a folder.")
    ] = DEFAULT_MODEL,
    weights: options.Weights = None,
    minutes: Annotated[
        float,
        options.number(
            "--minutes", MINUTES, help="Duration of the training, over all runs that resume it."
        ),
    ] = 60,
    recipe: Annotated[
        str, typer.Option(help="Recipe that gives budget, objective and size of the training.")
    ] = DEFAULT,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Network to start from, such as that of a similar model.", show_default=False
        ),
    ] = None,
    opposed: Annotated[
        float,
        options.number(
            "--opposed",
            OPPOSED,
            help="Share of the steps in which the model is fed what a denoiser leaves that learns "
            "beside the network: changes are then harder to remove, and do less.",
        ),
    ] = 0,
    width: Annotated[
        int | None,
        options.number(
            "--width",
            WIDTHS,
            help="Channels of the finest level, of which the others have twice and three times as "
            f"many; {USUAL_WIDTH} if not given. The file grows with the square: 1.9 MB with 32.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, options.number("--seed", SEEDS, help="Seed of random draws.")] = 0,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Train a network that immunizes photos in one pass, for `immunize --network`.

    The state is kept in OUTPUT.training, so the same command goes on after an interruption. At the
    end the latent shift of photos held out is printed, beside that of the default recipe.
    """
    if output.suffix != ".safetensors":
        raise UsageError(f"-o must end in .safetensors, got {output}")
    asked = load_recipe(recipe)
    from photovax.pictures.atomic import check_free

    check_free(output, overwrite=overwrite)

    from photovax.learning.crops import photos_in, readable, split
    from photovax.learning.held_out import compared
    from photovax.learning.learner import Learner, Plan
    from photovax.machine.device import pick_device
    from photovax.models.load import load_autoencoder
    from photovax.models.precision import quick_passes_of

    learnt, others = split(photos_in(photos))
    held_out = readable(others)
    chosen = pick_device(device)
    attacked = load_autoencoder(model, device=chosen, weights=weights)
    learner = Learner(
        asked,
        attacked,
        learnt,
        held_out,
        output.with_name(f"{output.name}.training"),
        Plan(minutes * 60, seed=seed, opposed=opposed, width=width),
        quick=quick_passes_of([attacked], "auto", chosen),
        device=chosen,
        start=start,
    )
    typer.echo(f"training on {len(learnt)} photos, {len(others)} held out", err=True)
    if learner.steps:
        typer.echo(f"resuming after {learner.steps} steps", err=True)
    learner.train(_show)
    learner.export(output, overwrite=overwrite)
    found = compared(
        output, load_recipe(DEFAULT), held_out, model=model, weights=weights, device=device
    )
    typer.echo(f"{output}: latent shift of {len(held_out)} photos held out")
    for way, shift in found.items():
        typer.echo(f"  {shift:.3f}  {way}")


def _show(report: dict[str, Any]) -> None:
    typer.echo(
        f"{report['seconds'] / 60:6.1f} min  step {report['step']}  loss {report['loss']:.3f}  "
        f"latent shift {report['shift']:.3f}",
        err=True,
    )
