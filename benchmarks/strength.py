"""How far saved files move the model: ``python -m benchmarks.strength PHOTO... [--budgets 8 16]``.

Prints one line per budget: mean latent shift and damage of a recipe, the same for
random noise, their ratio, and the seconds per photo.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from photovax.attack.presets import LINF, load_recipe
from photovax.checks.check import check
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.pictures.photo import read_photo


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--budgets", nargs="+", type=float, default=[8, 16])
    parser.add_argument("--recipe", default=LINF)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--size", type=int, help="short side at which the model is fed")
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    immunizer = Immunizer([options.model], weights=options.weights)
    for budget in options.budgets:
        recipe = load_recipe(options.recipe).with_levels(budget)
        recipe = replace(recipe, size=options.size or recipe.size)
        rows = []
        with tempfile.TemporaryDirectory() as folder:
            for index, path in enumerate(options.photos):
                photo = read_photo(path)
                result = immunizer.immunize(photo, recipe)
                saved = immunizer.save(result, Path(folder) / f"{index}.png")
                measured = check(
                    read_photo(saved.path),
                    photo,
                    models=[options.model],
                    weights=options.weights,
                    size=options.size,
                )
                (found,) = measured.models.values()
                rows.append(
                    (
                        found.effect.shift,
                        found.floor.shift,
                        found.effect.damage or 0.0,
                        found.floor.damage or 0.0,
                        result.seconds,
                    )
                )
        shift, floor, damage, floor_damage, seconds = np.mean(rows, axis=0)
        print(
            f"{options.model}, {options.recipe} at {budget:g}/255, {len(rows)} photos: "
            f"shift {shift:.3f} (noise {floor:.3f}, {shift / floor:.1f} times), "
            f"damage {damage:.2f} dB "
            f"(noise {floor_damage:.2f} dB), {seconds:.1f} s a photo",
            flush=True,
        )


if __name__ == "__main__":
    main()
