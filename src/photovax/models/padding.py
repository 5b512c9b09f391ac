"""Padding of images to the multiples of pixels that models take."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["continued"]


def continued(images: Tensor, multiple: int) -> Tensor:
    """Images (N, C, H, W), padded with their last row and column to multiples of ``multiple``."""
    height, width = images.shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)
    return F.pad(images, padding, mode="replicate") if any(padding) else images
