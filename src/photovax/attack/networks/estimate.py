"""Networks as estimators of a perceptual budget's thresholds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from photovax.attack.budgets import Estimator
from photovax.attack.networks.network import PerturbationNetwork

__all__ = ["estimator"]


def estimator(
    network: PerturbationNetwork, quick: Callable[[], AbstractContextManager[Any]]
) -> Estimator:
    """A network as an estimator.

    Args:
        network: Network.
        quick: Function that returns the context of its passes.
    """

    def estimate(photo: Tensor, allowance: Tensor, degree: float) -> Tensor:
        photo = photo.contiguous(memory_format=torch.channels_last)
        with quick():
            found: Tensor = network(photo, allowance, degree)
        return found

    return estimate
