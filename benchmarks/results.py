"""The figures of docs/results.md and docs/paper.md.

    python -m benchmarks.results OUT --photos FOLDER --weights FOLDER

Each experiment is a plan like those of ``photovax evaluate``; all keep what is done in ``OUT``, so
that they share photos and edits, an interrupted run goes on, and several processes with
``--shard`` help each other. Without ``--shard`` the report of each experiment is written to
``OUT/NAME``, and its tables are printed as Markdown. In all it takes hours.

Edits are the embedded editor's, which is also what is attacked, but for ``another-editor``. For all
experiments ``--editor`` names another one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from photovax.adversary.purify import PURIFICATIONS
from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import DEFAULT, INSTANT, LINF, MAX, ROBUST
from photovax.evaluation.following import FOLLOWING
from photovax.evaluation.plan import NONE, Plan, find_photos, load_edits, variants
from photovax.evaluation.plots import displacement_plot, survival_plot
from photovax.evaluation.report import interval_text, markdown_table, share_text, write_report
from photovax.evaluation.results import Results
from photovax.evaluation.run import Evaluation
from photovax.evaluation.survival import Remains
from photovax.evaluation.tables import ALL, Tables, tables
from photovax.metrics.contracts import load_metrics
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.pictures.photo import read_photo
from photovax.pictures.strip import stacked, strip

METRICS = ("psnr", "ssim", "ms_ssim", "vifp", "fsim", "lpips", "lite0")
FEW_METRICS = ("psnr", "ssim", "lpips", "lite0")  # the others take longer than an edit
SEEN = (*FEW_METRICS, "jod", "flip")
LEADING = "lpips"
RECIPES = Path(__file__).parent / "recipes"
ENCODER = ("photoguard-demo", LINF)
THROUGH = str(RECIPES / "fast-diffusion-linf.toml")
OTHERS = (
    "photoguard-img2img",
    "photoguard-inpaint",
    "advdm",
    "sds",
    "mist",
    "promptflare",
    "advpaint",
    "pid",
    "diffusionguard",
)
LATENTS = str(RECIPES / "latent-drift.toml")
PUBLISHED = tuple(
    str(RECIPES / f"photoguard-diffusion-{norm}-one-draw.toml") for norm in ("linf", "l2")
)
ONE_EACH = ("instruct: looks", "inpaint: colours", "img2img: looks")
ON_THE_WAY = ("whatsapp", "instagram", "screenshot", "whatsapp-instagram-screenshot")
# On their way to an adversary; photos of several megapixels, in a folder of their own.
LARGE = "large"
DENOISERS = tuple(name for name, part in PURIFICATIONS.items() if part.name == "denoiser")
# The worst of these counts, together with the denoisers.
TEN = (
    *("jpeg75", "webp80", "resize50", "cropresize", "rotate2"),
    *("blur", "median", "tv", "adversecleaner", *DENOISERS),
)
# Those that were the worst for a recipe of the ones that survive best, and what a platform does.
WORST = (
    *("jpeg75", "cropresize", "rotate2", "denoiser-perceptual", "denoiser-opposed"),
    ON_THE_WAY[-1],
)
# IMPRESS takes minutes a photo.
PURIFIERS = tuple(name for name in PURIFICATIONS if name not in (NONE, "impress"))


@dataclass(frozen=True)
class Experiment:
    """One plan, and the photos it is for.

    Attributes:
        recipes: Presets and recipe files.
        levels: Largest change in 8-bit levels, where a recipe bounds that.
        photos: How many.
        every: Which: in the order of their names every so many, from the first on.
        edits: Which of the six usual requests, by name; all when empty.
        mode: Only requests for this way of editing.
        purifications: Beside none.
        seeds: Of each edit.
        metrics: Between two edits.
        visibilities: How much may be seen, where a recipe bounds that.
        editor: What is attacked, and edits.
    """

    recipes: tuple[str, ...]
    levels: tuple[float, ...]
    photos: int
    every: int = 5
    edits: tuple[str, ...] = ()
    mode: str | None = None
    purifications: tuple[str, ...] = ()
    seeds: int = 1
    metrics: tuple[str, ...] = METRICS
    visibilities: tuple[str, ...] = ()
    editor: str = DEFAULT_MODEL

    def plan(self) -> Plan:
        """What to do."""
        kept = [
            one for one in load_edits(None, self.editor) if not self.edits or one.name in self.edits
        ]
        return Plan(
            variants(self.recipes, self.levels, self.visibilities),
            tuple(one for one in kept if self.mode in (None, one.edit.mode)),
            (NONE, *self.purifications),
            seeds=self.seeds,
            metrics=self.metrics,
            models=(self.editor,),
            editor=self.editor,
        )

    def of(self, photos: Sequence[Path]) -> Sequence[Path]:
        """Its photos among all."""
        return photos[:: self.every][: self.photos]


THREE_SEEDS = Experiment(ENCODER, (16,), 20, every=3, edits=ONE_EACH, seeds=3, metrics=FEW_METRICS)
# The default recipe, one pass, and one of a network with an opponent, beside what the default was
# before what is seen was bounded.
SEEN_OR_NOT = Experiment(
    (DEFAULT, INSTANT, ROBUST, LINF),
    (8,),
    60,
    every=1,
    edits=(ONE_EACH[0], ONE_EACH[2]),
    metrics=SEEN,
)
WORST_OF_ALL = replace(
    SEEN_OR_NOT,
    recipes=(ROBUST, MAX, LINF),
    edits=ONE_EACH[:1],
    purifications=WORST,
    metrics=("psnr", LEADING, "jod", "flip"),
)
# Each at the budget that was published for it. Some take many minutes a photo, and a file for each
# way of editing.
ALL_RECIPES = Experiment(
    (DEFAULT, INSTANT, ROBUST, MAX, "fast-diffusion", LINF, ENCODER[0], *OTHERS),
    (),
    6,
    every=8,
    edits=ONE_EACH[:1],
    metrics=SEEN,
)
EXPERIMENTS = {
    "three-seeds": THREE_SEEDS,
    "three-seeds-through-the-edit": replace(
        THREE_SEEDS, recipes=(*ENCODER, THROUGH), mode="instruct"
    ),
    "seen": SEEN_OR_NOT,
    "seen-and-purified": replace(
        SEEN_OR_NOT,
        photos=20,
        every=3,
        purifications=("jpeg75", "resize50", *DENOISERS),
    ),
    # What goes for what is decoded beside what goes for latents.
    "decoded": replace(
        SEEN_OR_NOT,
        recipes=(DEFAULT, INSTANT, LATENTS),
        photos=20,
        every=3,
        purifications=("jpeg75", "resize50"),
    ),
    "worst-of-ten": replace(
        SEEN_OR_NOT,
        recipes=(DEFAULT, ROBUST, MAX, LINF),
        photos=10,
        every=6,
        edits=ONE_EACH[:1],
        purifications=TEN,
    ),
    "worst-on-all-photos": WORST_OF_ALL,
    # What is left of a recipe, against what is seen of it.
    "worst-frontier": replace(
        WORST_OF_ALL,
        recipes=(DEFAULT, ROBUST, LINF),
        levels=(4, 8),
        visibilities=tuple(VISIBILITY),
        photos=10,
        every=6,
    ),
    "frontier": replace(
        SEEN_OR_NOT,
        recipes=(DEFAULT, LINF),
        levels=(4, 8),
        visibilities=tuple(VISIBILITY),
        photos=10,
        every=6,
        edits=ONE_EACH[:1],
    ),
    # 800 steps through the editor take minutes a photo.
    "frontier-of-others": Experiment(
        (ENCODER[0], "sds", "diffusionguard"),
        (4, 8),
        3,
        every=24,
        edits=ONE_EACH[:1],
        metrics=SEEN,
    ),
    LARGE: replace(
        SEEN_OR_NOT,
        photos=4,
        edits=ONE_EACH[:1],
        purifications=("jpeg75", "resize50", "resize512", "cropresize", *ON_THE_WAY, "denoiser"),
    ),
    "all-photos": Experiment(ENCODER, (16,), 60, every=1),
    "through-the-edit": Experiment((*ENCODER, THROUGH), (16,), 6),
    "purified": Experiment(ENCODER, (16,), 3, edits=ONE_EACH, purifications=PURIFIERS),
    "all-recipes": ALL_RECIPES,
    # Recipes that need no network: one for another autoencoder has to be trained first.
    "another-editor": replace(
        ALL_RECIPES,
        recipes=(DEFAULT, LATENTS, MAX, "fast-diffusion", LINF),
        purifications=("jpeg75", "resize50", "denoiser-perceptual"),
        editor="bench-flux2",
    ),
    "all-recipes-inpainting": replace(ALL_RECIPES, edits=ONE_EACH[1:2]),
    "half-the-budget": replace(THREE_SEEDS, levels=(8,)),
    "half-the-budget-through-the-edit": replace(
        THREE_SEEDS, recipes=(THROUGH,), levels=(8,), mode="instruct"
    ),
    "published-through-the-edit": Experiment((*ENCODER, *PUBLISHED), (16,), 1, mode="inpaint"),
}


def main() -> None:
    """Do what is not done yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos and masks")
    parser.add_argument(
        "--weights", type=Path, help="folder with lpips-alex.safetensors, and of other models"
    )
    parser.add_argument("--editor", help="name or folder of an editor")
    parser.add_argument(
        "--only", nargs="+", choices=EXPERIMENTS, help=f"all but {LARGE} if not given"
    )
    parser.add_argument("--shard", default="1/1", help="I/N: every N-th photo, without tables")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    index, count = (int(part) for part in options.shard.split("/"))
    photos = find_photos([options.photos])
    _, missing = load_metrics((LEADING,), weights=options.weights)
    if missing:  # it heads the tables, which are made after hours
        parser.error(missing[LEADING].line)
    for name in options.only or [each for each in EXPERIMENTS if each != LARGE]:
        experiment = EXPERIMENTS[name]
        if options.editor is not None:
            experiment = replace(experiment, editor=options.editor)
        evaluation = Evaluation(experiment.plan(), options.out, weights=options.weights)
        own = experiment.of(photos)
        evaluation.run(own[index - 1 :: count])
        if count > 1:
            continue
        folder = options.out / name
        results = evaluation.results(own)
        write_report(results, folder, device=evaluation.device)
        found = tables(results, metric=LEADING)
        print(f"\n## {name}: {len(own)} photos, {experiment.seeds} seeds\n", flush=True)
        print("\n".join(markdown_table(rows) for rows in sheets(found)), flush=True)
        save_pictures(results, found, folder)


