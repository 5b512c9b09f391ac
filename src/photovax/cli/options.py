"""Options that several verbs share, and what they are parsed into."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from photovax.errors import UsageError
from photovax.models.catalog.entries import CATALOG, DEFAULT_MODEL

DEFAULT_MODELS = [DEFAULT_MODEL]

Models = Annotated[
    list[str],
    typer.Option("--model", help=f"{', '.join(CATALOG)}, or a diffusers folder; repeatable."),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Folder or file of weights that do not ship with photovax.",
        envvar="PHOTOVAX_WEIGHTS",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Largest width x height of a photo that is decoded. [default: 200 million]",
        show_default=False,
    ),
]


MaskFile = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        help="Mask: a picture of the photo's size, white on the subject.",
        show_default=False,
    ),
]
EditRegion = Annotated[
    bool,
    typer.Option(
        "--edit-region/--keep-region",
        help="Whether white in the mask marks what an editor repaints or what it keeps.",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Short side, in pixels, at which models are fed the photo. [default: the model's own]",
        show_default=False,
    ),
]


def parse_bytes(text: str) -> int:
    """Parse a size such as ``4GiB``, ``1.5 GB`` or ``800MiB`` into bytes.

    Raises:
        UsageError: If it is not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG])(i?)B?", text.strip())
    if found is None:
        raise UsageError(f"memory must be a size such as 4GiB or 800MiB, got {text!r}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** ("kMG".index(found[2]) + 1))


def as_jod(visibility: str | None) -> float | None:
    """A visibility as a number of JOD; None if it is a word, or not given."""
    try:
        return None if visibility is None else float(visibility)
    except ValueError:
        return None


def parse_shard(text: str) -> tuple[int, int]:
    """Parse a part such as ``2/8`` into (2, 8).

    Raises:
        UsageError: If it is none.
    """
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"--shard takes I/N, such as 2/8, got {text!r}") from None
    return index, count


def parse_workers(text: str) -> int | None:
    """Parse a number of workers, or ``auto``, which is None.

    Raises:
        UsageError: If it is neither.
    """
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--workers takes a number from 1 up, or auto, got {text!r}")
    return int(text)
