"""How strongly a photo is immunized, measured on its pixels and compared with random noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch

from photovax.errors import UsageError
from photovax.machine.device import pick_device
from photovax.metrics.distortion import Visibility, visibility
from photovax.metrics.latent import LatentEffect, latent_effect
from photovax.metrics.visibility import VisibleDifference, visible_difference
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.fits import check_used
from photovax.models.catalog.places import each_once, fed_size
from photovax.models.contracts import Autoencoder
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import Photo

__all__ = [
    "Check",
    "ModelCheck",
    "Verdict",
    "check",
    "check_loaded",
    "check_models",
    "noisy",
    "weakest",
]

FLOOR_SEEDS = (0, 1, 2)
PASS_SHIFT = 0.30
PASS_RATIO = 5.0
WEAK_RATIO = 2.0


class Verdict(StrEnum):
    """The verdict of a check.

    PASS: the latent of every model moves by 0.30 of its standard deviation or more, and at least
    five times as far as under random noise of the same size. WEAK: it moves at least twice as far
    as under noise. FAIL: it moves less.

    docs/checks.md gives the measurements behind these thresholds.
    """

    PASS = "PASS"  # noqa: S105 - a verdict, not a secret
    WEAK = "WEAK"
    FAIL = "FAIL"

    @property
    def exit_code(self) -> int:
        """0, 10 or 11, which no error uses."""
        return {"PASS": 0, "WEAK": 10, "FAIL": 11}[self.value]


@dataclass(frozen=True)
class ModelCheck:
    """The effect on one model, and that of random noise with the same largest change.

    Attributes:
        effect: Effect of the immunization.
        floor: Mean effect of random noise over three seeds.
    """

    effect: LatentEffect
    floor: LatentEffect

    @property
    def verdict(self) -> Verdict:
        """The verdict for this model alone."""
        shift, floor = self.effect.shift, self.floor.shift
        if shift == 0 or shift < WEAK_RATIO * floor:
            return Verdict.FAIL
        if shift < PASS_SHIFT or shift < PASS_RATIO * floor:
            return Verdict.WEAK
        return Verdict.PASS


@dataclass(frozen=True)
class Check:
    """The measurements of a check.

    Attributes:
        visible: Distortion of the photo: norms, PSNR and SSIM.
        seen: Visibility of the change to people.
        models: Effect on each model, by its name.
    """

    visible: Visibility
    seen: VisibleDifference
    models: dict[str, ModelCheck]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all models."""
        return weakest(self.models)


def weakest(models: Mapping[str, ModelCheck]) -> Verdict:
    """The worst verdict of some models."""
    order = (Verdict.FAIL, Verdict.WEAK, Verdict.PASS)
    return min((found.verdict for found in models.values()), key=order.index)


def check(
    photo: Photo,
    original: Photo,
    *,
    models: Sequence[str] | str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    size: int | None = None,
    device: str = "auto",
) -> Check:
    """Measure a photo against its original.

    Args:
        photo: The immunized photo.
        original: The photo before it was immunized.
        models: Catalogue names or folders of the models; a string is one model.
        weights: Folder of weights that do not ship with photovax.
        size: Short side in pixels at which models are fed photos; each model's own when None.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Raises:
        UsageError: If the photos differ in size or only one is grey, ``size`` is not a multiple of
            8 from 64 up, two models have one folder name, or no model is given.
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
    """
    place = pick_device(device)
    names = each_once(models)
    if not names:
        raise UsageError("a check needs at least one model")
    folder = None if weights is None else Path(weights)
    check_used(names, folder)
    loaded = {name: load_autoencoder(name, device=place, weights=folder) for name in names}
    return check_loaded(photo, original, loaded, device=place, size=size)


def check_loaded(
    photo: Photo,
    original: Photo,
    models: Mapping[str, Autoencoder],
    *,
    device: torch.device,
    size: int | None = None,
    known: VisibleDifference | None = None,
) -> Check:
    """``check`` with loaded models, by catalogue name or folder.

    ``known`` is the visibility of the change, where it was measured before.
    """
    before, after = original.visible(), photo.visible()
    visible = visibility(before, after)
    found = check_models(before, after, models, largest=visible.linf, device=device, size=size)
    return Check(visible, known or visible_difference(before, after), found)


def check_models(
    before: np.ndarray,
    after: np.ndarray,
    models: Mapping[str, Autoencoder],
    *,
    largest: int,
    device: torch.device,
    size: int | None = None,
) -> dict[str, ModelCheck]:
    """Measure the effect on each model, without the visibility of the change.

    Args:
        before: The original, uint8 (H, W, C).
        after: The immunized photo, of the same shape.
        models: Loaded models by catalogue name or folder.
        largest: Largest change of any channel, in 8-bit levels.
        device: Device of the models.
        size: Short side in pixels at which models are fed photos; each model's own when None.
    """
    return {
        model.name: _check_model(model, before, after, largest, device, fed_size(name, size))
        for name, model in models.items()
    }


def noisy(pixels: np.ndarray, level: int, seed: int) -> np.ndarray:
    """uint8 pixels with uniform random noise of whole levels in [-level, level], clipped."""
    random = np.random.default_rng(seed)
    noise = random.integers(-level, level, pixels.shape, dtype=np.int16, endpoint=True)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _check_model(
    model: Autoencoder,
    before: np.ndarray,
    after: np.ndarray,
    largest: int,
    device: torch.device,
    size: int,
) -> ModelCheck:
    floors = [
        latent_effect(model, before, noisy(before, largest, seed), device, size=size)
        for seed in FLOOR_SEEDS
    ]
    damages = [found.damage for found in floors if found.damage is not None]
    floor = LatentEffect(
        size=size,
        shift=float(np.mean([found.shift for found in floors])),
        damage=float(np.mean(damages)) if damages else None,
    )
    return ModelCheck(latent_effect(model, before, after, device, size=size), floor)
