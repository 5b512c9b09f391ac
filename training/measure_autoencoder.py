"""Measure attacks on autoencoders: ``python -m training.measure_autoencoder MODEL...``.

Each model is a row of a table: its PSNR on 256 x 256 centre crops of all held-out photos, and the
effect of random noise and of the drift attack (40 sign steps at the size fed to the model, saved
at 8 bits) on some of them. Shift: root mean square change of the latent, in units of the clean
latent's standard deviation. Damage: loss of PSNR of the decoded picture against the original.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from PIL import Image

from photovax.attack.presets import PRESETS
from photovax.checks.noise import noisy
from photovax.immunizer import Immunizer
from photovax.metrics.distortion import image_psnr
from photovax.metrics.latent import LatentEffect, latent_effect
from photovax.models.contracts import Autoencoder
from photovax.pictures.photo import Photo, read_photo
from photovax.registry import Part
from photovax.tensors import CPU, tensor
from training.measure_editor import reconstructed
from training.photos import MIDDLE, middle_square, photo_files, photo_folder

ATTACK = replace(PRESETS["fast"], views=(Part("short_side"),), steps=40, size=MIDDLE)
"""The attack on every model, at several budgets."""


def fidelity(model: Autoencoder, squares: list[np.ndarray]) -> float:
    """Mean PSNR of reconstructed squares, in dB."""
    images = torch.cat([tensor(square) for square in squares])
    return image_psnr(reconstructed(model, images), images).mean().item()


def effects(
    immunizer: Immunizer, photos: list[Photo], level: int
) -> tuple[list[LatentEffect], list[LatentEffect]]:
    """The effects of noise and of the attack on each photo, at one budget in 8-bit levels."""
    (model,) = immunizer.models
    noise, attack = [], []
    for number, photo in enumerate(photos):
        made = immunizer.immunize(photo, ATTACK.with_levels(level)).photo.pixels
        noised = noisy(photo.pixels, level, number)
        noise.append(latent_effect(model, photo.pixels, noised, CPU, size=MIDDLE))
        attack.append(latent_effect(model, photo.pixels, made, CPU, size=MIDDLE))
    return noise, attack


def cells(found: list[LatentEffect]) -> str:
    """Mean shift and mean damage, as the text of one cell."""
    shift = fmean(effect.shift for effect in found)
    damages = [effect.damage for effect in found if effect.damage is not None]
    return f"{shift:.3f}" + (f", {fmean(damages):.2f} dB" if damages else "")


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="catalogue names or folders")
    parser.add_argument("--weights", type=Path, help="folder of weights that do not ship")
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--levels", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    files = photo_files(photo_folder("eval"))
    squares = [np.array(middle_square(Image.open(file).convert("RGB"))) for file in files]
    chosen = range(0, len(files), max(1, len(files) // options.photos))[: options.photos]
    photos = [replace(read_photo(files[i]), pixels=squares[i], alpha=None) for i in chosen]
    head = [f"{kind} {level}" for level in options.levels for kind in ("noise", "drift")]
    print(f"| model | PSNR, {len(files)} photos | " + " | ".join(head) + " |")
    print("|" + "---|" * (len(head) + 2))
    for name in options.models:
        immunizer = Immunizer([name], weights=options.weights, device="cpu")
        (model,) = immunizer.models
        shown = f"{fidelity(model, squares):.2f} dB" if model.decodes else ""
        row = [
            cells(part) for level in options.levels for part in effects(immunizer, photos, level)
        ]
        print(f"| {name} | {shown} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
