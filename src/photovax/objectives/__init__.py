"""What to make the model do. A loss is one number per image, and smaller is better immunized.

``latent``: objectives that need no more than an autoencoder. ``edits``: those that go through
the edit or the denoiser. All are registered when this package is imported.
"""

from photovax.objectives.contract import OBJECTIVES, LossFn, Objective, Sum
from photovax.objectives.edits import (
    DenoisingError,
    EditDrift,
    EditTarget,
    FirstStepNorm,
)
from photovax.objectives.latent import (
    LatentDrift,
    LatentTarget,
    PosteriorShift,
    latent_distance,
    latent_unit,
)

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
