"""``photovax register``: the models that photos are immunized against, by date."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photovax.cli import options
from photovax.cli.certificate import DATA, Data
from photovax.extras import extra_installed
from photovax.service.settings import Settings

if TYPE_CHECKING:
    from photovax.certificates.register import Registered

app = typer.Typer(help="The models that certificates are compared with.", no_args_is_help=True)


def _day(name: str, **settings: Any) -> Any:
    """An option that takes a day."""
    return options.checked(
        name, date.fromisoformat, "a day, YYYY-MM-DD", metavar="YYYY-MM-DD", **settings
    )


Since = Annotated[
    date | None, _day("--since", help="First day. [default: today]", show_default=False)
]
Until = Annotated[
    date | None, _day("--until", help="Last day of support. [default: open]", show_default=False)
]


@app.command("add")
def add(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Catalogue name or folder.", show_default=False)
    ],
    version: Annotated[str, typer.Option(help="Version of its weights.", show_default=False)],
    name: Annotated[
        str | None,
        typer.Option(help="Name in certificates. [default: that of MODEL]", show_default=False),
    ] = None,
    since: Since = None,
    until: Until = None,
    data: Data = DATA,
    weights: options.Weights = None,
) -> None:
    """Add a model to the register. Certificates that do not cover it become stale."""
    with extra_installed("certificates"):
        from photovax.certificates.register import Register, registered, same_weights

    entry = registered(model, name=name, version=version, since=since, until=until, weights=weights)
    register = Register(Settings(data).register)
    register.add(entry)
    typer.echo(f"{entry.name} {entry.version}, sha256 {entry.sha256}, since {entry.since}")
    for each in same_weights(entry, register):
        typer.echo(_twin(each))


@app.command("end")
def end(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    version: Annotated[str, typer.Argument(metavar="VERSION", show_default=False)],
    until: Annotated[
        date | None,
        _day("--until", help="Last day of support. [default: today]", show_default=False),
    ] = None,
    data: Data = DATA,
) -> None:
    """Set the last day of a model's support."""
    with extra_installed("certificates"):
        from photovax.certificates.register import Register, today

    last = until or today()
    Register(Settings(data).register).end(name, version, last)
    typer.echo(f"{name} {version}: supported until {last}")


@app.command("list")
def show(data: Data = DATA, as_json: options.AsJson = False) -> None:
    """List all models of the register, past ones included. Creates nothing."""
    with extra_installed("certificates"):
        from photovax.certificates.register import Register, same_weights, today

    path = Settings(data).register
    models = list(Register(path)) if path.exists() else []
    if as_json:
        rows = [asdict(each) for each in models]
        typer.echo(json.dumps(rows, indent=1, default=date.isoformat))
        return
    if not models:
        typer.echo(
            f"no register at {path}; 'register add', 'certificate issue' and 'serve' start one"
        )
    for each in models:
        state = "" if each.supported(today()) else "  (not supported today)"
        until = f" until {each.until}" if each.until else ""
        typer.echo(f"{each.name} {each.version}: since {each.since}{until}{state}")
        typer.echo(f"  sha256 {each.sha256}")
        for twin in same_weights(each, models):
            typer.echo(_twin(twin))


def _twin(model: Registered) -> str:
    """A line on a model that has the weights of the one above it."""
    return f"  the same weights as {model.name} {model.version}: what covers one covers both"
