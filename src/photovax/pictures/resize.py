"""How editors resize a photo before they edit it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from photovax.pictures.channels import as_image

__all__ = ["fed_sides", "resized"]


def fed_sides(
    height: int, width: int, short: int, *, ratio: float = 4.0, multiple: int = 8
) -> tuple[int, int]:
    """Height and width, in pixels, at which a picture is fed to a model.

    Args:
        height: The picture's own.
        width: The picture's own.
        short: The short side that it gets.
        ratio: Largest long side, in short sides; a longer picture is squeezed.
        multiple: What sides are rounded to a multiple of; one at least.
    """
    scale = short / min(height, width)
    tall, wide = (
        max(1, round(min(side * scale, ratio * short) / multiple)) * multiple
        for side in (height, width)
    )
    return tall, wide


def resized(pixels: np.ndarray, size: int) -> Image.Image:
    """A picture as an ordinary tool feeds it: Lanczos to a short side of ``size`` pixels.

    Sides become multiples of 8; the long side is at most four times the short.
    """
    picture = as_image(pixels).convert("RGB")
    height, width = fed_sides(picture.height, picture.width, size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
