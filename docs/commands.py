"""Writes reference/commands.md: what ``--help`` prints of every command.

Run it after an option has changed: python docs/commands.py
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from typer.testing import CliRunner

from photovax import errors
from photovax.cli import app

PAGE = Path(__file__).with_name("reference") / "commands.md"
START = """\
# Commands

What `photovax COMMAND --help` prints. `python docs/commands.py` writes this page, and a test fails
while it is not up to date. Commands end with exit code 0 on success, `check` with that of its
verdict ([checks.md](../checks.md#verdicts)), and otherwise with that of the error:

```text
"""


def names(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command, those of groups before their own commands'."""
    yield before
    for name, below in getattr(command, "commands", {}).items():  # groups have some
        yield from names(below, (*before, name))


def page() -> str:
    """Return the whole page."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    parts = [f"{START}{tree}\n```\n"]
    for words in names(typer.main.get_command(app)):
        shown = CliRunner().invoke(
            app, [*words, "--help"], prog_name="photovax", env={"COLUMNS": "80"}
        )
        # A trailing space would be lost in an editor, and the page then be out of date.
        lines = "\n".join(line.rstrip() for line in shown.stdout.strip().splitlines())
        parts.append(f"## {' '.join(('photovax', *words))}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
