"""Conversion between ComfyUI's batches and arrays of single pictures.

An IMAGE is float32 (N, H, W, C) in [0, 1]; a MASK is float32 (N, H, W) or (H, W), and 1 marks what
an editor repaints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from photovax.errors import UsageError
from photovax.tensors import pixels_of, tensor

__all__ = ["batch_of", "kept_in", "pairs", "pictures_of"]

_MARKED = 0.5

Each = TypeVar("Each")


def pictures_of(images: Tensor) -> list[np.ndarray]:
    """The pictures of an IMAGE, uint8 (H, W, C).

    Values slightly out of range, as resampling leaves them, are clipped.

    Raises:
        UsageError: If a value is not finite.
    """
    if not images.isfinite().all():
        raise UsageError("the picture has values that are not finite; its decoder failed")
    return [pixels_of(each.movedim(-1, 0)[None]) for each in images.float()]


def batch_of(pictures: Sequence[np.ndarray], like: Tensor) -> Tensor:
    """An IMAGE of pictures of one size, uint8 (H, W, C), on the device of another."""
    return torch.cat([tensor(each, like.device).movedim(1, -1) for each in pictures])


def kept_in(mask: Tensor | None, count: int) -> list[np.ndarray | None]:
    """The pixels of each picture that an editor keeps, bool (H, W); None where none are marked.

    Loaders give a small empty mask with a picture that has none, so an empty one counts as no mask.

    Args:
        mask: A MASK, with one mask for all pictures or one for each.
        count: Number of pictures.

    Raises:
        UsageError: If there are neither one mask nor as many as pictures.
    """
    if mask is None:
        return [None] * count
    marked = [each.cpu().numpy() >= _MARKED for each in mask.reshape(-1, *mask.shape[-2:])]
    kept = [~each if each.any() else None for each in marked]
    return _repeated(kept, count, "mask")


def pairs(images: Tensor, originals: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures and their originals, from a batch of originals or one original for all.

    Raises:
        UsageError: If there are neither one original nor as many as pictures.
    """
    after = pictures_of(images)
    before = _repeated(pictures_of(originals), len(after), "original")
    return list(zip(after, before, strict=True))


def _repeated(some: list[Each], count: int, name: str) -> list[Each]:
    if len(some) not in (1, count):
        raise UsageError(f"{len(some)} {name}s for {count} pictures: give one, or one for each")
    return some * count if len(some) == 1 else some
