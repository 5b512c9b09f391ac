"""Files of lossy types whose decoded pixels are within a budget."""

from __future__ import annotations

import numpy as np

from photovax.attack.budgets import TOLERANCE, Constraint
from photovax.errors import BudgetExceeded
from photovax.pictures.compression import Compression
from photovax.pictures.photo import Photo
from photovax.tensors import pixels_of, tensor

__all__ = ["within_file"]

_ROUNDS = 150
_PATIENT = 50


def within_file(
    photo: Photo, original: np.ndarray, constraint: Constraint, finest: Compression
) -> tuple[Photo, Photo]:
    """Find pixels to encode such that the decoded pixels are within a budget.

    Encoding moves some pixels out of the budget. Their excess is subtracted from the pixels to
    encode, again and again until there is none (alternating projections). Later rounds subtract
    more, since for the last few pixels of a large photo each round also moves their neighbours.

    Args:
        photo: Photo inside the budget. Its transparency is encoded with it, on which the colours
            of an AVIF file depend.
        original: Original pixels, uint8 (H, W, 1 or 3).
        constraint: Budget.
        finest: Compression of the file, the one with the least loss.

    Returns:
        The photo to encode, and the photo that this decodes to.

    Raises:
        BudgetExceeded: If no such file is found, as for budgets of one or two levels.
    """
    origin, goal = tensor(original), tensor(photo.pixels)
    for done in range(_ROUNDS):
        asked = photo.with_pixels(pixels_of(goal))
        shown = asked.compressed(finest)
        x = tensor(shown.pixels)
        if constraint.size(x, origin).item() <= 1 + TOLERANCE:
            return asked, photo.with_pixels(shown.pixels)
        back = constraint.project(x, origin).sub_(x)
        goal = goal.add_(back, alpha=1 + done / _PATIENT).clamp_(0, 1)
    raise BudgetExceeded(
        f"no {finest.kind} file was found that keeps a budget of "
        f"{constraint.shown(constraint.radius)}; use .png, or a larger budget"
    )
