"""A denoiser that learns to remove the changes of a network while that learns to make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from photovax.adversary.purify.denoiser import pretrained

__all__ = ["Opponent"]

_CROP = 64
_UNTOUCHED = 0.1  # share of crops without a change, so that untouched photos stay as they are
_RATE = 5e-4
_UPDATES = 2


class Opponent:
    """An adaptive denoiser in training, which starts as the shipped one.

    An adversary who trains on a tool's outputs trains last. A network whose opponent learns beside
    it is not tied to one denoiser, as it would be by a view through the shipped one.

    Args:
        device: Device of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._network = pretrained("perceptual", device)
        self._optimiser = torch.optim.AdamW(self._network.parameters(), lr=_RATE)

    def learn(self, changed: Tensor, origin: Tensor, random: np.random.Generator) -> None:
        """Update the denoiser on crops of a batch.

        Args:
            changed: Changed photos (N, 3, H, W) in [0, 1]; no gradient is passed to them.
            origin: The originals.
            random: Source of the places of crops.
        """
        self._network.requires_grad_(True)
        for _ in range(_UPDATES):
            top, left = (int(random.integers(max(1, side - _CROP))) for side in origin.shape[-2:])
            inside = (..., slice(top, top + _CROP), slice(left, left + _CROP))
            clean = origin[inside]
            seen = clean if random.random() < _UNTOUCHED else changed.detach()[inside]
            loss = (seen - self._network(seen) - clean).square().mean()
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
            self._optimiser.step()
        self._network.requires_grad_(False)

    def __call__(self, images: Tensor) -> Tensor:
        """What is left of images (N, 3, H, W) in [0, 1], differentiable."""
        left: Tensor = (images - self._network(images)).clamp(0, 1)
        return left

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
