"""What is left in a lossy file: ``python -m benchmarks.compression PHOTO... [--quality same 75]``.

For each photo and recipe: the PNG, the PNG saved as JPEG afterwards, and the JPEG whose compression
the change was made to survive. Prints, as means over the photos: bytes of the file as a share of
those of the untouched photo (with its own compression for ``same``), the latent shift, how much
further an edit is from the true edit than that of the original (dB, mean of two instructions), and
JOD.
"""

from __future__ import annotations

import argparse
import platform
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch

from photovax.adversary.edits import Adversary
from photovax.attack.presets import DEFAULT, LINF, load_recipe
from photovax.evaluation.true_edits import TRUE_EDITS, truth
from photovax.immunizer import Immunizer
from photovax.metrics.distortion import psnr
from photovax.metrics.latent import latent_effect
from photovax.metrics.visibility import jod
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.load import usual_edit
from photovax.pictures.channels import as_image
from photovax.pictures.compression import Compression, compression_for
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.resize import resized

EDITS = ("night", "fog")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--recipes", nargs="+", default=[LINF, DEFAULT])
    parser.add_argument("--quality", nargs="+", default=["same"])
    parser.add_argument("--type", default=".jpg", choices=[".jpg", ".webp"])
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    immunizer, adversary = Immunizer(), Adversary()
    rows: defaultdict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for path in options.photos:
        photo = read_photo(path)
        measure = _measure(photo, immunizer, adversary)
        for name in options.recipes:
            recipe = load_recipe(name)
            png = immunizer.immunize(photo, recipe).photo
            rows[name, "PNG"].append((np.nan, *measure(png)))
            for asked in options.quality:
                quality = asked if asked == "same" else int(asked)
                compression = compression_for(options.type, photo.compression, quality)
                assert compression is not None
                own = photo.compression if asked == "same" else None
                before = _bytes(photo, own or compression)
                through = immunizer.immunize(photo, recipe, compression=compression)
                for way, made in (("afterwards", png), ("through", through.photo)):
                    share = _bytes(made, compression) / before
                    figures = measure(made.compressed(compression))
                    rows[name, f"{asked} {way}"].append((share, *figures))
        for key, found in rows.items():
            print(path.stem, *key, *(f"{figure:.3f}" for figure in found[-1]), flush=True)
    print("| recipe | file | bytes | latent shift | edit further by, dB | JOD |")
    print("|---|---|---|---|---|---|")
    for (name, way), found in rows.items():
        share, shift, lost, seen = np.mean(found, axis=0)
        print(f"| {name} | {way} | {share:.2f} | {shift:.3f} | {lost:.2f} | {seen:.2f} |")


def _measure(
    photo: Photo, immunizer: Immunizer, adversary: Adversary
) -> Callable[[Photo], tuple[float, float, float]]:
    """The function that measures a protected photo: latent shift, dB, JOD."""
    (model,) = immunizer.models
    before, base = photo.visible_rgb(), usual_edit(DEFAULT_MODEL, "instruct")
    fed = np.asarray(resized(before, model.size))
    true = [TRUE_EDITS[name] for name in EDITS]
    truths = [truth(edit, fed) for edit in true]

    def near(pixels: np.ndarray) -> float:
        made = [
            adversary.edit(pixels, replace(base, prompt=edit.orders[0]), seed=0) for edit in true
        ]
        return float(np.mean([psnr(*pair) for pair in zip(truths, made, strict=True)]))

    clean = near(before)

    def measure(made: Photo) -> tuple[float, float, float]:
        after = made.visible_rgb()
        shift = latent_effect(model, before, after, immunizer.device, size=model.size).shift
        return shift, clean - near(after), jod(before, after) or np.nan

    return measure


def _bytes(photo: Photo, compression: Compression) -> int:
    file = BytesIO()
    as_image(photo.channels).save(file, compression.kind, **compression.options())
    return file.tell()


if __name__ == "__main__":
    main()
