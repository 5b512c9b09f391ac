"""Masks: the pixels of a photo that may change.

A mask is a picture of the photo's size. White (brightness and opacity of 128 and above) marks the
subject, which an inpainting editor keeps while it repaints the rest, as in arXiv 2302.06588. Some
tools mark the region that is repainted instead; such masks are read with ``edit_region``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from photovax.errors import UsageError
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.pillow import MAX_PIXELS

__all__ = ["load_mask", "read_mask", "white_of"]


def load_mask(path: Path, photo: Photo, *, edit_region: bool = False) -> np.ndarray:
    """The pixels that may change, bool (H, W), which are those that the editor keeps.

    Args:
        path: Picture of the photo's size. Its brightness counts; transparent pixels mark nothing.
        photo: Photo that it belongs to.
        edit_region: Whether white marks the region that the editor repaints, not the one it keeps.

    Raises:
        PhotoError: If the mask cannot be read.
        UsageError: If its size is not the photo's, or it leaves no pixel to change.
    """
    kept = read_mask(path, photo, edit_region=edit_region)
    if not kept.any():
        colour = "white" if edit_region else "black"
        raise UsageError(
            f"mask {path} is all {colour}: nothing is left to change",
            hint=f"use --{'keep' if edit_region else 'edit'}-region if it means the opposite",
        )
    return kept


def read_mask(path: Path, photo: Photo, *, edit_region: bool = False) -> np.ndarray:
    """The pixels that an inpainting editor keeps, bool (H, W); possibly none.

    Raises:
        PhotoError: If the mask cannot be read.
        UsageError: If its size is not the photo's.
    """
    # A photo that was accepted above the usual limit has a mask as large.
    most = max(MAX_PIXELS, photo.width * photo.height)
    white = white_of(read_photo(path, max_pixels=most), photo, name=f"mask {path}")
    return ~white if edit_region else white


def white_of(mask: Photo, photo: Photo, *, name: str) -> np.ndarray:
    """Where a mask is white and opaque, bool (H, W).

    Raises:
        UsageError: If its size is not the photo's.
    """
    if (mask.height, mask.width) != (photo.height, photo.width):
        raise UsageError(
            f"{name} is {mask.width} x {mask.height} pixels, the photo "
            f"{photo.width} x {photo.height}; a mask needs the photo's size"
        )
    white: np.ndarray = mask.visible().mean(axis=2) >= 128
    if mask.alpha is not None:  # transparent pixels mark nothing
        white &= mask.alpha >= 128
    return white
