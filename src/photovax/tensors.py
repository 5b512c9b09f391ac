"""Conversion between uint8 pictures (H, W, C) and float32 tensors (N, C, H, W) in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["CPU", "pixels_of", "planes", "tensor"]

CPU = torch.device("cpu")


def tensor(pixels: np.ndarray, device: torch.device = CPU) -> Tensor:
    """Convert uint8 pixels (H, W, C) to a float32 tensor (1, C, H, W) in [0, 1] on a device."""
    return planes(pixels).to(device).float().contiguous().div_(255)


def planes(pixels: np.ndarray) -> Tensor:
    """Convert uint8 pixels (H, W, C) to a uint8 tensor (1, C, H, W), which may share memory."""
    # A read-only array is copied, since PyTorch has no read-only tensors.
    return torch.from_numpy(np.require(pixels, np.uint8, ["C", "W"])).permute(2, 0, 1)[None]


def pixels_of(images: Tensor) -> np.ndarray:
    """Convert the first image of a batch (N, C, H, W) in [0, 1] to uint8 pixels (H, W, C).

    Values are rounded to the nearest level.
    """
    levels = images[0].detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    pixels: np.ndarray = levels.permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels)
