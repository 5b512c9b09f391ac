"""Rounding of float images to 8 bits within a budget."""

from __future__ import annotations

import torch
from torch import Tensor

from photovax.attack.budgets import TOLERANCE, Constraint
from photovax.errors import BudgetExceeded

__all__ = ["round_within", "rounded"]


def rounded(x: Tensor, origin: Tensor, share: Tensor) -> Tensor:
    """A share of the change of images, rounded to 8-bit levels (N, C, H, W), still float32.

    Args:
        x: Images, float32 (N, C, H, W) in [0, 1].
        origin: Originals (N, C, H, W) in [0, 1].
        share: Share of the change that is kept, (N, 1, 1, 1) or a scalar.
    """
    return torch.lerp(origin, x, share).mul_(255).round_().clamp_(0, 255)


def round_within(x: Tensor, origin: Tensor, constraint: Constraint) -> Tensor:
    """Round images to 8 bits without leaving the budget.

    Values are rounded to the nearest level. Rounding can leave the set: a radius of 7.65 levels
    rounds to 8, and an l2 change may get longer. The change of such an image is reduced by steps of
    1 % until it is inside.

    Args:
        x: Images, float32 (N, C, H, W) in [0, 1], inside the set.
        origin: Originals (N, C, H, W) in [0, 1], whose values are 8-bit levels.
        constraint: Set of allowed images.

    Returns:
        Images, uint8 (N, C, H, W).

    Raises:
        BudgetExceeded: If no image other than the original is inside the set.
    """
    share = torch.ones(len(x), 1, 1, 1, device=x.device)
    for _ in range(100):
        found = rounded(x, origin, share)
        # Not "above": a size that is no number is inside nothing.
        over = ~(constraint.size(found.div(255), origin) <= 1 + TOLERANCE)
        if not over.any():
            if torch.equal(found, (origin * 255).round()) and not torch.equal(x, origin):
                break
            return found.to(torch.uint8)
        share = torch.where(over.view(-1, 1, 1, 1), share - 0.01, share)
    raise BudgetExceeded(
        f"nothing of the change is left in 8 bits at a budget of "
        f"{constraint.shown(constraint.radius)}; use a larger one"
    )
