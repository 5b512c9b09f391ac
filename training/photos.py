"""Crops of photos for training and evaluation, read once and kept as uint8."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

MIDDLE = 256
"""Side in pixels of the squares that figures are measured on."""


def middle_square(picture: Image.Image) -> Image.Image:
    """The middle square of a picture, not resized."""
    left, top = (picture.width - MIDDLE) // 2, (picture.height - MIDDLE) // 2
    return picture.crop((left, top, left + MIDDLE, top + MIDDLE))


def photo_folder(split: str) -> Path:
    """The folder of ``train`` or ``eval`` photos below ``$PHOTOVAX_SHARED``."""
    return Path(os.environ.get("PHOTOVAX_SHARED", "../shared")) / "photos" / split


def photo_files(folder: Path) -> list[Path]:
    """Every ``*.jpg`` of a folder, by name."""
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise SystemExit(f"no *.jpg in {folder}; set PHOTOVAX_SHARED")
    return files


def load(folder: Path) -> list[Tensor]:
    """The photos of ``photo_files`` as uint8 tensors (3, H, W)."""
    pictures = (np.array(Image.open(file).convert("RGB")) for file in photo_files(folder))
    return [torch.from_numpy(picture).permute(2, 0, 1).contiguous() for picture in pictures]


class RandomCrops:
    """Batches of random crops, half of them scaled down, half of them mirrored.

    Scaled crops contain edges as sharp as those of a large photo that a model's pipeline resized.
    """

    def __init__(self, photos: list[Tensor], seed: int) -> None:
        self.photos = photos
        self.random = np.random.default_rng(seed)

    def batch(self, count: int, size: int) -> Tensor:
        """``count`` crops as float32 (count, 3, size, size) in [0, 1]."""
        return self.draw(count, size)[0]

    def draw(self, count: int, size: int) -> tuple[Tensor, list[int]]:
        """Crops as ``batch`` returns them, and the index of the photo of each."""
        chosen = [int(self.random.integers(len(self.photos))) for _ in range(count)]
        return torch.cat([self._crop(self.photos[index], size) for index in chosen]), chosen

    def _crop(self, photo: Tensor, size: int) -> Tensor:
        height, width = photo.shape[1:]
        side = size
        if self.random.random() < 0.5:
            side = int(self.random.integers(size, min(height, width), endpoint=True))
        top = int(self.random.integers(height - side, endpoint=True))
        left = int(self.random.integers(width - side, endpoint=True))
        crop = photo[None, :, top : top + side, left : left + side].float() / 255
        if side != size:
            crop = F.interpolate(crop, size=(size, size), mode="bilinear", antialias=True)
        return crop.flip(3) if self.random.random() < 0.5 else crop


def centre_crops(photos: list[Tensor], size: int) -> Tensor:
    """The middle square of each photo as float32 (N, 3, size, size) in [0, 1]."""
    crops = []
    for photo in photos:
        top, left = (photo.shape[1] - size) // 2, (photo.shape[2] - size) // 2
        crops.append(photo[:, top : top + size, left : left + size].float() / 255)
    return torch.stack(crops)
