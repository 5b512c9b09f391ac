"""From the optimiser's float image to 8 bits, inside the budget."""

from __future__ import annotations

import torch
from torch import Tensor

from photovax.attack.budgets import TOLERANCE, Constraint
from photovax.errors import BudgetExceeded

__all__ = ["round_within"]


def round_within(x: Tensor, origin: Tensor, constraint: Constraint) -> Tensor:
    """Round images to 8 bits without leaving the budget: what is saved is what was promised.

    Nearest rounding, which loses the least. Where that leaves the set (a radius of 7.65 levels
    rounds to 8; rounding lengthens an l2 change), the change is shrunk, image by image and
    percent by percent, until it fits.

    Args:
        x: Float images (N, C, H, W) in [0, 1] inside the set.
        origin: The originals, on 8-bit levels.
        constraint: The set.

    Returns:
        Uint8 images (N, C, H, W).

    Raises:
        BudgetExceeded: If nothing but the original fits.
    """
    share = torch.ones(len(x), 1, 1, 1, device=x.device)
    for _ in range(100):
        rounded = torch.lerp(origin, x, share).mul_(255).round_().clamp_(0, 255)
        over = constraint.size(rounded.div(255), origin) > 1 + TOLERANCE
        if not over.any():
            if torch.equal(rounded, (origin * 255).round()) and not torch.equal(x, origin):
                break
            return rounded.to(torch.uint8)
        share = torch.where(over.view(-1, 1, 1, 1), share - 0.01, share)
    raise BudgetExceeded(
        f"nothing of the change is left in 8 bits at a budget of "
        f"{constraint.shown(constraint.radius)}; use a larger one"
    )
