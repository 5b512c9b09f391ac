"""Between uint8 pictures (H, W, C) and float32 tensors (N, C, H, W) in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["tensor"]


def tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """Uint8 pixels (H, W, C) as float32 (1, C, H, W) in [0, 1]."""
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]
    return planes.to(device).float().contiguous().div_(255)