def sheets(found: Tables) -> list[list[list[str]]]:
    """The tables of an experiment, each a head and its lines; none that is empty."""
    made = [_displacement(found), _following(found), _visible(found), _sets(found)]
    made += [_survival(left) for left in found.remains]
    return [rows for rows in made if len(rows) > 1]


def _displacement(found: Tables) -> list[list[str]]:
    cells = {(row.label, row.mode, row.metric): row for row in found.displacement}
    measured = {metric for _, _, metric in cells}
    heads = {"ssim": "SSIM", "psnr": "PSNR", "vifp": "VIFp", "fsim": "FSIMc", LEADING: "LPIPS"}
    shown = [name for name in heads if name in measured]
    rows = [["recipe", "edits", *(heads[name] for name in shown), "LPIPS beyond noise"]]
    for label, mode in dict.fromkeys((row.label, row.mode) for row in found.displacement):
        if mode != ALL:
            means = [cells[label, mode, name].value.mean for name in shown]
            beyond = cells[label, mode, LEADING].above
            rows.append([label, mode, *(f"{mean:.3g}" for mean in means), interval_text(beyond)])
    return rows


def _following(found: Tables) -> list[list[str]]:
    rows = [["recipe", "edits", "score", "original", "immunized", "lost beyond noise"]]
    for row in found.following:
        means = (f"{value.mean:.3g}" for value in (row.wanted, row.value))
        rows.append([row.label, row.mode, row.score, *means, interval_text(row.above)])
    return rows


