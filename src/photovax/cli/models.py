"""``photovax models``: list, describe and download the models of the catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from photovax.attack.networks.headers import shipped_for, told_by
from photovax.attack.presets import load_recipe
from photovax.cli import options
from photovax.errors import UsageError
from photovax.models.catalog.describe import described
from photovax.models.catalog.entries import CATALOG
from photovax.models.load import pull

app = typer.Typer(
    help="List models, show one, or download its weights.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name in the list of 'photovax models'.")]


@app.callback()
def default(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List models, show one, or download its weights."""
    if context.invoked_subcommand is None:
        list_command(as_json)


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List models, and which of them have their weights on this machine."""
    rows = {name: described(name) for name in CATALOG}
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for name, row in rows.items():
        state = "here" if row["whole"] else "part" if row["here"] else ""
        typer.echo(f"{name:<17}{state:<6}{row['summary']}")
    typer.echo("part: only its autoencoder, which is all that attacks on latents need.")
    typer.echo("'photovax models show NAME' shows details, 'photovax models pull NAME' downloads.")
    typer.echo(
        "--model also takes a diffusers folder or a cached hub id, of a pipeline or an autoencoder."
    )


@app.command("show")
def show_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name in the list, a diffusers folder, or a cached hub id."
        ),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Show details of a model, and how to get its weights."""
    networks = {
        shipped_for(name): "for one pass",
        shipped_for(name, opposed=True): "the same, trained beside a denoiser",
    }
    told = [f"{file}, {use}" for file, use in networks.items() if file is not None]
    row = described(name) | {"networks": told}
    if as_json:
        typer.echo(json.dumps(row, indent=1))
        return
    typer.echo(name)
    for key in [key for key in row if key not in ("here", "whole", "megabytes") and row[key]]:
        lines = row[key] if isinstance(row[key], list) else [row[key]]
        for number, line in enumerate(lines):
            typer.echo(f"  {key if number == 0 else '':<11} {line}")


@app.command("pull")
def pull_command(
    name: Name,
    editor: Annotated[
        bool,
        typer.Option(
            "--editor/--autoencoder",
            help="The whole editor, for edits and attacks on them, or only its autoencoder, for "
            "attacks on the autoencoder, such as the default.",
        ),
    ] = False,
) -> None:
    """Download a model's safetensors and configurations into the Hugging Face cache."""
    typer.echo(pull(name, whole=editor))


@app.command("export-network")
def export_command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="File that train-immunizer wrote, or a model whose network ships with photovax.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File of the graph, .onnx.", show_default=False),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Write a whole recipe of one pass: pixels in, immunized pixels out. instant, "
            "robust, or a recipe file.",
            show_default="the network alone",
        ),
    ] = None,
    visibility: Annotated[
        str | None,
        typer.Option(
            help="How much of the change may be seen, with --recipe.", show_default="the recipe's"
        ),
    ] = None,
    size: options.Size = None,
    apart: Annotated[
        bool,
        typer.Option(
            "--apart",
            help="With --recipe: leave the weights in the network's file, which must lie beside "
            "the graph.",
        ),
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a perturbation network, or a recipe of one pass, as an ONNX graph."""
    if output.suffix != ".onnx":
        raise UsageError(f"-o must end in .onnx, got {output}")
    if recipe is None and (visibility is not None or size is not None or apart):
        raise UsageError(
            "--visibility, --size and --apart are of a whole recipe, and there is no --recipe",
            hint="add --recipe instant",
        )
    chosen = None if recipe is None else load_recipe(recipe)
    if chosen is not None and visibility is not None:
        chosen = chosen.with_visibility(visibility)
    file = shipped_for(network, opposed=chosen is not None and chosen.opposed) or Path(network)
    model = told_by(file)["model"]
    if chosen is None:
        from photovax.attack.networks.onnx import INPUTS, OUTPUT, export

        export(file, output, overwrite=overwrite)
        typer.echo(f"{output}: from {', '.join(INPUTS)} to {OUTPUT}, for any size")
        return
    fed = size or chosen.size or (CATALOG[model].size if model in CATALOG else None)
    if fed is None:
        raise UsageError(
            f"the size at which {model} is fed photos is not known", hint="give it with --size"
        )
    from photovax.attack.networks import whole

    whole.export_whole(file, chosen, output, size=fed, apart=apart, overwrite=overwrite)
    given, found = ", ".join(whole.INPUTS), ", ".join(whole.OUTPUTS)
    typer.echo(f"{output}: from {given} to {found}, for any size")
    if apart:
        typer.echo(f"Its weights are those of {file}, which must lie beside it.")
