"""Resizing of images, with a gradient."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["interpolated", "resampled", "resize"]

_KERNELS = ("cpu", "cuda")
"""Types of devices for which PyTorch has kernels of all these resizes and of their gradients.

For Apple's GPUs (MPS) it lacks the gradient with antialiasing, and ``area`` where one size is no
multiple of the other.
"""


def interpolated(planes: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resize with antialiasing (Keys kernel, a = -0.5), not clipped.

    Args:
        planes: Values (N, C, H, W).
        height: New height.
        width: New width.

    Returns:
        Values (N, C, height, width); the input itself if it has that size.
    """
    return resampled(planes, height, width, "bicubic")


def resampled(planes: Tensor, height: int, width: int, kernel: str) -> Tensor:
    """Resize by a kernel, not clipped.

    Args:
        planes: Values (N, C, H, W).
        height: New height.
        width: New width.
        kernel: ``bicubic`` (Keys, a = -0.5) or ``bilinear``, both with antialiasing, or ``area``.

    Returns:
        Values (N, C, height, width); the input itself if it has that size.
    """
    if planes.shape[-2:] == (height, width):
        return planes
    if planes.is_meta:
        return planes.new_empty((*planes.shape[:-2], height, width))
    if planes.device.type in _KERNELS:
        return _by_kernel(planes, height, width, kernel)
    rows, columns = (
        _weights(before, after, kernel).to(planes)
        for before, after in zip(planes.shape[-2:], (height, width), strict=True)
    )
    # Autocast would multiply in 16 bits.
    with torch.autocast(planes.device.type, enabled=False):
        return rows @ (planes @ columns.mT)


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
    if resized.is_meta:
        # A size alone is asked for. To clip none, PyTorch would import its compiler.
        return resized
    # Editors clip overshoot at edges when they convert to 8 bits. clamp has a gradient of 1 for all
    # values inside [0, 1].
    return resized.clamp(0, 1)


def _by_kernel(planes: Tensor, height: int, width: int, kernel: str) -> Tensor:
    antialias = kernel != "area"  # which has none of its own
    return F.interpolate(planes, (height, width), mode=kernel, antialias=antialias)


@lru_cache(maxsize=16)
def _weights(before: int, after: int, kernel: str) -> Tensor:
    """The matrix (after, before) that resizes one axis: PyTorch's own resize of a unit matrix.

    All these kernels are products of one along each axis, which leaves an axis as it is if its size
    stays.
    """
    if before == after:
        return torch.eye(before)
    return _by_kernel(torch.eye(before)[None, None], after, before, kernel)[0, 0]
