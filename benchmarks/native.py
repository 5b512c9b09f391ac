"""Photos at their own size: ``python -m benchmarks.native PHOTO... [--recipe fast-native]``.

What an adversary gets who does not resize: the mean latent shift on crops of the model's size at
random places of the saved photo, aligned to nothing. Beside it the shift after resizing with
Lanczos to a short side of 512, and how far seams between tiles stand out (1: not at all). The
default recipe and uniform noise with the same largest change stand beside it.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image
from torch import Generator

from benchmarks.large import shrunk
from photovax.attack.presets import DEFAULT, NATIVE, load_recipe
from photovax.attack.recipe import Recipe
from photovax.checks.noise import noisy
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.metrics.seams import seam_ratio
from photovax.models.views import Tiles
from photovax.pictures.photo import read_photo


def crop_shift(immunizer: Immunizer, before: np.ndarray, after: np.ndarray, crops: int) -> float:
    """The mean latent shift on random crops that are as large as the model is fed."""
    (model,) = immunizer.models
    generator = Generator().manual_seed(0)
    shifts = []
    for _ in range(crops):
        top, left = (
            int(torch.randint(side - model.size + 1, (), generator=generator))
            for side in before.shape[:2]
        )
        rows, columns = slice(top, top + model.size), slice(left, left + model.size)
        found = latent_effect(
            model,
            before[rows, columns],
            after[rows, columns],
            immunizer.device,
            size=model.size,
        )
        shifts.append(found.shift)
    return mean(shifts)


def measured(
    immunizer: Immunizer, path: Path, recipe: Recipe | None, levels: int, crops: int
) -> str:
    """One line about a photo immunized by a recipe, or with noise added; at that many levels."""
    (model,) = immunizer.models
    photo = read_photo(path)
    with tempfile.TemporaryDirectory() as name:
        saved, work = Path(name) / "out.png", ""
        if recipe is None:
            Image.fromarray(noisy(photo.pixels, levels, seed=0)).save(saved)
        else:
            result = immunizer.immunize(photo, recipe.with_levels(levels))
            immunizer.save(result, saved)
            work = f", {result.passes} passes, {result.seconds:.0f} s"
        before, after = photo.pixels, read_photo(saved).pixels
        original, small = (np.asarray(shrunk(each, 512)) for each in (path, saved))
    resized = latent_effect(model, original, small, immunizer.device, size=model.size).shift
    seams = seam_ratio(
        after.astype(np.float32) - before, Tiles(model.size).windows(*before.shape[:2])
    )
    return (
        f"crops {crop_shift(immunizer, before, after, crops):.3f}, resized {resized:.3f}, "
        f"seams {seams:.3f}{work}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--recipe", default=NATIVE)
    parser.add_argument("--steps", type=int, help="[default: the recipe's]")
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--crops", type=int, default=48)
    options = parser.parse_args()
    chosen = load_recipe(options.recipe)
    if options.steps is not None:
        chosen = replace(chosen, steps=options.steps)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    immunizer = Immunizer(device="cpu")
    recipes = {"noise": None, DEFAULT: load_recipe(DEFAULT), options.recipe: chosen}
    for path in options.photos:
        for name, recipe in recipes.items():
            line = measured(immunizer, path, recipe, options.levels, options.crops)
            print(f"{path.name}, {name}: {line}", flush=True)


if __name__ == "__main__":
    main()
