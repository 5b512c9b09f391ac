"""Measure planting: ``python -m training.measure_planting OUT [--photos 10]``, after ``plant``.

On photos that were never trained on, in tables: what copies immunized against the shipped
autoencoder still do to the next models, beside random noise of the same largest change; what
copies immunized against each next model do to that; how well each model shows untouched photos,
and how far its latents of them lie from the shipped one's. Means with 95 % intervals by bootstrap.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from photovax.attack.recipe import PRESETS, Recipe
from photovax.check import ModelCheck, check_loaded
from photovax.immunize import Immunizer
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
    """What the photos are immunized by, for a model that is fed ``size`` pixels."""
    fast, img2img = (replace(PRESETS[name], size=size) for name in ("fast", "photoguard-img2img"))
    # An objective that is in none of the planted pairs; fewer, longer steps than published.
    short = replace(img2img, steps=48, step_size=img2img.radius / 3, schedule="cosine")
    return {
        "fast, 8/255": fast.with_levels(8),
        FRESH: fast.with_levels(16),
        "photoguard-img2img in 48 steps, 16/255": short.with_levels(16),
    }


def immunized(files: list[Path], recipe: Recipe, model: str, folder: Path) -> list[Path]:
    """Copies of photos immunized against a model, as files, made where they are not there."""
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
    """What each copy does to a model, and what noise of the same largest change does."""
    models = {model.name: model}
    pairs = zip(files, copies, strict=True)
    checks = [
        check_loaded(read_photo(copy), read_photo(file), models, device=CPU, size=size)
        for file, copy in pairs
    ]
    return [check.models[model.name] for check in checks]


def shown(values: Sequence[float], form: str) -> str:
    """Mean and interval of values, one a photo."""
    found = bootstrap(values)
    mean, low, high = (format(value, form) for value in (found.mean, found.low, found.high))
    return f"{mean} ({low} to {high})"


def effect_row(name: str, found: list[ModelCheck], before: list[ModelCheck]) -> str:
    """A table's row: effects on a model, their share of those before, and those of noise."""
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
    """A table's row: how well a model shows untouched photos, and how far its latents moved."""
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
        # By digest, so that copies made against an earlier training are not taken for new ones.
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
