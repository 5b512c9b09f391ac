"""Which models a photo is immune to: ``python -m benchmarks.transfer PHOTO... --weights FOLDER``.

Photos are immunized against each model, or several at once, and saved; the latent shift of the
saved files is then measured on every model, beside that of uniform random noise of the same
largest change. Prints a Markdown table of means over photos.

``--leave-one-out`` immunizes against each tested model and against all of them but one, and prints
a second table: the share of the gap between noise and an attack on the model itself that photos
immunized against other models reach. A pattern of squares, which knows no model, stands beside
them: what reaches no more than the pattern has not learnt anything from the other models.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import torch

from photovax.attack.presets import DEFAULT, load_recipe
from photovax.checks.noise import noisy
from photovax.checks.verdicts import FLOOR_SEEDS
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_shift
from photovax.models.catalog.places import fed_size
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import Photo, read_photo

CPU = torch.device("cpu")

Shifts = dict[str, float]
"""By the model that is tested."""


class Shares(NamedTuple):
    """Shares of the gap between noise and an attack on the tested model itself.

    Attributes:
        pattern: That of a pattern of squares.
        alone: The mean over attacks on one other model.
        together: That of an attack on all other models.
    """

    pattern: float
    alone: float
    together: float


AGAINST = ("embedded", "taef2", "embedded+taef2")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--against", nargs="+", default=AGAINST)
    which.add_argument("--leave-one-out", action="store_true")
    parser.add_argument("--tested", nargs="+", default=["embedded", "taef2", "taesana"])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--recipe", default=DEFAULT, help="preset, or a .toml file")
    parser.add_argument("--budget", type=float, default=16, help="in 8-bit levels")
    parser.add_argument("--size", type=int, help="short side at which all models are fed")
    options = parser.parse_args()
    if options.leave_one_out and len(set(options.tested)) < 2:
        parser.error("--leave-one-out needs two models or more in --tested")
    recipe = load_recipe(options.recipe).with_levels(options.budget)
    recipe = replace(recipe, size=options.size or recipe.size)
    tested = {
        name: load_autoencoder(name, device=CPU, weights=options.weights) for name in options.tested
    }
    against = left_out(list(tested)) if options.leave_one_out else options.against

    def shifts(photo: Photo, changed: np.ndarray) -> Shifts:
        return {
            name: latent_shift(
                model, photo.visible(), changed, CPU, size=fed_size(name, options.size)
            )
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
    floor, pattern = (
        [
            shifts(photo, change(photo.visible(), level, seed))
            for photo in map(read_photo, options.photos)
            for seed in FLOOR_SEEDS
        ]
        for change in (noisy, squares)
    )
    _print_row(f"nothing: noise of {level}/255", 0, floor)
    _print_row(f"nothing: squares of {level}/255", 0, pattern)
    means: dict[str, Shifts] = {}
    for names in against:
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
        means[names] = _mean(rows)
    if options.leave_one_out:
        _print_shares(shares(_mean(floor), _mean(pattern), means))


def squares(pixels: np.ndarray, level: int, seed: int) -> np.ndarray:
    """uint8 pixels (H, W, C), with each channel brighter or darker by a level in random squares.

    The side of a square is 1/32 of the short side of the photo: 8 pixels if it is fed at 256.
    """
    side = max(1, round(min(pixels.shape[:2]) / 32))
    rows, columns = (-(-length // side) for length in pixels.shape[:2])
    drawn = np.random.default_rng(seed).choice([-level, level], (rows, columns, pixels.shape[2]))
    change = drawn.repeat(side, 0).repeat(side, 1)[: pixels.shape[0], : pixels.shape[1]]
    changed: np.ndarray = np.clip(pixels + change, 0, 255).astype(np.uint8)
    return changed


def left_out(tested: Sequence[str]) -> list[str]:
    """What to immunize against: each model alone, and for each model all the others together."""
    return list(dict.fromkeys([*tested, *(_others(name, tested) for name in tested)]))


def shares(floor: Shifts, pattern: Shifts, means: Mapping[str, Shifts]) -> dict[str, Shares]:
    """The shares of the gap that photos reach which were not immunized against the tested model.

    The gap of a model lies between noise (0) and an attack on the model itself (1).

    Args:
        floor: Mean shift of noise.
        pattern: Mean shift of a pattern of squares.
        means: Mean shifts of photos immunized against what ``left_out`` names.
    """
    found = {}
    for name, noise in floor.items():
        gap = means[name][name] - noise
        alone = mean(means[other][name] for other in floor if other != name)
        together = means[_others(name, list(floor))][name]
        found[name] = Shares(*((shift - noise) / gap for shift in (pattern[name], alone, together)))
    return found


def _others(name: str, tested: Sequence[str]) -> str:
    return "+".join(other for other in tested if other != name)


def _mean(rows: Sequence[Shifts]) -> Shifts:
    return {name: mean(row[name] for row in rows) for name in rows[0]}


def _print_shares(found: Mapping[str, Shares]) -> None:
    print("\n| share of the gap | squares | one other | all others |\n|---|---|---|---|")
    each = Shares(*(mean(column) for column in zip(*found.values(), strict=True)))
    for name, row in {**found, "mean": each}.items():
        print(f"| {name} | {row.pattern:.0%} | {row.alone:.0%} | {row.together:.0%} |")


def _print_row(name: str, passes: int, rows: list[Shifts]) -> None:
    cells = [
        f"{mean(row[tested] for row in rows):.2f} ({min(row[tested] for row in rows):.2f})"
        for tested in rows[0]
    ]
    print(f"| {name} | {passes or ''} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
