"""Options that several verbs share, and what they are parsed into."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from photovax.attack.networks.headers import told_by
from photovax.attack.strength import JODS
from photovax.errors import UsageError
from photovax.models.catalog.entries import CATALOG, DEFAULT_MODEL
from photovax.models.edit import SIZES, valid_size
from photovax.ranges import Range


def as_number(text: str | None) -> float | None:
    """The number that a text stands for; None if it is none, or not given."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def checked(
    name: str, read: Callable[[str], Any], allowed: object, *, metavar: str, **settings: Any
) -> Any:
    """An option whose value is checked before anything is loaded.

    Args:
        name: Option, as it is typed.
        read: Function that reads a value and raises ``ValueError`` if it is not allowed.
        allowed: Allowed values, in words.
        metavar: Name of a value in the help.
        settings: Further settings of ``typer.Option``, such as its help.
    """

    def parse(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, OverflowError):
            # A number as it was typed; quotes show what is empty or no number.
            shown = text if as_number(text) is not None else repr(text)
            raise UsageError(f"{name} must be {allowed}, got {shown}") from None

    return typer.Option(name, parser=parse, metavar=metavar, **settings)


def number(name: str, allowed: Range, **settings: Any) -> Any:
    """An option that takes a number in a range; others are refused by the option's name."""
    metavar = "INTEGER" if allowed.whole else "FLOAT"
    return checked(name, allowed.read, allowed, metavar=metavar, **settings)


def word(name: str, known: Iterable[str], **settings: Any) -> Any:
    """An option that takes one of some words."""
    words = tuple(known)

    def read(text: str) -> str:
        return words[words.index(text)]

    allowed = f"one of {', '.join(words)}"
    return checked(name, read, allowed, metavar="|".join(words), **settings)


def read_visibility(text: str) -> str:
    """A word for a visibility, which the recipe checks, or a number of JOD in range."""
    jod = as_number(text)
    if jod is not None and jod not in JODS:
        raise ValueError(text)
    return text


def read_bytes(text: str) -> int:
    """A size of memory such as ``4GiB``, ``1.5 GB`` or ``800MiB``, in bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG])(i?)B?", text.strip())
    if found is None:
        raise ValueError(text)
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** ("kMG".index(found[2]) + 1))


def _size(text: str) -> int:
    size = int(text)
    if not valid_size(size):
        raise ValueError(text)
    return size


COUNTS = Range(least=1, whole=True)
SECONDS = Range(least=1)
TOTALS = Range(above=0)

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
Networks = Annotated[
    list[Path] | None,
    typer.Option(
        "--network",
        help="Perturbation network of a model, which photovax train-immunizer makes; repeatable. "
        "That of the embedded model ships with photovax.",
        show_default=False,
    ),
]


def networks(files: Iterable[Path] | None) -> tuple[Path, ...]:
    """The files of ``--network``, whose headers are read before anything heavy is loaded.

    Raises:
        ModelError: If one cannot be read, or is no perturbation network.
    """
    given = tuple(files or ())
    for file in given:
        told_by(file)
    return given


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Device = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda or mps.")]
Survival = Annotated[
    bool,
    typer.Option(
        "--survival",
        help="Also measure what compression, platforms, filters and other treatments leave of the "
        "effect; takes some seconds.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
MaxPixels = Annotated[
    int | None,
    number(
        "--max-pixels",
        COUNTS,
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
    checked(
        "--size",
        _size,
        SIZES,
        metavar="INTEGER",
        help="Short side, in pixels, at which models are fed the photo. [default: the model's own]",
        show_default=False,
    ),
]


def parse_shard(text: str) -> tuple[int, int]:
    """Parse a part such as ``2/8`` into (2, 8).

    Raises:
        UsageError: If it is none.
    """
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"--shard takes I/N, such as 2/8, got {text!r}") from None
    if not 1 <= index <= count:
        raise UsageError(f"--shard takes I/N with I from 1 to N, got {text}")
    return index, count


def read_workers(text: str) -> int:
    """A number of workers, or ``auto``, which is 0."""
    return 0 if text == "auto" else int(COUNTS.read(text))
