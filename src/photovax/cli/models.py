"""``photovax models``: what can be immunized against."""

from __future__ import annotations

import json

import typer

from photovax.cli import options
from photovax.models.catalog import CATALOG


def command(as_json: options.AsJson = False) -> None:
    """List the models that can be named, and where their weights are."""
    rows = {
        name: {
            "summary": entry.summary,
            "weights": str(entry.folder or " and ".join(entry.files)),
            "megabytes": round(entry.weight_bytes / 1e6, 1),
            "latent": entry.latent,
            "licence": entry.licence,
            "memory": entry.memory,
        }
        for name, entry in CATALOG.items()
    }
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    for name, row in rows.items():
        typer.echo(f"{name}: {row.pop('summary')}")
        megabytes = row.pop("megabytes")
        row["weights"] = (
            f"{row['weights']} ({megabytes} MB)"
            if megabytes
            else (f"{row['weights']}, in the folder that --weights names")
        )
        row["memory"] = f"{row['memory']} for a step of an encoder attack"
        for key, value in row.items():
            typer.echo(f"  {key:<8} {value}")
    typer.echo(
        "Any diffusers folder can be given as --model PATH: a pipeline's, or an AutoencoderKL's."
    )
