"""How strongly a photo is immunized, measured on its pixels and compared with random noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from photovax.checks.noise import noise_after, with_noise
from photovax.checks.survival import Survival, survival_of
from photovax.checks.verdicts import Fed, ModelCheck, Verdict, judge, weakest
from photovax.errors import UsageError
from photovax.machine.device import pick_device
from photovax.metrics.distortion import Visibility, visibility
from photovax.metrics.latent import LatentEffect, latent_effect
from photovax.metrics.profiles import conversion
from photovax.metrics.served import Step, find_step, step_in_place
from photovax.metrics.tones import find_tone
from photovax.metrics.visibility import VisibleDifference, visible_difference
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.catalog.fits import check_used
from photovax.models.catalog.places import each_once, fed_size
from photovax.models.contracts import Autoencoder
from photovax.models.load import load_autoencoder
from photovax.pictures.compression import Kind
from photovax.pictures.photo import Photo

__all__ = [
    "Check",
    "check",
    "check_loaded",
    "check_saved",
    "saved_effects",
    "saved_survival",
]

# Formats whose files do not tell how they were compressed.
_UNTOLD: dict[str, Kind] = {"WEBP": "WEBP", "AVIF": "AVIF", "HEIF": "HEIF"}


@dataclass(frozen=True)
class Check:
    """The measurements of a check.

    Attributes:
        visible: Distortion of the photo: norms, PSNR and SSIM.
        seen: Visibility of the change to people.
        models: Effect on each model, by its name.
        step: What was done to the copy before it was served, and in the comparison to the original
            and to noise, too; None where nothing was.
        filtered: Whether most of what differed was a change of all colours, as by a filter. It is
            part of the step.
        survival: What common treatments leave of the effect; None if it was not asked for.
    """

    visible: Visibility
    seen: VisibleDifference
    models: dict[str, ModelCheck]
    step: Step | None = None
    filtered: bool = False
    survival: Survival | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all models."""
        return weakest(self.models)

    @property
    def meaning(self) -> str:
        """What the verdict means for edits, in words."""
        if self.visible.linf == 0:
            return "no change was found: this is the original, or none of its immunization is left"
        return self.verdict.meaning


def check(
    photo: Photo,
    original: Photo,
    *,
    models: Sequence[str] | str = DEFAULT_MODEL,
    weights: str | Path | None = None,
    size: int | None = None,
    survival: bool = False,
    device: str = "auto",
) -> Check:
    """Measure a photo, or a copy of it that a platform serves, against its original.

    A copy may be resized, cropped, filtered and recompressed. The same is then done to the
    original, so that only the immunization makes a difference.

    Args:
        photo: The immunized photo or the copy.
        original: The photo before it was immunized.
        models: Catalogue names or folders of the models; a string is one model.
        weights: Folder of weights that do not ship with photovax.
        size: Short side in pixels at which models are fed photos; each model's own when None.
        survival: Whether to measure what common treatments leave of the effect, too.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Raises:
        UsageError: If the copy shows another photo or is turned, only it is grey, ``size`` is not a
            multiple of 8 from 64 up, two models have one folder name, or no model is given.
        UnknownName: If a model is not known.
        ModelError: If its weights cannot be loaded.
        MetricUnavailable: If the copy was resized or cropped, and OpenCV is missing.
    """
    place = pick_device(device)
    names = each_once(models)
    if not names:
        raise UsageError("a check needs at least one model")
    folder = None if weights is None else Path(weights)
    check_used(names, folder)
    loaded = {name: load_autoencoder(name, device=place, weights=folder) for name in names}
    return check_copy(photo, original, loaded, device=place, size=size, survival=survival)


def check_copy(
    photo: Photo,
    original: Photo,
    models: Mapping[str, Autoencoder],
    *,
    device: torch.device,
    size: int | None = None,
    survival: bool = False,
) -> Check:
    """Measure a photo, or a copy of it that a platform serves, with loaded models.

    Args:
        photo: The immunized photo or the copy.
        original: The photo before it was immunized.
        models: Loaded models by catalogue name or folder.
        device: Device of the models.
        size: Short side in pixels at which models are fed photos; each model's own when None.
        survival: Whether to measure what common treatments leave of the effect, too.

    Raises:
        UsageError: If the copy shows another photo or is turned, or only it is grey.
        MetricUnavailable: If the copy was resized or cropped, and OpenCV is missing.
    """
    if photo.grey and not original.grey:
        raise UsageError("the copy is grey and the original in colour: they cannot be compared")
    # Platforms also save grey photos in three channels.
    whole = original.visible() if photo.grey else original.visible_rgb()
    after = photo.visible()
    colours = conversion(original.metadata.icc, photo.metadata.icc)
    kind = _UNTOLD.get(photo.format) if photo.compression is None else None
    step = find_step(after, whole, photo.compression, colours, kind=kind)
    before = step(whole)
    tone = find_tone(before, after)
    if tone is not None:
        step = replace(step, tone=tone)
        before = step(whole)
    visible = visibility(before, after)
    spoilt, fed = noise_after(step, whole, before, after), _fed(models, size)
    found = judge(fed, before, after, spoilt, device)
    left = None
    if survival:
        fresh = {name: each.effect.shift for name, each in found.items()}
        left = survival_of(before, after, spoilt, fed, fresh, device)
    seen = visible_difference(before, after)
    done = step if step.changes else None
    return Check(visible, seen, found, done, tone is not None, left)