def _visible(found: Tables) -> list[list[str]]:
    heads = {"jod": "JOD", "flip": "FLIP", "psnr": "PSNR", "ssim": "SSIM", LEADING: "LPIPS"}
    measured = {name for row in found.visible for name in row.metrics}
    shown = [name for name in heads if name in measured]
    names = [heads[name] for name in shown]
    rows = [["recipe", "made for", "levels", *names, "latent shift", "seconds"]]
    for row in found.visible:
        means = [f"{row.metrics[name].mean:.3g}" for name in shown]
        figures = [row.figures.get(name) for name in ("linf", "shift", "seconds")]
        largest, shift, seconds = ("" if value is None else f"{value:.3g}" for value in figures)
        made_for = "all" if len(row.modes) > 1 else row.modes[0]
        rows.append([row.label, made_for, largest, *means, shift, seconds])
    return rows


def _sets(found: Tables) -> list[list[str]]:
    rows = [["recipe", "edits", "FID-like", "KID-like", "precision", "recall"]]
    for row in found.sets:
        frechet = "" if row.frechet is None else f"{row.frechet:.3g}"
        kernel = f"{row.kernel[0]:.3f} ± {row.kernel[1]:.3f}"
        rows.append(
            [row.label, str(row.n), frechet, kernel, f"{row.precision:.2f}", f"{row.recall:.2f}"]
        )
    return rows


