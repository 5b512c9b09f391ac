"""True shapes with random weights, for costs that do not depend on what the weights are."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import torch

from photovax.models.catalog.entries import CATALOG

__all__ = ["add_models", "asked_models", "write_random"]


def write_random(name: str, folder: Path) -> None:
    """Write an autoencoder of a catalogue's model with random weights to ``folder/NAME``.

    ``--weights folder`` then loads it as it loads the true one.
    """
    torch.manual_seed(0)
    config = dict(CATALOG[name].config)
    parts: Any = diffusers  # its classes look empty to a type checker
    kind = getattr(parts, config["_class_name"])
    kind.from_config(config).save_pretrained(folder / name)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark be asked for trained models, and for true shapes with random weights."""
    parser.add_argument("--models", nargs="*", default=["embedded", "taef2"])
    parser.add_argument("--random", nargs="*", default=[], help="catalogue names of true shapes")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--size", type=int, help="of the square; each model's own when left out")


def asked_models(options: argparse.Namespace) -> Iterator[tuple[str, Path | None, bool]]:
    """Each model that was asked for: its name, where its weights are, whether they are random."""
    for name in options.models:
        yield name, options.weights, False
    for name in options.random:
        with tempfile.TemporaryDirectory() as folder:
            write_random(name, Path(folder))
            yield name, Path(folder), True
