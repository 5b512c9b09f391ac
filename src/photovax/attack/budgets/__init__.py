"""How far a photo may change: sets of images around an original.

Images are float32 (N, C, H, W) in [0, 1]. Every set contains the original, and knows nothing of
models or losses. ``balls``: the largest change or its length is bounded. ``perceptual``: how
visible the change is. All are registered when this package is imported.

PyTorch is imported when a set is used, not here: recipes ask budgets what they bound, and the
command line lists recipes at once.
"""

from photovax.attack.budgets.balls import L2, Linf, Within, largest_change
from photovax.attack.budgets.contract import BUDGETS, TOLERANCE, Constraint, Unit
from photovax.attack.budgets.perceptual import VISIBILITY, Perceptual, radius_near, visibility

__all__ = [
    "BUDGETS",
    "L2",
    "TOLERANCE",
    "VISIBILITY",
    "Constraint",
    "Linf",
    "Perceptual",
    "Unit",
    "Within",
    "largest_change",
    "radius_near",
    "visibility",
]
