"""Masks: the pixels of a photo that may change, and those that an editor may repaint.

A mask is a picture of the photo's size. White (brightness and opacity of 128 and above) marks the
subject, which an inpainting editor keeps while it repaints the rest, as in arXiv 2302.06588. Some
tools mark the region that is repainted instead; such masks are read with ``edit_region``.

Two more forms leave no doubt, and are read as they are meant. Of exactly two values, such as the
labels 0 and 1, the larger one is white. Paint of one brightness on a transparent layer, and a
coloured cut-out, mark where they are opaque.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from photovax.errors import UsageError
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.pillow import MAX_PIXELS, decoding, printable_name

__all__ = ["kept_by_any", "load_mask", "read_mask", "repainted", "white_of"]

_WHITE = 128
# Channels of a grey that was stored as a lossy JPEG differ by no more.
_GREY_SPREAD = 24


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
        UsageError: If its size is not the photo's, or it is not black but marks nothing.
    """
    # A photo that was accepted above the usual limit has a mask as large.
    most = max(MAX_PIXELS, photo.width * photo.height)
    mask = read_photo(path, max_pixels=most)
    if not mask.pixels.any():
        mask = _labelled(path, mask, most)
    white = white_of(mask, photo, name=f"mask {path}")
    return ~white if edit_region else white


def white_of(mask: Photo, photo: Photo, *, name: str) -> np.ndarray:
    """Where a mask is white and opaque, bool (H, W); see the head of this file for other forms.

    Raises:
        UsageError: If its size is not the photo's, or it is not black but marks nothing.
    """
    if (mask.height, mask.width) != (photo.height, photo.width):
        raise UsageError(
            f"{name} is {mask.width} x {mask.height} pixels, the photo "
            f"{photo.width} x {photo.height}; a mask needs the photo's size"
        )
    brightness = mask.pixels.mean(axis=2)
    if mask.alpha is None:
        marked = _upper(brightness)
    else:
        opaque = _upper(mask.alpha)
        painted = mask.pixels[opaque]
        bright = painted.mean(axis=1) >= _WHITE
        if not opaque.all() and (bright.all() or not bright.any() or _coloured(painted)):
            marked = opaque
        else:
            marked = opaque & (_upper(brightness) if opaque.all() else brightness >= _WHITE)
    if not marked.any() and (mask.alpha is not None or mask.pixels.any()):
        raise UsageError(f"{name} marks nothing: {_seen(mask, brightness)}")
    return marked


def repainted(kept: np.ndarray, region: str) -> np.ndarray:
    """The pixels that are repainted, bool (H, W).

    Args:
        kept: The subject, bool (H, W).
        region: A key of ``REGIONS``.
    """
    if region == "everything":
        return np.ones_like(kept)
    if region == "inverse":
        return kept
    if region == "dilated":
        return _grown(~kept, max(1, round(min(kept.shape) / 20)))
    repaint: np.ndarray = ~kept
    if region == "box" and kept.any():
        rows, columns = np.flatnonzero(kept.any(axis=1)), np.flatnonzero(kept.any(axis=0))
        repaint = np.ones_like(kept)
        repaint[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
    return repaint


def _grown(region: np.ndarray, reach: int) -> np.ndarray:
    """The pixels in whose square of 2 ``reach`` + 1 pixels a side there is one of a region."""
    for axis in (0, 1):
        size = region.shape[axis]
        counted = np.insert(np.cumsum(region, axis=axis, dtype=np.int32), 0, 0, axis=axis)
        at = np.arange(size)
        above = counted.take(np.minimum(at + reach + 1, size), axis=axis)
        region = above > counted.take(np.maximum(at - reach, 0), axis=axis)
    return region


def kept_by_any(kept: np.ndarray, regions: Iterable[str]) -> np.ndarray:
    """The pixels that are kept if one of some regions is repainted, bool (H, W).

    Args:
        kept: The subject, bool (H, W).
        regions: Keys of them.
    """
    some = np.zeros_like(kept)
    for region in regions:
        some |= ~repainted(kept, region)
    return some


def _labelled(path: Path, mask: Photo, most: int) -> Photo:
    """A mask that seems black, with the labels of 16 bits that are none in 8: 0 and 1."""
    with decoding(printable_name(path), most), Image.open(path) as image:
        deep = image.mode.startswith("I") and np.asarray(image)
    if deep is False or deep.shape != mask.pixels.shape[:2]:
        return mask
    return mask.with_pixels(np.minimum(deep, 255).astype(np.uint8)[..., None])


def _upper(plane: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a plane (H, W) is white, or has the larger one of exactly two values."""
    low, high = plane.min(), plane.max()
    two = low < high and bool(((plane == low) | (plane == high)).all())
    marked: NDArray[np.bool_] = plane == high if two else plane >= _WHITE
    return marked


def _coloured(pixels: NDArray[np.uint8]) -> bool:
    """Whether some pixels (N, 1 or 3) are coloured, so that their brightness means nothing."""
    return bool((np.ptp(pixels, axis=1) > _GREY_SPREAD).mean() > 0.01)


def _seen(mask: Photo, brightness: NDArray[Any]) -> str:
    """What was read of a mask that marks nothing, and what would mark."""
    share = (brightness > 0).mean()
    read = f"its largest value is {brightness.max():.0f} of 255, {share:.0%} of it are above 0"
    if mask.alpha is not None:
        read += f", its largest opacity is {mask.alpha.max()}"
    return f"{read}; white and opaque are {_WHITE} and above, or the larger of exactly two values"
