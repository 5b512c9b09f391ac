"""Resizing of images, with a gradient."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["interpolated", "resize"]


def interpolated(planes: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resize with antialiasing (Keys kernel, a = -0.5), not clipped.

    Args:
        planes: Values (N, C, H, W).
        height: New height.
        width: New width.

    Returns:
        Values (N, C, height, width); the input itself if it has that size.
    """
    if planes.shape[-2:] == (height, width):
        return planes
    return F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resize with antialiasing (Keys kernel, a = -0.5), clipped to [0, 1].

    The definition is that of Pillow's BICUBIC without rounding to 8 bits.

    Args:
        images: Images (N, C, H, W) in [0, 1].
        height: New height.
        width: New width.

    Returns:
        Images (N, C, height, width); the input itself if it has that size.
    """
    if images.shape[-2:] == (height, width):
        return images
    resized = interpolated(images, height, width)
    # Editors clip overshoot at edges when they convert to 8 bits. clamp has a gradient of 1 for all
    # values inside [0, 1].
    return resized.clamp(0, 1)
