"""JPEG files whose pixels, as they are decoded, keep a budget."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from photovax.attack.budgets import TOLERANCE, Constraint
from photovax.errors import BudgetExceeded
from photovax.pictures.channels import as_image
from photovax.pictures.pillow import strict_pillow
from photovax.pictures.write import LEAST_LOSS
from photovax.tensors import tensor

__all__ = ["within_jpeg"]

_ROUNDS = 150
_PATIENT = 50


def within_jpeg(
    levels: np.ndarray, original: np.ndarray, constraint: Constraint
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels to encode, such that the decoded ones are within a budget.

    Encoding moves pixels, some of them out of the budget. What lies outside is added to what is
    asked for, with the opposite sign, until nothing does (alternating projections). The last few
    pixels of a large photo are asked for more and more, since each try moves their neighbours.

    Args:
        levels: Uint8 (H, W, 1 or 3), inside the budget.
        original: The same shape.
        constraint: The budget.

    Returns:
        What to encode with ``LEAST_LOSS``, and what that decodes to.

    Raises:
        BudgetExceeded: If that does not settle, as with budgets of a level or two.
    """
    cpu = torch.device("cpu")
    origin, goal = tensor(original, cpu), tensor(levels, cpu)
    for done in range(_ROUNDS):
        asked = goal.mul(255).round_()[0].permute(1, 2, 0).to(torch.uint8).numpy()
        shown = _decoded(asked)
        x = tensor(shown, cpu)
        if constraint.size(x, origin).item() <= 1 + TOLERANCE:
            return asked, shown
        back = constraint.project(x, origin).sub_(x)
        goal = goal.add_(back, alpha=1 + done / _PATIENT).clamp_(0, 1)
    raise BudgetExceeded(
        f"no JPEG file was found that keeps a budget of {constraint.shown(constraint.radius)}; "
        "use .png, or a larger budget"
    )


def _decoded(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    as_image(pixels).save(file, "JPEG", **LEAST_LOSS)
    with strict_pillow(pixels.shape[0] * pixels.shape[1]), Image.open(file) as image:
        return np.array(image).reshape(pixels.shape)