def check_loaded(
    photo: Photo,
    original: Photo,
    models: Mapping[str, Autoencoder],
    *,
    device: torch.device,
    size: int | None = None,
    known: VisibleDifference | None = None,
) -> Check:
    """Measure a photo of the original's size with loaded models, by catalogue name or folder.

    The photo is compared as it is, whatever was done to it.

    Args:
        photo: The immunized photo.
        original: The photo before it was immunized.
        models: Loaded models by catalogue name or folder.
        device: Device of the models.
        size: Short side in pixels at which models are fed photos; each model's own when None.
        known: Visibility of the change, if it was measured before.

    Raises:
        UsageError: If the photos differ in size or only one is grey.
    """
    before, after = original.visible(), photo.visible()
    visible = visibility(before, after)
    spoilt = with_noise(before, visible.linf)
    found = judge(_fed(models, size), before, after, spoilt, device)
    return Check(visible, known or visible_difference(before, after), found)


def check_saved(
    photo: Photo,
    original: Photo,
    models: Mapping[str, Autoencoder],
    *,
    device: torch.device,
    size: int | None = None,
) -> dict[str, ModelCheck]:
    """What ``check`` says of a file with the original's size and place, but not how visible it is.

    Args:
        photo: The immunized photo as its file shows it.
        original: The original.
        models: Loaded models by catalogue name or folder.
        device: Device of the models.
        size: Short side in pixels at which models are fed photos; each model's own when None.
    """
    _, before, after, spoilt = _in_place(photo, original)
    return judge(_fed(models, size), before, after, spoilt, device, decoded=0, decide=True)


def saved_effects(
    photo: Photo, original: Photo, models: Sequence[Fed], device: torch.device
) -> tuple[dict[str, LatentEffect], dict[str, ModelCheck]]:
    """The effect of a file with the original's size and place, and what ``check`` says of it.

    Pictures that both need are fed to each model once.

    Args:
        photo: The immunized photo as its file shows it.
        original: The original.
        models: Loaded models, and the sizes at which they are fed photos.
        device: Device of the models.

    Returns:
        Two dictionaries by the name of the model. The effects are those against the original
        itself, with the damage to reconstructions; a check compares with the original after the
        compression of the file.
    """
    step, before, after, spoilt = _in_place(photo, original)
    if not step.changes:
        found = judge(models, before, after, spoilt, device, decoded=1, decide=True)
        return {name: each.effect for name, each in found.items()}, found
    found = judge(models, before, after, spoilt, device, decoded=0, decide=True)
    whole = original.visible()
    effects = {
        model.name: latent_effect(model, whole, after, device, size=size) for model, size in models
    }
    return effects, found


def saved_survival(
    photo: Photo,
    original: Photo,
    models: Sequence[Fed],
    fresh: Mapping[str, float],
    device: torch.device,
    *,
    roomy: bool = True,
) -> Survival:
    """What common treatments leave of the effect of a file with the original's size and place.

    Args:
        photo: The immunized photo as its file shows it.
        original: The original.
        models: Loaded models, and the sizes at which they are fed photos.
        fresh: Shift of each model's latent without a treatment, by the name of the model.
        device: Device of the models.
        roomy: Whether memory is not limited; see ``survival_of``.
    """
    return survival_of(*_in_place(photo, original)[1:], models, fresh, device, roomy=roomy)


def _in_place(
    photo: Photo, original: Photo
) -> tuple[Step, np.ndarray, np.ndarray, Callable[[int], np.ndarray]]:
    """The step, the original after it, the photo, and noise of its size as a function of a seed."""
    whole, after = original.visible(), photo.visible()
    step = step_in_place(after, whole, photo.compression)
    before = step(whole)
    return step, before, after, noise_after(step, whole, before, after)


def _fed(models: Mapping[str, Autoencoder], size: int | None) -> list[Fed]:
    """Models by catalogue name or folder, with the sizes at which they are fed photos."""
    return [(model, fed_size(name, size)) for name, model in models.items()]
