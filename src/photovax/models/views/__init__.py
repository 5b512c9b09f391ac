"""Views: differentiable transformations of a photo before a model is fed it.

A view maps float32 images (N, C, H, W) in [0, 1] to images of the same kind, possibly of another
size. The loss sees the photo through views, so that a change at the photo's own size survives the
preprocessing of editors, and what happens to a photo on its way to them.
"""

from photovax.models.views import chain, retouching, sharing  # noqa: F401 - they register themselves
from photovax.models.views.contract import VIEWS, View, Window
from photovax.models.views.resampling import interpolated, resampled, resize
from photovax.models.views.sizes import Crop, Identity, ShortSide, Tiles

__all__ = [
    "VIEWS",
    "Crop",
    "Identity",
    "ShortSide",
    "Tiles",
    "View",
    "Window",
    "interpolated",
    "resampled",
    "resize",
]
