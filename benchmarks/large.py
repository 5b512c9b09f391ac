"""Large photos: ``python -m benchmarks.large PHOTO... [--size 512] [--megapixels 24]``.

Resizing: each photo is immunized at its own size and saved; the saved file is then resized with
Lanczos, as an ordinary tool does, and its latent shift there is compared with that of the same
photo resized first and immunized small. Memory: the first photo, enlarged, is immunized in a
process of its own, whose peak is printed. ``--memory-only --random sd15 --steps 3 --limit 6`` does
so with the true shape of a model with random weights below 6 GiB, which takes minutes.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image

from benchmarks.shapes import write_random
from photovax.attack.presets import DEFAULT, PRESETS
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.pictures.photo import read_photo


def shrunk(path: Path, size: int) -> Image.Image:
    """A picture with a short side of ``size``, both sides multiples of 8."""
    # Upright, as it is saved.
    picture = Image.fromarray(read_photo(path).visible_rgb())
    scale = size / min(picture.size)
    width, height = (round(side * scale / 8) * 8 for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def survival(photos: list[Path], size: int) -> None:
    """Print the shift after resizing, beside that of a photo resized first."""
    immunizer = Immunizer()
    recipe = replace(PRESETS[DEFAULT], size=size)
    (model,) = immunizer.models
    ratios = []
    for path in photos:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            shrunk(path, size).save(folder / "small.png")
            shifts = []
            for source, output in ((path, "large.out.png"), (folder / "small.png", "out.png")):
                began = time.perf_counter()
                result = immunizer.immunize(read_photo(source), recipe)
                immunizer.save(result, folder / output)
                seconds = time.perf_counter() - began
                before, after = (np.asarray(shrunk(p, size)) for p in (source, folder / output))
                found = latent_effect(model, before, after, immunizer.device, size=size)
                shifts.append(found.shift)
                print(
                    f"{path.name}: {result.photo.width} x {result.photo.height}, shift at {size} "
                    f"{found.shift:.3f}, {seconds:.1f} s",
                    flush=True,
                )
        ratios.append(shifts[0] / shifts[1])
    print(f"kept of the shift after resizing: {mean(ratios):.2f}, least {min(ratios):.2f}")


def immunize_enlarged(
    path: Path, megapixels: float, random: str | None, steps: int, limit: float | None
) -> None:
    """Immunize a photo of that many pixels with the default recipe, and print the peak memory."""
    recipe = replace(PRESETS[DEFAULT], steps=steps)
    with tempfile.TemporaryDirectory() as name:
        picture = Image.open(path).convert("RGB")
        scale = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
        big = picture.resize((round(picture.width * scale), round(picture.height * scale)))
        big.save(Path(name) / "big.png", compress_level=1)
        size = big.size
        del picture, big
        if random is not None:
            write_random(random, Path(name))
        immunizer = Immunizer(
            [random or DEFAULT_MODEL],
            weights=Path(name),
            device="cpu",
            memory=None if limit is None else int(limit * 2**30),
        )
        began = time.perf_counter()
        result = immunizer.immunize(read_photo(Path(name) / "big.png"), recipe)
        saved = immunizer.save(result, Path(name) / "out.png")
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{random or DEFAULT_MODEL}, {size[0]} x {size[1]}: {result.steps} steps and saving "
        f"{seconds:.0f} s, {saved.visible.linf} of 255 levels, peak "
        f"{peak:.2f} GiB",
        flush=True,
    )


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--random", help="catalogue name of a true shape, for --memory-only")
    parser.add_argument("--steps", type=int, default=PRESETS[DEFAULT].steps)
    parser.add_argument("--limit", type=float, help="GiB of memory, for --memory-only")
    options = parser.parse_args()
    if options.memory_only:
        immunize_enlarged(
            options.photos[0], options.megapixels, options.random, options.steps, options.limit
        )
        return
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    command = [sys.executable, "-m", "benchmarks.large", str(options.photos[0]), "--memory-only"]
    subprocess.run([*command, "--megapixels", str(options.megapixels)], check=True)  # noqa: S603
    survival(options.photos, options.size)


if __name__ == "__main__":
    main()
