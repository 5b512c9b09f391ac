"""Measure planting: ``python -m training.measure_planting OUT [--photos 10]``, after ``plant``.

Tables of measurements on held-out photos: the effect of copies immunized against the shipped
autoencoder on the next models, compared with random noise of the same largest change; the effect of
copies immunized against each next model on that model; the PSNR of each model on untouched photos,
and the distance of its latents from those of the shipped model. Means with 95 % bootstrap
intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from photovax.attack.presets import PRESETS
from photovax.attack.recipe import Recipe
from photovax.checks.check import check_loaded
from photovax.checks.verdicts import ModelCheck
from photovax.immunizer import Immunizer
from photovax.metrics.distortion import image_psnr
from photovax.metrics.statistics import bootstrap
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.contracts import Autoencoder
from photovax.models.latents import latent_distance, latent_unit
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import read_photo
from photovax.tensors import CPU
from training.measure_editor import BATCH
from training.photos import MIDDLE, centre_crops, load, photo_files, photo_folder
from training.plant import WAYS

FRESH = "fast, 16/255"
HEAD = """
| model | latent shift | of the shipped model's | noise | times noise | damage, dB | noise, dB |
|---|---|---|---|---|---|---|"""


def recipes(size: int) -> dict[str, Recipe]:
    """The recipes that immunize the photos, for a model that is fed ``size`` pixels."""
    fast, img2img = (replace(PRESETS[name], size=size) for name in ("fast", "photoguard-img2img"))
    # An objective that no planted pair uses, with fewer and longer steps than published.
    short = replace(img2img, steps=48, step_size=img2img.radius / 3, schedule="cosine")
    return {
        "fast, 8/255": fast.with_levels(8),
        FRESH: fast.with_levels(16),
        "photoguard-img2img in 48 steps, 16/255": short.with_levels(16),
    }


def immunized(files: list[Path], recipe: Recipe, model: str, folder: Path) -> list[Path]:
    """Files of photos immunized against a model, created where they do not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    immunizer = Immunizer([model], device="cpu")
    made = [folder / f"{file.stem}.png" for file in files]
    for file, output in zip(files, made, strict=True):
        if not output.exists():
            immunizer.save(immunizer.immunize(read_photo(file), recipe), output)
    return made


def checked(
    files: list[Path], copies: list[Path], model: Autoencoder, size: int
) -> list[ModelCheck]:
    """The effect of each copy on a model, and of noise of the same largest change."""
    models = {model.name: model}
    pairs = zip(files, copies, strict=True)
    checks = [
        check_loaded(read_photo(copy), read_photo(file), models, device=CPU, size=size)
        for file, copy in pairs
    ]
    return [check.models[model.name] for check in checks]


def shown(values: Sequence[float], form: str) -> str:
    """Mean and interval of values, one per photo, as text."""
    found = bootstrap(values)
    mean, low, high = (format(value, form) for value in (found.mean, found.low, found.high))
    return f"{mean} ({low} to {high})"


def effect_row(name: str, found: list[ModelCheck], before: list[ModelCheck]) -> str:
    """A row of a table: effects on a model, relative to those before, and those of noise."""
    shifts = [check.effect.shift for check in found]
    kept = [now / check.effect.shift for now, check in zip(shifts, before, strict=True)]
    noise = bootstrap([check.floor.shift for check in found]).mean
    noise_damage = bootstrap([check.floor.damage or 0.0 for check in found]).mean
    damages = [check.effect.damage or 0.0 for check in found]
    return (
        f"| {name} | {shown(shifts, '.3f')} | {shown(kept, '.0%')} | {noise:.3f} "
        f"| {bootstrap(shifts).mean / noise:.1f} | {shown(damages, '.2f')} | {noise_damage:.2f} |"
    )


def clean_row(name: str, model: Autoencoder, shipped: Autoencoder, crops: Tensor) -> str:
    """A row of a table: PSNR of a model on untouched photos, and the move of its latents."""
    found, moved = [], []
    with torch.no_grad():
        for batch in crops.split(BATCH):
            latents, before = model.encode(batch), shipped.encode(batch)
            found += image_psnr(model.decode(latents), batch).tolist()
            moved += (latent_distance(latents, before) / latent_unit(before)).tolist()
    return f"| {name} | {shown(found, '.2f')} | {shown(moved, '.3f')} |"


def main() -> None:
    """Immunize, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the folder that plant wrote")
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    files = photo_files(photo_folder("eval"))
    files = files[:: len(files) // options.photos][: options.photos]
    trained = [way for way in ("ordinary", *WAYS) if (options.out / way / "vae").is_dir()]
    sources = {"shipped": DEFAULT_MODEL, **{way: str(options.out / way / "vae") for way in trained}}
    models = {name: load_autoencoder(source, device=CPU) for name, source in sources.items()}
    size = models["shipped"].size
    print("| model | PSNR of untouched photos, dB | latents moved |\n|---|---|---|")
    crops = centre_crops(load(photo_folder("eval")), MIDDLE)
    for name, model in models.items():
        print(clean_row(name, model, models["shipped"], crops), flush=True)
    for recipe_name, recipe in recipes(size).items():
        # Folders are named by digest, so that copies for an earlier training are not reused.
        places = {
            name: options.out / "photos" / recipe.digest()[:12] / model.digest[:12]
            for name, model in models.items()
        }
        old = immunized(files, recipe, DEFAULT_MODEL, places["shipped"])
        before = checked(files, old, models["shipped"], size)
        print(f"\n{recipe_name}, made against the shipped model\n{HEAD}")
        print(effect_row("shipped", before, before), flush=True)
        for name in trained:
            print(effect_row(name, checked(files, old, models[name], size), before), flush=True)
        if recipe_name == FRESH:
            print(f"\n{recipe_name}, made against each model itself\n{HEAD}")
            for name in trained:
                new = immunized(files, recipe, sources[name], places[name])
                print(effect_row(name, checked(files, new, models[name], size), before), flush=True)


if __name__ == "__main__":
    main()
