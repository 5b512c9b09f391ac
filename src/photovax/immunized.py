"""What an immunization gives, and the promises that its saved file must keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from photovax.attack.budgets import TOLERANCE, Constraint
from photovax.attack.recipe import Recipe
from photovax.errors import BudgetExceeded
from photovax.metrics.distortion import Visibility
from photovax.metrics.latent import LatentEffect
from photovax.metrics.visibility import VisibleDifference
from photovax.pictures.photo import Photo
from photovax.pictures.rights import forbids_training
from photovax.tensors import tensor

__all__ = [
    "Immunized",
    "Saved",
    "check_promises",
]


@dataclass(frozen=True, eq=False)
class Immunized:
    """The answer, with what is needed to check and repeat it.

    Attributes:
        photo: The immunized photo, 8-bit, exactly as it is saved.
        original: The photo that was given.
        allowed: Pixels that were allowed to change, bool (H, W).
        recipe: How it was made.
        constraint: The set of changes that its budget allows to this photo, on the CPU.
        loss: Final loss, mean over views and models, before rounding.
        steps: Steps taken.
        passes: Forward and backward passes through a model.
        quick_steps: Steps whose gradient was computed in bfloat16.
        stopped: ``done``, ``plateau`` or ``interrupted``.
        seconds: What it took.
        reached: Whether the strength is what was aimed at; else it is the recipe's.
    """

    photo: Photo
    original: Photo
    allowed: np.ndarray
    recipe: Recipe
    constraint: Constraint
    loss: float
    steps: int
    passes: int
    quick_steps: int
    stopped: str
    seconds: float
    reached: bool = True


@dataclass(frozen=True)
class Saved:
    """A saved photo, and what was measured on the file.

    Attributes:
        path: The photo.
        record: The JSON file beside it.
        visible: How far the two are apart.
        seen: How visible that is.
        effects: What it does to each model, at the size the recipe feeds it.
    """

    path: Path
    record: Path
    visible: Visibility
    seen: VisibleDifference
    effects: dict[str, LatentEffect]


def check_promises(result: Immunized, reopened: Photo) -> None:
    """Compare a reopened file with what was promised.

    Raises:
        BudgetExceeded: If size, channels, transparency, rights, mask or budget do not hold.
    """
    given = result.original
    broken = None
    if reopened.pixels.shape != given.pixels.shape:
        broken = f"shape {reopened.pixels.shape} instead of {given.pixels.shape}"
    elif not np.array_equal(reopened.pixels, result.photo.pixels):
        broken = "pixels other than those that were written"
    elif not _same(given.alpha, reopened.alpha):
        broken = "another transparency"
    elif forbids_training(result.photo.metadata) and not forbids_training(reopened.metadata):
        broken = "no word against AI training"
    elif (reopened.pixels != given.pixels)[~result.allowed].any():
        broken = "changes outside the mask"
    else:
        cpu = torch.device("cpu")
        after, before = (tensor(photo.visible(), cpu) for photo in (reopened, given))
        size = result.constraint.size(after, before).item()
        if size > 1 + TOLERANCE:
            broken = f"{size:.4f} of the budget"
    if broken is not None:
        raise BudgetExceeded(f"the saved file would have {broken}; nothing was kept")


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        # WebP drops an alpha that is opaque everywhere, which shows the same picture.
        there = second if first is None else first
        return there is None or bool((there == 255).all())
    return np.array_equal(first, second)
