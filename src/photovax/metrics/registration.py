"""Finds the part of a photo that a resized or cropped copy shows, to a fraction of a pixel.

Matches of SIFT features (Lowe 2004, doi 10.1023/B:VISI.0000029664.99615.94) vote by RANSAC for a
scale and a position. Maximising the correlation of both pictures then makes these exact (ECC:
Evangelidis and Psarakis 2008, doi 10.1109/TPAMI.2008.113). Both are OpenCV's.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from photovax.errors import MetricUnavailable, UsageError
from photovax.extras import package
from photovax.pictures.channels import as_image

__all__ = ["Box", "alike", "find_box", "unmoved"]

_SIDE = 1024  # pixels; a larger copy is shrunk to it, and then the error grows with its size
_FEATURES = 3000
_DISTINCT = 0.75  # Lowe's ratio of distances to the nearest and to the second nearest feature
_MATCHES = 8  # least number that agree; of 29 pairs of different photos at most 4 did
_ROUNDS = 3  # of ECC, each from the box that the one before found
_LIKENESS = 0.8  # least correlation of a copy and its part of the original
_OFFSET = 16.0  # levels; photos without contrast, which correlate with nothing, differ by less
_CHANGE = 8.0  # levels; what an immunization or a compression changes is less
_ABOUT, _EXACTLY = 5.0, 0.5  # degrees that a copy may be turned, as features and as ECC see it


class Box(NamedTuple):
    """A rectangle of a picture: the positions of its edges, in pixels, which may be fractions."""

    left: float
    top: float
    right: float
    bottom: float

    def within(self, width: int, height: int) -> Box:
        """The part that lies in a picture of this size."""
        return Box(
            max(0.0, self.left),
            max(0.0, self.top),
            min(float(width), self.right),
            min(float(height), self.bottom),
        )


def find_box(copy: np.ndarray, original: np.ndarray) -> Box | None:
    """Find the part of a picture that a copy shows, whatever the copy's size.

    On 30 noisy photos in five JPEG copies each, edges were off by 0.11 pixels at most.

    Args:
        copy: Resized, cropped, recompressed or immunized copy, uint8 (h, w, 1 or 3).
        original: The whole picture, uint8 (H, W, 1 or 3).

    Returns:
        The part, which lies in the original; None if the copy shows another picture, or is
        mirrored, framed or distorted.

    Raises:
        UsageError: If the copy is turned or sheared.
        MetricUnavailable: If OpenCV is missing.
    """
    cv2 = package(
        "cv2",
        install="photovax[evaluate]",
        user="a copy that was resized or cropped",
        error=MetricUnavailable,
    )
    shown, whole = _shrunk(_grey(copy)), _grey(original)
    # A resize alone is tried, too: a sky has no features, and a squeezed copy other ones.
    starts = _matched(cv2, shown, whole), Box(0, 0, *map(float, whole.size))
    found = (_refined(cv2, np.asarray(shown), whole, start) for start in starts if start)
    return next((box for box in found if box is not None), None)


def alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two uint8 pictures (H, W, C) of one shape show the same, pixel upon pixel.

    They may be immunized, recompressed, or brighter, but not moved by more than a few pixels.
    """
    a, b = (np.asarray(_grey(each), dtype=np.float32) for each in (first, second))
    if np.square(a - b).mean() <= _OFFSET**2:
        return True
    spread = float(a.std() * b.std())
    return spread > 0 and float(((a - a.mean()) * (b - b.mean())).mean()) / spread >= _LIKENESS


def unmoved(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two pictures differ, pixel upon pixel, by no more than a small change does.

    Args:
        first: uint8 (H, W, C).
        second: Another one of the same height and width.
    """
    a, b = (np.asarray(_grey(each), dtype=np.float32) for each in (first, second))
    return bool(np.square(a - b).mean() <= _CHANGE**2)


def _matched(cv2: Any, shown: Image.Image, whole: Image.Image) -> Box | None:
    """The box by features, to about a pixel; None where too few agree."""
    small = _shrunk(whole)
    detector = cv2.SIFT_create(nfeatures=_FEATURES)
    (points, features), (targets, others) = (
        detector.detectAndCompute(np.asarray(each), None) for each in (shown, small)
    )
    if min(len(points), len(targets)) < _MATCHES:
        return None
    pairs = cv2.BFMatcher().knnMatch(features, others, k=2)
    kept = [near for near, far in pairs if near.distance < _DISTINCT * far.distance]
    if len(kept) < _MATCHES:
        return None
    affine, agreeing = cv2.estimateAffinePartial2D(
        np.array([points[each.queryIdx].pt for each in kept]),
        np.array([targets[each.trainIdx].pt for each in kept]),
        method=cv2.RANSAC,
        ransacReprojThreshold=2.0,
    )
    if affine is None or agreeing.sum() < _MATCHES:
        return None
    _check_upright(affine, _ABOUT)
    horizontal, vertical = whole.width / small.width, whole.height / small.height
    found = _moved(Box(0, 0, *map(float, shown.size)), affine)
    return Box(
        found.left * horizontal, found.top * vertical,
        found.right * horizontal, found.bottom * vertical,
    )  # fmt: skip


def _refined(cv2: Any, shown: np.ndarray, whole: Image.Image, box: Box) -> Box | None:
    """The box by correlation; None where the copy and its part of the original differ."""
    height, width = shown.shape
    likeness = 0.0
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-6)
    for _ in range(_ROUNDS):
        box = box.within(*whole.size)
        if min(box.right - box.left, box.bottom - box.top) < 1:
            return None
        part = whole.resize((width, height), Image.Resampling.LANCZOS, box=box)
        affine = np.eye(2, 3, dtype=np.float32)
        try:
            likeness, affine = cv2.findTransformECC(
                shown, np.asarray(part), affine, cv2.MOTION_AFFINE, stop, None, 5
            )
        except cv2.error:  # no maximum: the pictures have nothing in common
            return None
        if likeness >= _LIKENESS:
            _check_upright(affine, _EXACTLY)
        moved = _moved(Box(0, 0, width, height), affine)
        across, down = (box.right - box.left) / width, (box.bottom - box.top) / height
        box = Box(
            box.left + across * moved.left, box.top + down * moved.top,
            box.left + across * moved.right, box.top + down * moved.bottom,
        )  # fmt: skip
    return box.within(*whole.size) if likeness >= _LIKENESS else None


def _moved(box: Box, affine: np.ndarray) -> Box:
    """A box after a map (2, 3) of the centres of pixels, by the middles of its edges."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    ends = np.array([[box.left, box.right, x, x], [y, y, box.top, box.bottom]]) - 0.5
    moved = affine[:, :2] @ ends + affine[:, 2:] + 0.5
    return Box(float(moved[0, 0]), float(moved[1, 2]), float(moved[0, 1]), float(moved[1, 3]))


def _check_upright(affine: np.ndarray, most: float) -> None:
    turned = math.degrees(math.atan2(affine[1, 0], affine[0, 0]))
    sheared = math.degrees(math.atan2(-affine[0, 1], affine[1, 1]))
    if max(abs(turned), abs(sheared)) > most:
        raise UsageError(
            f"the copy is turned or sheared, by {turned:.1f} degrees, against the original",
            hint="turn it back, without resizing it",
        )


def _grey(pixels: np.ndarray) -> Image.Image:
    return as_image(pixels).convert("L")


def _shrunk(picture: Image.Image) -> Image.Image:
    """A picture with sides up to 1024 pixels."""
    shrunk = picture.copy()
    shrunk.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return shrunk
