"""The demo: two immunizations of the sample photo, and their effect on three edits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from photovax.adversary.edits import Adversary
from photovax.attack.optimise import Step
from photovax.attack.presets import DEFAULT, DIFFUSION, PRESETS
from photovax.evaluation.true_edits import lost
from photovax.immunized import Saved
from photovax.immunizer import Immunizer
from photovax.metrics.distortion import psnr, ssim
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.edit import Edit
from photovax.models.load import usual_edit
from photovax.pictures.atomic import as_save_error
from photovax.pictures.masks import load_mask
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE, SAMPLE_MASK
from photovax.pictures.strip import stacked, strip

__all__ = ["Demo", "EditFigures", "run_demo"]

VISIBILITY = "high"  # so that the effect on edits is visible in small pictures
SEED = 1
EDITS = (
    replace(usual_edit(DEFAULT_MODEL, "instruct"), prompt="paint it in sepia"),
    replace(usual_edit(DEFAULT_MODEL, "inpaint"), prompt="green leaves in the background"),
    replace(usual_edit(DEFAULT_MODEL, "img2img"), prompt="a photo at golden hour"),
)


@dataclass(frozen=True)
class EditFigures:
    """The distance between the edit of an immunized photo and the edit of the original.

    Attributes:
        edit: Settings of the edit.
        attack: ``encoder`` or ``diffusion``.
        psnr: PSNR between the two edits, in dB.
        ssim: SSIM between the two edits; None for pictures with a side below 11 pixels.
        lost: Loss of PSNR to the true edit, in dB; None except for ``instruct``.
    """

    edit: Edit
    attack: str
    psnr: float
    ssim: float | None
    lost: float | None


@dataclass(frozen=True)
class Demo:
    """Files and measurements of the demo.

    Attributes:
        saved: Immunized files: of the encoder attack, then of one diffusion attack per edit.
        figures: Figures of both attacks for every edit.
        strip: Path of the sheet of pictures.
        seconds: Duration in seconds, without the start of Python.
    """

    saved: list[Saved]
    figures: list[EditFigures]
    strip: Path
    seconds: float


def run_demo(
    folder: Path,
    *,
    device: str = "auto",
    callback: Callable[[Path, Step], None] | None = None,
) -> Demo:
    """Write immunized sample photos and a sheet of pictures into a folder; replace older ones.

    Each row of the sheet shows one edit: original, immunized, edit of the original, and edits of
    the photo immunized by the encoder attack and by the diffusion attack.

    Args:
        folder: Folder to write to; it is created if needed.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        callback: Function that is called with the file and each step.

    Raises:
        SaveError: If the folder cannot be made or written.
    """
    began = time.perf_counter()
    with as_save_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    immunizer = Immunizer(device=device)
    adversary = Adversary(device=device)
    original = read_photo(SAMPLE)
    kept = load_mask(SAMPLE_MASK, original)

    def immunized(name: str, recipe: str, edit: Edit | None = None) -> Saved:
        chosen = PRESETS[recipe].with_visibility(VISIBILITY)
        masked = edit is not None and edit.mode == "inpaint"
        path = folder / f"{name}.png"
        result = immunizer.immunize(
            original,
            chosen if edit is None else chosen.with_mode(edit.mode),
            mask=kept if masked else None,
            callback=callback and (lambda step: callback(path, step)),
        )
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        return immunizer.save(result, path, overwrite=True)

    def edited(pixels: np.ndarray, edit: Edit) -> np.ndarray:
        return adversary.edit(pixels, edit, seed=SEED, repaint=~kept)

    encoder = immunized("sample.encoder", DEFAULT)
    saved, figures, rows = [encoder], [], []
    for edit in EDITS:
        diffusion = immunized(f"sample.diffusion-{edit.mode}", DIFFUSION, edit)
        saved.append(diffusion)
        clean = edited(original.pixels, edit)
        jod = encoder.seen.jod
        seen = f"PSNR {encoder.visible.psnr:.1f} dB" if jod is None else f"JOD {jod:.1f} of 10"
        shown = [("original", original.pixels)]
        named = f"immunized ({DEFAULT}, {VISIBILITY})\n{seen}"
        shown.append((named, read_photo(encoder.path).pixels))
        shown.append((f'{edit.mode}: "{edit.prompt}"\nedit of the original', clean))
        for attack, result in (("encoder", encoder), ("diffusion", diffusion)):
            made = edited(read_photo(result.path).pixels, edit)
            found = _figures(edit, attack, original.pixels, clean, made)
            figures.append(found)
            told = "" if found.lost is None else f"\n{found.lost:.1f} dB further from the true edit"
            shown.append((f"edit of the immunized\n({attack} attack){told}", made))
        rows.append(strip(shown, side=256))
    path = folder / "demo.png"
    with as_save_error(path):
        stacked(rows).save(path)
    return Demo(saved, figures, path, time.perf_counter() - began)


def _figures(
    edit: Edit, attack: str, original: np.ndarray, clean: np.ndarray, made: np.ndarray
) -> EditFigures:
    further = lost(edit.prompt, original, clean, made) if edit.mode == "instruct" else None
    return EditFigures(edit, attack, psnr(clean, made), ssim(clean, made), further)
