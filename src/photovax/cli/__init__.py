"""The command line: one file per verb, which parses, calls and prints; no logic."""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
import typer.core

from photovax.cli import (
    certificate,
    check,
    demo,
    doctor,
    edit,
    evaluate,
    immunize,
    models,
    page,
    register,
    renew,
    serve,
    sign,
    train_immunizer,
)
from photovax.errors import Interrupted, PhotovaxError, SaveError


class _Commands(typer.core.TyperGroup):
    """Commands that report when Ctrl-C ended them; Typer prints nothing."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted: unfinished work is not written") from None


app = typer.Typer(
    cls=_Commands,
    help="Immunize photos: a small change that makes AI edits of them go wrong.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("immunize")(immunize.command)
app.command("sign")(sign.command)
app.command("check")(check.command)
app.command("edit")(edit.command)
app.command("evaluate")(evaluate.command)
app.add_typer(models.app, name="models")
app.command("renew")(renew.command)
app.command("serve")(serve.command)
app.command("page")(page.command)
app.command("demo")(demo.command)
app.command("doctor")(doctor.command)
app.command("train-immunizer")(train_immunizer.command)
app.add_typer(certificate.app, name="certificate")
app.add_typer(register.app, name="register")


def _show_version(wanted: bool) -> None:
    if wanted:
        from photovax.version import VERSION

        typer.echo(f"photovax {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; print errors as one line and exit with their code."""
    for stream in (sys.stdout, sys.stderr):
        # Consoles of Windows cannot print every file's name.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except PhotovaxError as error:
        typer.echo(f"photovax: {error.line}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, or a folder that may not be written
        if error.errno is None:  # not of the system
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        typer.echo(f"photovax: {where}{error.strerror or error}", err=True)
        try:
            sys.stdout.flush()
        except OSError:  # it is full, and would be flushed at the exit again
            sys.stdout = io.StringIO()
        sys.exit(SaveError.exit_code)
