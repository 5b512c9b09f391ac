"""What to make the model do. A loss is one number per image, and smaller is better immunized.

``latent``: objectives that need no more than an autoencoder. ``edits``: those that go through
the edit or the denoiser. All are registered when this package is imported.
"""

from photovax.attack.losses import LossFn
from photovax.attack.objectives.contract import OBJECTIVES, Objective, Sum
from photovax.attack.objectives.edits import DenoisingError, EditDrift, EditTarget, FirstStepNorm
from photovax.attack.objectives.latent import LatentDrift, LatentTarget, PosteriorShift
from photovax.models.latents import latent_distance, latent_unit

__all__ = [
    "OBJECTIVES",
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
