"""Objectives: the losses that an immunization minimises.

A loss is one number per image; smaller means better immunized. ``latent`` holds objectives that
need only an autoencoder, ``edits`` those that need the denoiser or the whole edit, ``attention``
those that look into the denoiser. All are registered when this package is imported.
"""

from photovax.attack.losses import LossFn
from photovax.attack.objectives.attention import (
    AttentionDecoy,
    AttentionDrift,
    ContextAttention,
)
from photovax.attack.objectives.contract import OBJECTIVES, Objective, Sum
from photovax.attack.objectives.edits import DenoisingError, EditDrift, EditTarget, FirstStepNorm
from photovax.attack.objectives.latent import (
    DecodedDrift,
    LatentDrift,
    LatentTarget,
    PosteriorShift,
)
from photovax.models.latents import latent_distance, latent_unit

__all__ = [
    "OBJECTIVES",
    "AttentionDecoy",
    "AttentionDrift",
    "ContextAttention",
    "DecodedDrift",
    "DenoisingError",
    "EditDrift",
    "EditTarget",
    "FirstStepNorm",
    "LatentDrift",
    "LatentTarget",
    "LossFn",
    "Objective",
    "PosteriorShift",
    "Sum",
    "latent_distance",
    "latent_unit",
]
