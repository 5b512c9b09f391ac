"""A network that estimates an immunizing change in one pass.

Such networks are known as perturbation generators (Poursaeed et al., arXiv 1712.02328). DiffVax
(arXiv 2411.17957) immunizes with one. Here the network gives visibility thresholds, from which a
perceptual budget makes a change. So the change is inside the budget whatever the weights are.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["USUAL_DEGREE", "PerturbationNetwork", "placed"]

_CELL = 4
"""Side in pixels of the squares that become the channels of the finest level."""

_MULTIPLE = 4 * _CELL
"""Sides are padded to multiples of it, for two halvings of the finest level."""

USUAL_DEGREE = 38.0
"""Pixels per degree of a photo that a full-HD display shows unscaled."""


class PerturbationNetwork(nn.Module):
    """A fully convolutional U-Net from a photo to the thresholds of a change.

    Args:
        widths: Channels at a fourth, an eighth and a sixteenth of the photo's sides.
        blocks: Number of residual blocks of each level on the way down, and on the way up.

    Attributes:
        widths: Channels of the three levels.
        blocks: Number of residual blocks of a level.
    """

    def __init__(self, widths: tuple[int, int, int] = (64, 128, 192), blocks: int = 2) -> None:
        super().__init__()
        self.widths, self.blocks = widths, blocks
        fine, middle, coarse = widths
        self.stem = nn.Conv2d(5 * _CELL**2, fine, 3, padding=1)
        self.fine_down = _blocks(fine, blocks)
        self.to_middle = nn.Conv2d(fine, middle, 2, stride=2)
        self.middle_down = _blocks(middle, blocks)
        self.to_coarse = nn.Conv2d(middle, coarse, 2, stride=2)
        self.coarse = _blocks(coarse, blocks + 1)
        self.from_coarse = nn.Conv2d(coarse, 4 * middle, 1)
        self.middle_up = _blocks(middle, blocks)
        self.from_middle = nn.Conv2d(middle, 4 * fine, 1)
        self.fine_up = _blocks(fine, blocks)
        self.head = nn.Conv2d(fine, 3 * _CELL**2, 3, padding=1)

    def forward(self, photo: Tensor, allowance: Tensor, degree: float) -> Tensor:
        """Thresholds (N, 3, H, W) of luma and two colour differences, up to a positive factor.

        Args:
            photo: Photos (N, 3, H, W) in [0, 1], as a model is fed them.
            allowance: Masking of each pixel (N, 1, H, W), above 0, in 8-bit levels.
            degree: Pixels of these photos per degree of visual angle.
        """
        viewed = torch.full_like(allowance, math.log2(degree / USUAL_DEGREE))
        return self.viewed(photo, allowance, viewed)

    def viewed(self, photo: Tensor, allowance: Tensor, viewed: Tensor) -> Tensor:
        """The same, for the binary logarithm (N, 1, H, W) of ``degree / USUAL_DEGREE``."""
        height, width = photo.shape[-2:]
        x = torch.cat([photo * 2 - 1, allowance.log2() / 2, viewed], 1)
        x = F.pad(x, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")
        fine = self.fine_down(self.stem(F.pixel_unshuffle(x, _CELL)))
        middle = self.middle_down(self.to_middle(fine))
        coarse = self.coarse(self.to_coarse(middle))
        middle = self.middle_up(middle + F.pixel_shuffle(self.from_coarse(coarse), 2))
        fine = self.fine_up(fine + F.pixel_shuffle(self.from_middle(middle), 2))
        thresholds: Tensor = F.pixel_shuffle(self.head(fine), _CELL)[..., :height, :width]
        return thresholds


def placed(network: PerturbationNetwork, device: torch.device) -> PerturbationNetwork:
    """Move a network to a device, with its kernels in the layout that is fastest there."""
    # Any, since a type checker does not know that a module takes a memory format.
    movable: Any = network.to(device)
    return cast(PerturbationNetwork, movable.to(memory_format=torch.channels_last))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        # Normalised for each pixel alone: statistics of the photo would depend on its size.
        normal = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)
        found: Tensor = x + self.scale * self.second(F.silu(self.first(normal)))
        return found


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width) for _ in range(count)))
