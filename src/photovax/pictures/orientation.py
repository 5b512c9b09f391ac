"""Pictures turned upright."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["upright"]


def upright(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation.

    Args:
        array: Pixels, (H, W) or (H, W, C).
        orientation: EXIF's number, 1 to 8.
    """
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
