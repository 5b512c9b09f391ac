"""Budgets: sets of allowed images around an original photo.

Images are float32 (N, C, H, W) in [0, 1]. Every set contains the original and is independent of
models and losses. ``balls`` bounds the l-infinity or l2 norm of the change, ``perceptual`` its
visibility. All are registered when this package is imported.

PyTorch is imported only when a set is used, so that the command line can list recipes quickly.
"""

from photovax.attack.budgets.balls import L2, Linf, Within, largest_change
from photovax.attack.budgets.contract import (
    BUDGETS,
    LEVELS,
    TOLERANCE,
    Constraint,
    Estimator,
    TakesEstimates,
    Unit,
)
from photovax.attack.budgets.perceptual import (
    VISIBILITY,
    Perceptual,
    Viewing,
    radius_near,
    visibility,
)

__all__ = [
    "BUDGETS",
    "L2",
    "LEVELS",
    "TOLERANCE",
    "VISIBILITY",
    "Constraint",
    "Estimator",
    "Linf",
    "Perceptual",
    "TakesEstimates",
    "Unit",
    "Viewing",
    "Within",
    "largest_change",
    "radius_near",
    "visibility",
]
