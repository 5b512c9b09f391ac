"""Muon for convolution kernels, AdamW for everything else.

Muon orthogonalises the momentum of each matrix by Newton-Schulz steps (Keller Jordan, 2024,
https://kellerjordan.github.io/posts/muon). ``torch.optim.Muon`` takes only 2-D parameters, while
most parameters of an autoencoder are 4-D.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer


class Muon(Optimizer):
    """Muon, with a kernel (out, in, h, w) taken as an out x (in h w) matrix."""

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        del closure
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                velocity = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                update = parameter.grad.add(velocity, alpha=group["momentum"])
                matrix = update.reshape(update.shape[0], -1)
                scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
                direction = _orthogonalised(matrix).reshape(parameter.shape)
                parameter.add_(direction, alpha=-group["lr"] * scale)


def _orthogonalised(matrix: Tensor) -> Tensor:
    """An approximation of U V^T, for matrix = U S V^T, by five quintic Newton-Schulz steps."""
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


def optimisers(
    model: nn.Module, *, matrix_lr: float, vector_lr: float, matrices: Callable[[Any], bool]
) -> list[Optimizer]:
    """Muon for the parameters for which ``matrices`` is true, and AdamW for the others."""
    chosen = [p for p in model.parameters() if matrices(p)]
    rest = [p for p in model.parameters() if not matrices(p)]
    return [
        Muon(chosen, lr=matrix_lr),
        AdamW(rest, lr=vector_lr, betas=(0.9, 0.99), weight_decay=0.0),
    ]
