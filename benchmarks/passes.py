"""Passes to a loss: ``python -m benchmarks.passes PHOTO...``.

The published ``photoguard-demo`` (200 steps) beside ``fast-grey``, which has its objective and
view, within the same budget: mean final losses, and passes through the encoder. Middle squares of
256 pixels, both in one run.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from pathlib import Path
from statistics import mean

import torch
from PIL import Image

from photovax.attack.presets import GREY, PRESETS
from photovax.attack.recipe import Recipe
from photovax.immunizer import Immunizer
from photovax.pictures.photo import read_photo
from training.photos import middle_square

PUBLISHED = "photoguard-demo"


def quicker() -> Recipe:
    """``fast-grey`` within the published budget."""
    return PRESETS[GREY].with_radius(PRESETS[PUBLISHED].radius)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    options = parser.parse_args()
    slow, ours = PRESETS[PUBLISHED], quicker()
    immunizer = Immunizer()
    losses: dict[str, list[float]] = {PUBLISHED: [], "ours": []}
    passes: dict[str, int] = {}
    for path in options.photos:
        picture = Image.open(path).convert("RGB")
        with tempfile.TemporaryDirectory() as folder:
            square = Path(folder) / "square.png"
            middle_square(picture).save(square)
            photo = read_photo(square)
        for name, recipe in ((PUBLISHED, slow), ("ours", ours)):
            result = immunizer.immunize(photo, recipe)
            losses[name].append(result.loss)
            passes[name] = result.passes
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, found in losses.items():
        print(f"{name:<16} {passes[name]:4d} passes, loss {mean(found):.4f}, {len(found)} photos")
    wins = sum(o <= p for o, p in zip(losses["ours"], losses[PUBLISHED], strict=True))
    print(f"ours at or below the published on {wins} of {len(options.photos)} photos")


if __name__ == "__main__":
    main()
