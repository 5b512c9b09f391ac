"""Which models a photo is immune to: ``python -m benchmarks.transfer PHOTO... --weights FOLDER``.

Photos are immunized against each model, or several at once, and saved; the latent shift of the
saved files is then measured on every model, beside that of uniform random noise of the same
largest change. Prints a Markdown table of means over photos.
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

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.checks.noise import noisy
from photovax.checks.verdicts import FLOOR_SEEDS
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.models.catalog.places import fed_size
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import Photo, read_photo

CPU = torch.device("cpu")

Shifts = dict[str, float]
"""By the model that is tested."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--against", nargs="+", default=["embedded", "taef2", "embedded+taef2"])
    parser.add_argument("--tested", nargs="+", default=["embedded", "taef2", "taesana"])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipe", default=DEFAULT)
    parser.add_argument("--budget", type=float, default=16, help="in 8-bit levels")
    parser.add_argument("--size", type=int, help="short side at which all models are fed")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe).with_levels(options.budget)
    recipe = replace(recipe, size=options.size)
    tested = {
        name: load_autoencoder(name, device=CPU, weights=options.weights) for name in options.tested
    }

    def shifts(photo: Photo, changed: np.ndarray) -> Shifts:
        return {
            name: latent_effect(
                model, photo.visible(), changed, CPU, size=fed_size(name, options.size)
            ).shift
            for name, model in tested.items()
        }

    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{options.recipe} at {options.budget:g}/255, {len(options.photos)} photos, models fed "
        f"{options.size or 'their own'} pixels; latent shift in standard deviations, mean (least)"
    )
    print(f"| immunized against | passes | {' | '.join(tested)} |")
    print("|---" * (len(tested) + 2) + "|")
    level = round(options.budget)
    floors = [
        shifts(photo, noisy(photo.visible(), level, seed))
        for photo in map(read_photo, options.photos)
        for seed in FLOOR_SEEDS
    ]
    _print_row(f"nothing: noise of {level}/255", 0, floors)
    for names in options.against:
        immunizer = Immunizer(names.split("+"), weights=options.weights, device="cpu")
        rows, passes = [], 0
        with tempfile.TemporaryDirectory() as folder:
            for index, path in enumerate(options.photos):
                photo = read_photo(path)
                result = immunizer.immunize(photo, recipe)
                passes = result.passes
                saved = immunizer.save(result, Path(folder) / f"{index}.png")
                rows.append(shifts(photo, read_photo(saved.path).visible()))
        _print_row(names.replace("+", " + "), passes, rows)


def _print_row(name: str, passes: int, rows: list[Shifts]) -> None:
    cells = [
        f"{mean(row[tested] for row in rows):.2f} ({min(row[tested] for row in rows):.2f})"
        for tested in rows[0]
    ]
    print(f"| {name} | {passes or ''} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
