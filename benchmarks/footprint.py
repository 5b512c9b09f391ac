"""Peak memory and seconds of each preset: ``python -m benchmarks.footprint [--model embedded]``.

Each immunizes the sample photo, with its mask where it needs one, in a process of its own for a few
steps: what a process holds does not grow with steps. Seconds are those of all its steps at the
pace of the last ones, in the mean; of recipes of a few steps they are those of the whole.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch

from photovax.attack.presets import PRESETS
from photovax.immunizer import Immunizer
from photovax.machine.memory import peak_resident_bytes, resident_bytes
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.pictures.masks import load_mask
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE, SAMPLE_MASK

FEW = 3


def measured(preset: str, model: str, weights: Path | None, threads: int) -> tuple[int, int, float]:
    """Bytes held once the photo is read, bytes at the peak, and seconds of all steps."""
    torch.set_num_threads(threads)
    recipe = PRESETS[preset]
    immunizer = Immunizer([model], weights=weights, device="cpu")
    steps = immunizer.steps(recipe)
    if steps > FEW:
        recipe = replace(recipe, steps=FEW, warm=None)
    photo = read_photo(SAMPLE)
    mask = load_mask(SAMPLE_MASK, photo) if recipe.needs_mask else None
    before = resident_bytes()
    spent: list[float] = []
    began = time.perf_counter()
    immunizer.immunize(photo, recipe, mask=mask, callback=lambda step: spent.append(step.seconds))
    whole = time.perf_counter() - began
    return before, peak_resident_bytes(), mean(spent[1:]) * steps if steps > FEW else whole


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    print(f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}")
    print("| recipe | GiB at the peak | GiB more than before | seconds |\n|---|---|---|---|")
    context = multiprocessing.get_context("spawn")
    for preset in options.presets:
        with context.Pool(1) as pool:
            task = (preset, options.model, options.weights, options.threads)
            before, peak, seconds = pool.apply(measured, task)
        gib = (f"{size / 2**30:.2f}" for size in (peak, peak - before))
        print(f"| `{preset}` | {' | '.join(gib)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
