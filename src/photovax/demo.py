"""The demo: immunize the sample photo, and show what its model makes of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from photovax.immunize import Immunizer, Saved
from photovax.metrics.latent import tensor
from photovax.optimise import Step
from photovax.photo import read_photo
from photovax.recipe import DEFAULT, PRESETS
from photovax.strip import strip
from photovax.views import ShortSide

__all__ = ["SAMPLE", "Demo", "run_demo"]

SAMPLE = Path(__file__).parent / "data" / "sample.jpg"
BUDGET = 16 / 255


@dataclass(frozen=True)
class Demo:
    """What the demo wrote and measured."""

    saved: Saved
    strip: Path
    seconds: float


def run_demo(
    folder: Path, *, device: str = "auto", callback: Callable[[Step], None] | None = None
) -> Demo:
    """Write the immunized sample photo and a picture strip into a folder, replacing older ones.

    The strip shows original, immunized, and the embedded autoencoder's picture of each: what an
    editor that uses it starts from.
    """
    folder.mkdir(parents=True, exist_ok=True)
    immunizer = Immunizer(device=device)
    original = read_photo(SAMPLE)
    recipe = PRESETS[DEFAULT].with_radius(BUDGET)
    result = immunizer.immunize(original, recipe, callback=callback)
    saved = immunizer.save(result, folder / "sample.immunized.png", overwrite=True)
    reopened = read_photo(saved.path)
    (model,) = immunizer.models
    (effect,) = saved.effects.values()

    def seen_by_model(pixels: np.ndarray) -> np.ndarray:
        generator = torch.Generator(immunizer.device).manual_seed(0)
        with torch.no_grad():
            seen = ShortSide(model.size)(tensor(pixels, immunizer.device), generator)
            decoded = model.decode(model.encode(seen))
        levels = decoded[0].mul(255).round().byte().permute(1, 2, 0)
        return levels.cpu().numpy()

    sheet = strip(
        [
            ("original", original.visible()),
            (
                f"immunized: {saved.visible.linf} of 255 levels\nPSNR {saved.visible.psnr:.1f} dB",
                reopened.visible(),
            ),
            ("the model's view of the original", seen_by_model(original.visible())),
            (
                f"the model's view of the immunized\nlatent shift {effect.shift:.2f}, "
                f"{effect.damage:.1f} dB worse",
                seen_by_model(reopened.visible()),
            ),
        ]
    )
    path = folder / "demo.png"
    sheet.save(path)
    return Demo(saved, path, result.seconds)
