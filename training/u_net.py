"""A denoiser of another shape than the dilated convolutions that ship: a U-Net."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["UNet"]

WIDTHS = (32, 64, 128)
_MULTIPLE = 4  # for two halvings


class UNet(nn.Module):
    """Images (N, 3, H, W) in [0, 1] of any size to the estimated perturbation.

    Its blocks are depthwise and pointwise convolutions, as in ConvNeXt (arXiv 2201.03545) without
    normalisation, at the full, half and quarter size. It sees 32 pixels far, where the dilated
    convolutions see 16.

    Args:
        widths: Channels of the three levels.
    """

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        full, half, quarter = widths
        self.stem = nn.Conv2d(3, full, 3, padding=1)
        self.full_down = _fine(full)
        self.to_half = nn.Conv2d(full, half, 2, stride=2)
        self.half_down = _blocks(half, 2)
        self.to_quarter = nn.Conv2d(half, quarter, 2, stride=2)
        self.quarter = _blocks(quarter, 4)
        self.from_quarter = nn.Conv2d(quarter, 4 * half, 1)
        self.half_up = _blocks(half, 2)
        self.from_half = nn.Conv2d(half, 4 * full, 1)
        self.full_up = _fine(full)
        self.head = nn.Conv2d(full, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """The estimated perturbation (N, 3, H, W)."""
        height, width = images.shape[-2:]
        x = F.pad(images, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")
        full = self.full_down(self.stem(x))
        half = self.half_down(self.to_half(full))
        quarter = self.quarter(self.to_quarter(half))
        half = self.half_up(half + F.pixel_shuffle(self.from_quarter(quarter), 2))
        full = self.full_up(full + F.pixel_shuffle(self.from_half(half), 2))
        found: Tensor = self.head(full)[..., :height, :width]
        return found


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.wider = nn.Conv2d(width, 2 * width, 1)
        self.narrower = nn.Conv2d(2 * width, width, 1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.scale * self.narrower(F.gelu(self.wider(self.near(x))))
        return found


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(count)))


def _fine(width: int) -> nn.Sequential:
    mixed = nn.Conv2d(width, width, 3, padding=1)
    return nn.Sequential(_Block(width), mixed, nn.GELU(), _Block(width))