def _survival(left: Remains) -> list[list[str]]:
    labels = list(dict.fromkeys(row.label for row in left.survival))
    cells = {(row.label, row.purification): row for row in left.survival}
    measure = f"lost of {left.measure}" if left.measure in FOLLOWING else left.measure
    head = ["purification"]
    for label in labels:
        head += [f"{label}: {measure} beyond noise", "share"]
    rows, worst = [head], ["the worst for each photo"]
    for name in dict.fromkeys(row.purification for row in left.survival):
        line = [name]
        for label in labels:
            row = cells[label, name]
            line += [interval_text(row.above), share_text(row.share)]
        rows.append(line)
    for label in labels:
        worst += [interval_text(left.worst[label]), ""]
    return [*rows, worst]


def save_pictures(results: Results, found: Tables, folder: Path) -> None:
    """Plots as SVG, and for each way of editing a strip of a photo in the middle of the order."""
    beyond = [r for r in found.displacement if r.metric == LEADING and r.above is not None]
    (folder / "displacement.svg").write_text(displacement_plot(beyond, "LPIPS"))
    for left in found.remains:
        name = "survival" if left.measure == LEADING else f"survival-{left.measure}"
        (folder / f"{name}.svg").write_text(survival_plot(left.survival, left.measure))
    strips: list[Image.Image] = []
    label = results.plan.variants[-1].label
    for mode in results.plan.modes:
        cases = [c for c in results.cases if c.label == label and c.asked.edit.mode == mode]
        cases = [c for c in cases if c.picture is not None and c.purification == NONE]
        cases.sort(key=lambda case: case.between[LEADING] or 0.0)
        case = cases[len(cases) // 2]
        (file,) = (
            one
            for one in results.protected
            if (one.photo, one.label) == (case.photo, label) and mode in one.modes
        )
        assert case.picture is not None
        pictures: list[tuple[str, np.ndarray]] = [
            ("original", read_photo(file.original).visible_rgb()),
            (f"immunized, {label}", read_photo(file.file).visible_rgb()),
            (f"edit of the original:\n{case.prompt}", read_photo(case.clean_picture).visible_rgb()),
            ("edit of the immunized", read_photo(case.picture).visible_rgb()),
        ]
        strips.append(strip(pictures, side=256))
    stacked(strips).save(folder / "rows.jpg", quality=88)


if __name__ == "__main__":
    main()
