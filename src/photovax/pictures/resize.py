"""How editors resize a photo before they edit it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from photovax.pictures.channels import as_image

__all__ = ["resized"]


_MULTIPLE = 8


def resized(pixels: np.ndarray, size: int) -> Image.Image:
    """A picture as an ordinary tool feeds it: Lanczos to a short side of ``size`` pixels.

    Sides become multiples of 8; the long side is at most four times the short.
    """
    picture = as_image(pixels).convert("RGB")
    scale = size / min(picture.size)
    sides = [min(side * scale, 4 * size) for side in picture.size]
    width, height = (max(1, round(side / _MULTIPLE)) * _MULTIPLE for side in sides)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
