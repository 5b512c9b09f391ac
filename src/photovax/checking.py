"""Is this photo immunized, and how strongly? Measured on the file, beside the noise floor."""

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
    """What a check says.

    PASS: every model's latent moves by 0.30 of its standard deviation or more, and five times
    as far as under random noise of the same size. WEAK: at least twice as far as under noise.
    FAIL: the change does hardly more than noise would.

    What edits lose at such shifts is in docs/checks.md.
    """

    PASS = "PASS"  # noqa: S105 - a verdict, not a secret
    WEAK = "WEAK"
    FAIL = "FAIL"

    @property
    def exit_code(self) -> int:
        """0, 10 or 11: apart from the codes of errors."""
        return {"PASS": 0, "WEAK": 10, "FAIL": 11}[self.value]


@dataclass(frozen=True)
class ModelCheck:
    """The effect on one model, and that of random noise of the same largest change."""

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
    """What was measured.

    Attributes:
        visible: How far the two are apart.
        seen: How visible that is.
        models: The effect on each model.
    """

    visible: Visibility
    seen: VisibleDifference
    models: dict[str, ModelCheck]

    @property
    def verdict(self) -> Verdict:
        """The verdict of the model that the photo is least immunized against."""
        return weakest(self.models)


def weakest(models: Mapping[str, ModelCheck]) -> Verdict:
    """The verdict of the model that a photo is least immunized against."""
    order = (Verdict.FAIL, Verdict.WEAK, Verdict.PASS)
    return min((found.verdict for found in models.values()), key=order.index)


def check(
    photo: Photo,
    original: Photo,
    *,
    models: Sequence[str] = (DEFAULT_MODEL,),
    weights: Path | None = None,
    size: int | None = None,
    device: str = "auto",
) -> Check:
    """Measure a photo against its original.

    Args:
        photo: The immunized photo.
        original: What it was before.
        models: Catalogue names or folders.
        weights: Where to look for weights that do not ship with photovax.
        size: Short side at which models are fed the photo; each model's own when None.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Raises:
        UsageError: If their sizes differ, one is grey and the other is not, ``size`` is not a
            multiple of 8 from 64 up, or two models have one folder name.
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
    """
    place = pick_device(device)
    names = each_once(models)
    if not names:
        raise UsageError("a check needs at least one model")
    loaded = {name: load_autoencoder(name, device=place, weights=weights) for name in names}
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
    """As ``check``, on models that are loaded already, by catalogue name or folder.

    How visible the change is need not be measured again where it is known.
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
    """The effect on each model by its name, without how visible the change is.

    Args:
        before: The original, uint8 (H, W, C).
        after: The immunized photo, of the same shape.
        models: By catalogue name or folder.
        largest: Largest change of any channel, in 8-bit levels.
        device: Where the models are.
        size: Short side at which models are fed the photo; each model's own when None.
    """
    return {
        model.name: _check_model(model, before, after, largest, device, fed_size(name, size))
        for name, model in models.items()
    }


def noisy(pixels: np.ndarray, level: int, seed: int) -> np.ndarray:
    """Pixels with uniform random noise of whole levels in [-level, level]: the floor."""
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
