"""Random crops of photos for training."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from photovax.errors import PhotovaxError, UsageError
from photovax.models.views import resize
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.types import PICTURE_SUFFIXES
from photovax.tensors import tensor

__all__ = ["PhotoCrops", "photos_in", "readable", "split"]

_KEPT = 750 * 2**20
"""Bytes of decoded photos that are kept: 1,700 of 480 x 320 pixels, 170 of 1,024 on the short
side."""

_LARGEST = 1024
"""Short side in pixels to which larger photos are shrunk when they are read."""


def photos_in(folder: Path) -> list[Path]:
    """The files below a folder whose suffix is that of a picture, without hidden ones, by name.

    Raises:
        UsageError: If it is no folder, or has fewer than two.
    """
    if not folder.is_dir():
        raise UsageError(f"photos must be in a folder, got {folder}")
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in PICTURE_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    if len(files) < 2:
        raise UsageError(f"training needs at least 2 photos, got {len(files)} in {folder}")
    return files


def split(files: Sequence[Path], *, held_out: int = 16) -> tuple[list[Path], list[Path]]:
    """Photos to train on, and photos held out to measure on.

    Args:
        files: Two photos or more.
        held_out: Every n-th photo by name is held out.
    """
    every = max(2, min(held_out, len(files) // 2))
    ordered = sorted(files)
    return [file for place, file in enumerate(ordered) if place % every], ordered[::every]


def readable(files: Sequence[Path], most: int = 8) -> list[Photo]:
    """The first photos that can be read.

    Raises:
        UsageError: If there is none.
    """
    found: list[Photo] = []
    for file in files:
        with suppress(PhotovaxError):
            found.append(read_photo(file))
        if len(found) == most:
            break
    if not found:
        raise UsageError(f"none of the {len(files)} photos held out can be read")
    return found


class PhotoCrops:
    """Random crops, half of them shrunk, half of them mirrored.

    Shrunk crops contain edges as sharp as those of a large photo that a model's pipeline resized.
    Photos that cannot be read are left out.

    Args:
        files: Photos.
        random: Source of all random choices.

    Attributes:
        random: Source of all random choices.
    """

    def __init__(self, files: Sequence[Path], random: np.random.Generator) -> None:
        self.random = random
        self._files = list(files)
        self._kept = dict[Path, np.ndarray]()
        self._room = _KEPT

    def batch(self, count: int, side: int) -> Tensor:
        """``count`` square crops as float32 (count, 3, side, side) in [0, 1].

        Raises:
            UsageError: If no photo can be read.
        """
        return torch.cat([self._crop(side) for _ in range(count)])

    def _crop(self, side: int) -> Tensor:
        levels = self._drawn()
        height, width = levels.shape[:2]
        short = min(height, width)
        cut = min(side, short)
        if self.random.random() < 0.5:
            cut = int(self.random.integers(cut, short, endpoint=True))
        top = int(self.random.integers(height - cut, endpoint=True))
        left = int(self.random.integers(width - cut, endpoint=True))
        crop = resize(tensor(levels[top : top + cut, left : left + cut]), side, side)
        return crop.flip(3) if self.random.random() < 0.5 else crop

    def _drawn(self) -> np.ndarray:
        """The pixels (H, W, 3) of a random photo that can be read."""
        while self._files:
            index = int(self.random.integers(len(self._files)))
            try:
                return self._levels(self._files[index])
            except PhotovaxError:
                del self._files[index]
        raise UsageError("training: none of the photos can be read")

    def _levels(self, file: Path) -> np.ndarray:
        if file in self._kept:
            return self._kept[file]
        levels = _decoded(file)
        # What is full stays so: photos are drawn alike, and any of them is as good to keep.
        if levels.nbytes <= self._room:
            self._room -= levels.nbytes
            self._kept[file] = levels
        return levels


def _decoded(file: Path) -> np.ndarray:
    """The visible colours of a photo as pixels (H, W, 3), at a short side of at most 1,024."""
    from photovax.tensors import pixels_of

    pixels = read_photo(file).visible()
    height, width = pixels.shape[:2]
    scale = _LARGEST / min(height, width)
    if scale < 1:
        pixels = pixels_of(resize(tensor(pixels), round(height * scale), round(width * scale)))
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
