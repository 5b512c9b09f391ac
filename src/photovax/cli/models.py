"""``photovax models``: what can be immunized against, and fetching it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from photovax.cli import options
from photovax.models.catalog.describe import described
from photovax.models.catalog.entries import CATALOG
from photovax.models.load import pull

app = typer.Typer(
    help="List the models that can be named, show one, or download its weights.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="As 'photovax models' lists it.")]


@app.callback()
def default(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the models that can be named, show one, or download its weights."""
    if context.invoked_subcommand is None:
        list_command(as_json)


@app.command("list")
def list_command(as_json: options.AsJson = False) -> None:
    """List the models that can be named, and where their weights are."""
    rows = {name: described(name) for name in CATALOG}
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for name, row in rows.items():
        typer.echo(f"{name:<17}{'here' if row['here'] else '':<6}{row['summary']}")
    typer.echo("'photovax models show NAME' tells more, 'photovax models pull NAME' downloads.")
    typer.echo(
        "--model also takes a diffusers folder or a cached hub id: a pipeline's or autoencoder's."
    )


@app.command("show")
def show_command(name: Name, as_json: options.AsJson = False) -> None:
    """Show all that is known of one model, and how to get its weights."""
    row = described(name)
    if as_json:
        typer.echo(json.dumps(row, indent=1))
        return
    typer.echo(name)
    for key in [key for key in row if key not in ("here", "megabytes") and row[key]]:
        lines = row[key] if isinstance(row[key], list) else [row[key]]
        for number, line in enumerate(lines):
            typer.echo(f"  {key if number == 0 else '':<8} {line}")


@app.command("pull")
def pull_command(
    name: Name,
    autoencoder: Annotated[
        bool,
        typer.Option("--autoencoder", help="Only what attacks on its latent need, not edits."),
    ] = False,
) -> None:
    """Download a model's weights into the Hugging Face cache: safetensors and configs only."""
    typer.echo(pull(name, whole=not autoencoder))
