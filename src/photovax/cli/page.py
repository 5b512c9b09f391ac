"""``photovax page``: the page that immunizes in the visitor's browser, for any web server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photovax.cli import options


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder to write, which is created.", show_default=False
        ),
    ],
    overwrite: options.Overwrite = False,
) -> None:
    """Write a page that immunizes in the browser, for any web server.

    Photos stay on the visitor's device: the page uploads nothing. 'photovax serve' has it, too.
    """
    from photovax.service.static import write_page

    files = write_page(folder, overwrite=overwrite)
    size = sum(file.stat().st_size for file in files)
    typer.echo(f"{folder}: {len(files)} files, {size / 1e6:.0f} MB; the page is index.html")
    typer.echo(f"To try it: python -m http.server --directory {folder}")
