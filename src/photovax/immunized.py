"""The answer of an immunization: the promises of its saved file, what was measured, its record."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import diffusers
import numpy as np
import torch
from PIL import Image

from photovax.attack.budgets import TOLERANCE, Constraint
from photovax.attack.recipe import Recipe
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded
from photovax.metrics.distortion import Visibility, visibility
from photovax.metrics.latent import LatentEffect, latent_effect
from photovax.metrics.visibility import VIEWING, VisibleDifference, visible_difference
from photovax.models.contracts import Autoencoder
from photovax.pictures.atomic import write_text
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo
from photovax.pictures.rights import forbids_training
from photovax.tensors import tensor
from photovax.version import VERSION

__all__ = [
    "Immunized",
    "Saved",
    "Saver",
    "check_promises",
    "measured",
    "write_record",
]


class Saver(Protocol):
    """Writes and measures answers; see ``photovax.immunizer.Immunizer``."""

    def save(self, result: Immunized, path: str | Path, *, overwrite: bool = False) -> Saved:
        """Write the photo, verify it, measure it, and write its record beside it."""
        ...


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
        seconds: Time that it took.
        saver: What made it, with its models loaded, and saves it.
        reached: Whether the strength is what was aimed at; if not, it is the recipe's.
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
    saver: Saver = field(repr=False)
    reached: bool = True

    @property
    def image(self) -> Image.Image:
        """The immunized photo as a Pillow image, with its colour profile, EXIF and XMP."""
        return self.photo.to_image()

    def save(self, path: str | Path, *, overwrite: bool = False) -> Saved:
        """Write and verify the photo, and its record beside it; see ``Immunizer.save``."""
        return self.saver.save(self, path, overwrite=overwrite)

    @property
    def largest(self) -> int:
        """Largest change of any visible channel, in 8-bit levels."""
        before, after = self.original.visible(), self.photo.visible()
        return int(np.abs(after.astype(np.int16) - before).max())


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
        after, before = (tensor(photo.visible()) for photo in (reopened, given))
        size = result.constraint.size(after, before).item()
        if size > 1 + TOLERANCE:
            broken = f"{size:.4f} of the budget"
    if broken is not None:
        raise BudgetExceeded(f"the saved file would have {broken}; nothing was kept")


def measured(
    result: Immunized,
    destination: Destination,
    models: Sequence[Autoencoder],
    device: torch.device,
    *,
    memory: int | None,
) -> Saved:
    """Measure a written file, whose pixels are those of ``result.photo``.

    Args:
        result: The answer.
        destination: Where it was written.
        models: The models on which to measure the effect.
        device: Their device.
        memory: Memory limit of the process in bytes; all that the system has left when None.
    """
    before, after = result.original.visible(), result.photo.visible()
    return Saved(
        path=destination.path,
        record=destination.record,
        visible=visibility(before, after),
        seen=visible_difference(before, after, memory=memory),
        effects={
            model.name: latent_effect(
                model, before, after, device, size=result.recipe.size or model.size
            )
            for model in models
        },
    )


def write_record(
    result: Immunized,
    saved: Saved,
    digests: Mapping[str, str],
    device: torch.device,
    destination: Destination,
) -> None:
    """Write how a photo was made beside it; a separate file, since the photo should not tell.

    Args:
        result: The answer.
        saved: Its saved file.
        digests: SHA-256 of each attacked model's weights, by the model's name.
        device: The device that it was made on.
        destination: Where the photo was written.
    """
    record = {
        "photovax": VERSION,
        "photo": saved.path.name,
        "sha256": file_digest(saved.path),
        "recipe": asdict(result.recipe),
        "recipe_digest": result.recipe.digest(),
        "models": [{"name": name, "sha256": digest} for name, digest in digests.items()],
        "budget": asdict(result.recipe.budget),
        "realised": saved.visible.figures() | saved.seen.figures() | {"viewing": VIEWING},
        "effects": {name: asdict(effect) for name, effect in saved.effects.items()},
        "loss": result.loss,
        "steps": result.steps,
        "passes": result.passes,
        "bfloat16_steps": result.quick_steps,
        "stopped": result.stopped,
        "seconds": round(result.seconds, 3),
        "device": str(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
        },
        "notes": list(result.original.notes),
    }
    text = json.dumps(record, indent=1) + "\n"
    write_text(text, saved.record, overwrite=destination.overwrite)


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        # WebP drops an alpha that is opaque everywhere, which shows the same picture.
        there = second if first is None else first
        return there is None or bool((there == 255).all())
    return np.array_equal(first, second)
