"""One photo of an evaluation: its pixels and masks, and random noise of a given size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from photovax.attack.rounding import round_within
from photovax.digests import file_digest
from photovax.errors import UsageError
from photovax.evaluation.plan import Asked, Floor, mask_of
from photovax.evaluation.store import PhotoStore
from photovax.pictures.already import said_by
from photovax.pictures.masks import read_mask, repainted
from photovax.pictures.photo import Photo, read_photo
from photovax.tensors import tensor

__all__ = ["FLOOR_SEED", "Subject", "noise_like"]

FLOOR_SEED = 11


@dataclass(frozen=True, eq=False)
class Subject:
    """A photo with its mask and its stored results.

    Attributes:
        path: File of the photo.
        digest: SHA-256 of the file.
        photo: Contents of the file.
        kept: The subject according to the mask file, bool (H, W); None without a mask.
        store: Stored figures and files.
    """

    path: Path
    digest: str
    photo: Photo
    kept: np.ndarray | None
    store: PhotoStore

    @classmethod
    def load(cls, path: Path, folder: Path) -> Subject:
        """Read a photo and its mask file, where there is one.

        Args:
            path: The photo.
            folder: Folder of the results of all photos.

        Raises:
            PhotoError: If the photo or mask cannot be read.
            UsageError: If the photo is immunized already, or the mask has another size or marks
                nothing.
        """
        photo = read_photo(path)
        if (why := said_by(path, photo)) is not None:
            raise UsageError(f"{path}: is immunized, as {why} says; evaluate the original alone")
        digest = file_digest(path)
        beside = mask_of(path)
        kept = read_mask(beside, photo) if beside.exists() else None
        if kept is not None and not kept.any():
            raise UsageError(f"{beside}: nothing is white: make the subject white, or remove it")
        store = PhotoStore(folder / f"{path.stem}-{digest[:8]}")
        return cls(path, digest, photo, kept, store)

    @cached_property
    def pixels(self) -> np.ndarray:
        """The photo as editors see it, uint8 (H, W, 3)."""
        return self.photo.visible_rgb()

    @property
    def seed(self) -> int:
        """Seed of purifications of this photo, the same for all recipes and their noise."""
        return int(self.digest[:8], 16)

    def repaint(self, asked: Asked) -> np.ndarray | None:
        """The region that an adversary repaints, bool (H, W); None without such a region."""
        if asked.edit.mode != "inpaint":
            return None
        if asked.mask == "everything":  # which needs no mask
            return np.ones((self.photo.height, self.photo.width), dtype=bool)
        return None if self.kept is None else repainted(self.kept, asked.mask)

    def mask(self) -> np.ndarray:
        """The subject, bool (H, W).

        Raises:
            UsageError: If there is no mask.
        """
        if self.kept is None:
            raise UsageError(f"{self.path}: there is no mask {mask_of(self.path).name} next to it")
        return self.kept

    def mask_digest(self) -> str | None:
        """SHA-256 of the mask; None without a mask."""
        if self.kept is None:
            return None
        return hashlib.sha256(np.packbits(self.kept).tobytes()).hexdigest()


def noise_like(pixels: np.ndarray, floor: Floor, mask: np.ndarray | None = None) -> np.ndarray:
    """A uint8 picture with random noise of the floor's size, always the same.

    Args:
        pixels: uint8 (H, W, C).
        floor: Which noise; that of a budget of what is seen has the frequencies of the recipe.
        mask: bool (H, W); only there is noise, which then has the floor's whole size.
    """
    constraint = floor.constraint
    if floor.side is not None:
        height, width = pixels.shape[:2]
        constraint = constraint.fitted(height, width, floor.side)
    if mask is not None:
        constraint = constraint.within(torch.from_numpy(mask)[None, None])
    origin = tensor(pixels)
    x = constraint.sample(origin, torch.Generator().manual_seed(FLOOR_SEED))
    for _ in range(20):  # since a mask and clipping to [0, 1] shorten a change
        size = constraint.size(x, origin).item()
        if size > 0.999:
            break
        x = constraint.project(torch.lerp(origin, x, 1 / size).clamp_(0, 1), origin)
    return round_within(x, origin, constraint)[0].permute(1, 2, 0).numpy()
