"""The model of a bare autoencoder, by its file's digest or by its latents of the sample photo.

The autoencoders of Stable Diffusion 1 and SDXL have the same tensors, and so do those of Stable
Diffusion 3 and FLUX.1. Their latents differ in mean and spread, by which pipelines normalise them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from photovax.models.autoencoders.base import PosteriorAutoencoder
from photovax.models.catalog.entries import CATALOG, PUBLISHED, Entry, Latent
from photovax.models.catalog.holdings import (
    AS_TOLD,
    NAMED_BY_DIGEST,
    NAMED_BY_LATENTS,
    another_model,
)
from photovax.models.contracts import Autoencoder
from photovax.pictures.photo import read_photo
from photovax.pictures.resize import resized
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor

__all__ = ["named_by_weights"]

_SIDE = 256
# Least difference in mean log-likelihood between the best and the second model.
_MARGIN = 0.2
# Spread of the sample photo's latents within those of many photos, else the model is of no known
# family: untrained, or normalised in another way.
_LEAST_SPREAD, _MOST_SPREAD = 0.25, 2.5


def named_by_weights(name: str, model: Autoencoder, place: Path) -> str:
    """What says that a bare autoencoder is of the model that a catalogue name says.

    Args:
        name: Catalogue name.
        model: Autoencoder, loaded for that name.
        place: File or folder that it was loaded from.

    Raises:
        ModelError: If it is of another model.
    """
    own = CATALOG[name].latent
    found, by = PUBLISHED.get(model.digest), NAMED_BY_DIGEST
    if found is None:
        found, by = _by_latents(name, model), NAMED_BY_LATENTS
    if found is None:
        return AS_TOLD
    if found != own:
        names = [other for other, entry in CATALOG.items() if entry.latent == found]
        why = {
            NAMED_BY_DIGEST: "its SHA-256 is published as that of",
            NAMED_BY_LATENTS: "its latents of the sample photo are like those of",
        }
        raise another_model(name, place, f"{why[by]} {names[0]}", names)
    return by


def _by_latents(name: str, model: Autoencoder) -> Latent | None:
    """The most likely latent among those of autoencoders of one shape; None if none stands out."""
    rivals = _rivals(name)
    if len(rivals) < 2 or not isinstance(model, PosteriorAutoencoder):
        return None
    device = next(model.model.parameters()).device
    photo = tensor(np.asarray(resized(read_photo(SAMPLE).pixels, _SIDE)), device)
    with torch.no_grad():
        latents = model.posterior(photo)[0][0].flatten(1).cpu()
    best, second = sorted(rivals, key=lambda rival: _surprise(latents, rival))[:2]
    spread = (latents.std(dim=1) / _moments(best)[1]).square().mean().sqrt().item()
    gap = _surprise(latents, second) - _surprise(latents, best)
    return best if gap > _MARGIN and _LEAST_SPREAD < spread < _MOST_SPREAD else None


def _rivals(name: str) -> list[Latent]:
    """The latents of the catalogue's autoencoders whose tensors have the shapes of this one's."""
    own = _shape(CATALOG[name])
    return list(dict.fromkeys(entry.latent for entry in CATALOG.values() if _shape(entry) == own))


def _shape(entry: Entry) -> dict[str, Any]:
    scales = ("scaling_factor", "shift_factor", "sample_size")
    return {key: value for key, value in entry.config.items() if key not in scales}


def _surprise(latents: Tensor, known: Latent) -> float:
    """Mean of -log p + log(2 pi) / 2 of latents (C, N), normal in each channel."""
    means, deviations = _moments(known)
    scaled = (latents - means[:, None]) / deviations[:, None]
    return float((deviations.log() + scaled.square().mean(dim=1) / 2).mean())


def _moments(known: Latent) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel (C,), before pipelines normalise them."""
    if known.means:
        return torch.tensor(known.means), torch.tensor(known.deviations)
    return (
        torch.full((known.channels,), known.shift),
        torch.full((known.channels,), 1 / known.scale),
    )
