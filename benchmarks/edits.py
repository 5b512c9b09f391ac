"""How edits of immunized photos fall: ``python -m benchmarks.edits OUT PHOTO... [options]``.

For every photo, budget, way of editing and recipe: immunize, save, edit the saved file with the
ordinary pipeline, and compare with the edit of the original on the same seed. Random noise of
the same size is a recipe called ``noise``. What is done is kept in OUT, so that a run can be
taken up again. Photos are cut to their middle square first, and edited at the model's size.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image

from photovax.adversary.edits import Adversary, resized
from photovax.check import noisy
from photovax.edit import Edit, Mode
from photovax.immunize import Immunizer
from photovax.metrics.colours import COLOURS
from photovax.metrics.latent import tensor
from photovax.metrics.true_edits import TRUE_EDITS, truth
from photovax.metrics.visible import psnr, ssim
from photovax.models.catalog import DEFAULT_MODEL, usual_edit
from photovax.photo import read_photo
from photovax.recipe import PRESETS, Recipe
from training.perceptual import Lpips
from training.photos import middle_square

MODES: tuple[Mode, ...] = ("instruct", "inpaint", "img2img")
NOISE = "noise"


@dataclass(frozen=True)
class Row:
    """One edit of one immunized photo, beside the edit of the original.

    ``psnr``, ``ssim``, ``lpips``: between the two edits. ``lost``: by how many dB the edit is
    further from the true one (instruct). ``linf``: realised, in 8-bit levels.
    """

    photo: str
    budget: float
    mode: str
    recipe: str
    seed: int
    prompt: str
    psnr: float
    ssim: float
    lpips: float | None
    lost: float | None
    linf: int
    seconds: float


class Bench:
    """Models, photos and the folder of results."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.results = self.out / "rows.jsonl"
        lines = self.results.read_text().splitlines() if self.results.exists() else []
        self.rows = [Row(**json.loads(line)) for line in lines]
        self.immunizer = Immunizer()
        self.adversary = Adversary()
        self.lpips = None if options.lpips is None else Lpips(options.lpips).eval()

    def run(self) -> None:
        """Do what is not done yet."""
        done = {(r.photo, r.budget, r.mode, r.recipe, r.seed) for r in self.rows}
        with self.results.open("a") as file:
            for row in self._missing(done):
                self.rows.append(row)
                file.write(json.dumps(asdict(row)) + "\n")
                file.flush()

    def _missing(self, done: set[tuple[str, float, str, str, int]]) -> Iterator[Row]:
        for index, path in enumerate(self.options.photos):
            square = self._square(path)
            original = read_photo(square).pixels
            kept = (
                np.asarray(middle_square(Image.open(path.with_suffix(".mask.png")).convert("L")))
                >= 128
            )
            for mode in self.options.modes:
                edit, wanted = _asked(mode, index, original)
                for seed in range(self.options.seeds):
                    cases = [
                        (budget, recipe)
                        for budget in self.options.budgets
                        for recipe in self.options.recipes
                        if (path.stem, budget, mode, recipe, seed) not in done
                        and _applies(recipe, mode)
                    ]
                    if not cases:
                        continue
                    clean = self.adversary.edit(original, edit, seed=seed, repaint=~kept)
                    for budget, recipe in cases:
                        changed, seconds = self._immunized(square, recipe, budget, mode, kept)
                        made = self.adversary.edit(changed, edit, seed=seed, repaint=~kept)
                        lost = None if wanted is None else psnr(wanted, clean) - psnr(wanted, made)
                        yield Row(
                            path.stem,
                            budget,
                            mode,
                            recipe,
                            seed,
                            edit.prompt,
                            psnr(clean, made),
                            ssim(clean, made) or 0.0,
                            self._lpips(clean, made),
                            lost,
                            int(np.abs(changed.astype(int) - original).max()),
                            seconds,
                        )

    def _lpips(self, first: np.ndarray, second: np.ndarray) -> float | None:
        if self.lpips is None:
            return None
        with torch.no_grad():
            pair = [tensor(picture, torch.device("cpu")) for picture in (first, second)]
            return float(self.lpips(*pair))

    def _square(self, path: Path) -> Path:
        square = self.out / f"{path.stem}.png"
        if not square.exists():
            middle_square(Image.open(path).convert("RGB")).save(square)
        return square

    def _immunized(
        self, square: Path, name: str, budget: float, mode: Mode, kept: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Pixels of the saved file, and what it took to make."""
        photo = read_photo(square)
        masked = mode == "inpaint"
        if name == NOISE:
            changed = noisy(photo.pixels, round(budget), 11)
            return np.where(kept[..., None] | (not masked), changed, photo.pixels), 0.0
        recipe = PRESETS[name]
        if recipe.budget.name == "linf":
            recipe = recipe.with_levels(budget)
        if self.options.steps:
            # Fewer, longer steps: what the published number of steps would cost is not affordable.
            shorter = min(self.options.steps, recipe.steps)
            recipe = replace(
                recipe,
                steps=shorter,
                step_size=min(recipe.step_size * recipe.steps / shorter, recipe.radius / 2),
            )
        if self.options.draws and len(recipe.views) > self.options.draws and recipe.draws is None:
            recipe = replace(recipe, views=recipe.views[: self.options.draws])
        recipe = _in_mode(recipe, mode)
        key = f"{square.stem}.{name}-{recipe.digest()}-{'kept' if masked else 'all'}"
        path = self.out / f"{key}.png"
        if not path.exists():
            result = self.immunizer.immunize(photo, recipe, mask=kept if masked else None)
            if result.stopped == "interrupted":
                raise KeyboardInterrupt
            self.immunizer.save(result, path)
        seconds = json.loads(path.with_name(path.name + ".json").read_text())["seconds"]
        return read_photo(path).pixels, seconds


def _applies(name: str, mode: Mode) -> bool:
    """Whether a recipe has anything to attack in a way of editing."""
    if name == "diffusionguard":
        return mode != "img2img"
    return name == NOISE or mode == "inpaint" or not PRESETS[name].kept_region_only


def _in_mode(recipe: Recipe, mode: Mode) -> Recipe:
    """The recipe against a way of editing, where it goes through edits of that kind."""
    named = [recipe.objective.name]
    named += [term["name"] for term in recipe.objective.options.get("terms", ())]
    through = {"edit_target", "edit_drift", "first_step_norm"} & set(named)
    return recipe.with_mode(mode) if through else recipe


def _asked(mode: Mode, index: int, original: np.ndarray) -> tuple[Edit, np.ndarray | None]:
    """The edit of one photo, and the true one where it is known; prompts take turns."""
    usual = usual_edit(DEFAULT_MODEL, mode)
    true = list(TRUE_EDITS.values())[index % len(TRUE_EDITS)]
    if mode == "instruct":
        wanted = truth(true, np.asarray(resized(original, 256)))
        return usual.asking(true.orders[0]), wanted
    if mode == "inpaint":
        return usual.asking(f"{list(COLOURS)[index % len(COLOURS)]} background"), None
    return usual.asking(true.looks[0]), None


def main() -> None:
    """Run and print one line for each way of editing, budget and recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--recipes", nargs="+", default=[NOISE, *PRESETS])
    parser.add_argument("--budgets", nargs="+", type=float, default=[8, 16])
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="at most this many steps, longer ones")
    parser.add_argument("--draws", type=int, help="at most this many draws a step")
    parser.add_argument("--lpips", type=Path, help="archive; see training/perceptual.py")
    options = parser.parse_args()
    bench = Bench(options)
    bench.run()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"peak memory {memory:.2f} GiB; {options}")
    for mode in options.modes:
        for budget in options.budgets:
            for recipe in options.recipes:
                rows = [
                    r for r in bench.rows if (r.mode, r.budget, r.recipe) == (mode, budget, recipe)
                ]
                if not rows:
                    continue
                losses = [r.lost for r in rows if r.lost is not None]
                far = [r.lpips for r in rows if r.lpips is not None]
                lpips = f"  LPIPS {mean(far):.3f}" if far else ""
                lost = f"  true edit {mean(losses):5.2f} dB worse" if losses else ""
                print(
                    f"{mode:<8} {budget:4g}/255 {recipe:<26} SSIM {mean(r.ssim for r in rows):.3f}"
                    f"  PSNR {mean(r.psnr for r in rows):5.2f}{lpips}{lost}  "
                    f"{mean(r.seconds for r in rows):6.1f} s  n {len(rows)}"
                )


if __name__ == "__main__":
    main()
