"""What common treatments leave of an immunization, measured on one photo.

The photo, its original, and the original with noise as large as the change go through the same
treatment: what is judged is the difference that is left between the first two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from photovax.adversary.purify import Purifier, load_purifier
from photovax.checks.verdicts import FLOOR_SEEDS, Fed, ModelCheck, Verdict, judge, weakest
from photovax.errors import PhotovaxError, first_line
from photovax.pictures.chains import CHAINS

__all__ = ["TREATMENTS", "Left", "Survival", "survival_of"]

TREATMENTS: Mapping[str, str] = {
    "jpeg75": "JPEG at quality 75",
    "webp80": "WebP at quality 80",
    "resize50": "halving the size",
    "cropresize": "cropping a tenth",
    "rotate2": "turning by 2 degrees",
    "noise": "adding noise",
    "blur": "a slight blur",
    "median": "a median filter",
    "screenshot": "a screenshot of a page",
    **{name: chain.label for name, chain in CHAINS.items()},
    "tv": "smoothing (total variation)",
    "adversecleaner": "AdverseCleaner",
    "denoiser": "a network made against fast-linf",
    "denoiser-perceptual": "a network made against the default",
    "denoiser-opposed": "a network made against robust",
    "autoencoder": "a pass through an autoencoder",
}
"""Treatments that are measured, keys of ``PURIFICATIONS``, and what they are in words."""

SLOW = frozenset(
    {name for name in TREATMENTS if name.startswith("denoiser")}
    | {"tv", "adversecleaner", "autoencoder"}
)
"""Treatments that take minutes and gigabytes on the photo of a camera."""

SLOW_PIXELS = 500_000
"""Largest number of pixels, width x height, for which slow treatments are measured."""

WORDS = {Verdict.PASS: "holds", Verdict.WEAK: "weak", Verdict.FAIL: "lost"}
"""What verdicts say of the effect that is left, the best first."""


@dataclass(frozen=True)
class Left:
    """What one treatment leaves.

    Attributes:
        name: Name of the treatment, a key of ``TREATMENTS``.
        share: Shift of the latent that is left, as a share of that before the treatment; the least
            of all models. It can be above 1.
        models: Effect on each model after the treatment, by its name, without reconstructions.
    """

    name: str
    share: float
    models: dict[str, ModelCheck]

    @property
    def label(self) -> str:
        """The treatment in words."""
        return TREATMENTS[self.name]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all models."""
        return weakest(self.models)

    def figures(self) -> dict[str, Any]:
        """All figures for JSON."""
        return {
            "name": self.name,
            "label": self.label,
            "verdict": self.verdict.value,
            "left": WORDS[self.verdict],
            "share": round(self.share, 4),
            "models": {
                name: {
                    "shift": each.effect.shift,
                    "noise": each.floor.shift,
                    "verdict": each.verdict.value,
                }
                for name, each in self.models.items()
            },
        }


@dataclass(frozen=True)
class Survival:
    """What is left after each treatment.

    Attributes:
        left: Results, the worst first.
        left_out: Reasons for treatments that were not measured, by name.
    """

    left: tuple[Left, ...]
    left_out: dict[str, str]

    def figures(self) -> dict[str, Any]:
        """All figures for JSON."""
        return {
            "after": [each.figures() for each in self.left],
            "left_out": {TREATMENTS[name]: why for name, why in self.left_out.items()},
        }


def survival_of(
    before: np.ndarray,
    after: np.ndarray,
    spoilt: Callable[[int], np.ndarray],
    models: Sequence[Fed],
    fresh: Mapping[str, float],
    device: torch.device,
    *,
    roomy: bool = True,
) -> Survival:
    """Measure what each of ``TREATMENTS`` leaves of a change.

    Args:
        before: The picture without the change, uint8 (H, W, 1 or 3).
        after: The changed picture, of the same shape.
        spoilt: Function of a seed that returns the picture with noise of the same size instead.
        models: Loaded models, and the sizes at which they are fed photos.
        fresh: Shift of each model's latent without a treatment, by the name of the model.
        device: Device of the models, and of treatments that run one.
        roomy: Whether memory is not limited; if it is, slow treatments are left out.
    """
    large = before.shape[0] * before.shape[1] > SLOW_PIXELS
    pictures = [_coloured(each) for each in (before, after, spoilt(FLOOR_SEEDS[0]))]
    left: list[Left] = []
    left_out: dict[str, str] = {}
    for name in TREATMENTS:
        if name in SLOW and (large or not roomy):
            why = f"takes minutes above {SLOW_PIXELS / 1e6:g} megapixels"
            left_out[name] = why if roomy else "may need more memory than the limit"
            continue
        try:
            purify = load_purifier(name, device=str(device))
            left.append(_after(name, purify, pictures, models, fresh, device))
        except PhotovaxError as error:  # a package is missing
            left_out[name] = error.line
        except Exception as error:  # noqa: BLE001 - of any library: the others are measured
            left_out[name] = f"failed: {first_line(error)}"
    order = tuple(WORDS)[::-1]
    left.sort(key=lambda each: (order.index(each.verdict), each.share))
    return Survival(tuple(left), left_out)


def _after(
    name: str,
    purify: Purifier,
    pictures: Sequence[np.ndarray],
    models: Sequence[Fed],
    fresh: Mapping[str, float],
    device: torch.device,
) -> Left:
    """What one treatment leaves of the change between the first two of three pictures."""
    before, after, noise = (purify(each, 0) for each in pictures)
    found = judge(models, before, after, lambda _: noise, device, seeds=(0,), decoded=0)
    shares = [
        each.effect.shift / fresh[model] if fresh[model] > 0 else 0.0
        for model, each in found.items()
    ]
    return Left(name, min(shares), found)


def _coloured(pixels: np.ndarray) -> np.ndarray:
    """The picture in three channels, as editors open grey ones."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
