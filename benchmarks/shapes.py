"""True shapes with random weights, for costs that do not depend on what the weights are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch

from photovax.models.catalog import CATALOG

__all__ = ["write_random"]


def write_random(name: str, folder: Path) -> None:
    """Write an autoencoder of a catalogue's model with random weights to ``folder/NAME``.

    ``--weights folder`` then loads it as it loads the true one.
    """
    torch.manual_seed(0)
    config = dict(CATALOG[name].config)
    parts: Any = diffusers  # its classes look empty to a type checker
    kind = getattr(parts, config["_class_name"])
    kind.from_config(config).save_pretrained(folder / name)
