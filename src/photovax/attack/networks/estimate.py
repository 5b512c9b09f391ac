"""Networks as estimators of a perceptual budget's thresholds."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from photovax.attack.budgets import Estimator
from photovax.attack.networks.network import PerturbationNetwork
from photovax.machine.precision import Quick

__all__ = ["estimator"]


def estimator(network: PerturbationNetwork, quick: Quick | None) -> Estimator:
    """A network as an estimator.

    Args:
        network: Network.
        quick: Function that returns the context of its passes, or None for float32. CPUs ignore it:
            even with instructions for bfloat16, they take 1.6 times as long for a pass in it.
    """

    def estimate(photo: Tensor, allowance: Tensor, degree: float) -> Tensor:
        photo = photo.contiguous(memory_format=torch.channels_last)
        with nullcontext() if quick is None or photo.device.type == "cpu" else quick():
            found: Tensor = network(photo, allowance, degree)
        return found

    return estimate
