"""A denoising network that was trained to remove this package's own perturbations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from photovax.adversary.purify.contract import PURIFIERS
from photovax.digests import file_digest
from photovax.errors import ModelError, UsageError, first_line
from photovax.machine.device import pick_device

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["DILATIONS", "Denoiser", "network", "pretrained"]

WEIGHTS = {
    "levels": Path(__file__).parent / "denoiser.safetensors",
    "perceptual": Path(__file__).parent / "denoiser_perceptual.safetensors",
    "opposed": Path(__file__).parent / "denoiser_opposed.safetensors",
}
"""Weights by the kind of recipes whose outputs they were trained on."""
DILATIONS = (1, 2, 3, 4, 3, 2, 1)
WIDTH = 48


def network() -> nn.Sequential:
    """The untrained network: images (N, 3, H, W) in [0, 1] to the estimated perturbation.

    Seven dilated 3 x 3 convolutions, as in Zhang et al., *Learning Deep CNN Denoiser Prior for
    Image Restoration* (arXiv 1704.03264), without batch normalisation.
    """
    from torch import nn

    layers: list[Any] = []
    for index, dilation in enumerate(DILATIONS):
        before = 3 if index == 0 else WIDTH
        after = 3 if index == len(DILATIONS) - 1 else WIDTH
        layers.append(nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation))
        if after != 3:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def pretrained(against: str, device: torch.device) -> nn.Sequential:
    """The network with weights that ship with photovax, without gradients.

    Args:
        against: What it was trained to remove; see ``Denoiser``.
        device: Device of the network.

    Raises:
        ModelError: If its weights cannot be loaded.
        UsageError: If there is no such network.
    """
    if against not in WEIGHTS:
        raise UsageError(f"against must be {' or '.join(WEIGHTS)}, got {against!r}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found, file = network(), WEIGHTS[against]
    try:
        found.load_state_dict({name: value.float() for name, value in load_file(file).items()})
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"purifier denoiser: {file} cannot be loaded: {first_line(error)}"
        ) from error
    found.eval().requires_grad_(False)
    return found.to(device)


@PURIFIERS.register("denoiser")
class Denoiser:
    """An adaptive adversary: a network trained on pairs of originals and immunized photos.

    Anyone can make such pairs with a public tool. The network was trained by
    ``training.train_denoiser`` on outputs of this package's own recipes, which
    ``DENOISER_CARD.md`` lists.

    Args:
        against: What it was trained to remove: ``levels``, changes of recipes that bound the
            largest change, ``perceptual``, those of ``instant`` and ``fast``, or ``opposed``,
            those of ``robust``, whose network had a denoiser as its opponent.
        device: ``auto``, ``cpu``, ``cuda``, ``mps`` …

    Attributes:
        digest: SHA-256 of its weights.

    Raises:
        ModelError: If its weights cannot be loaded.
        UsageError: If there is no such network, or the device is not available.
    """

    def __init__(self, *, against: str = "levels", device: str = "auto") -> None:
        self._device = pick_device(device)
        self._network = pretrained(against, self._device)
        self.digest = file_digest(WEIGHTS[against])

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The picture minus the perturbation that the network estimates."""
        import torch

        from photovax.tensors import pixels_of, tensor

        images = tensor(pixels, self._device)
        with torch.no_grad():
            return pixels_of(images - self._network(images))
