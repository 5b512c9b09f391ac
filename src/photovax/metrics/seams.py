"""Visibility of seams between the tiles that a perturbation was made in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from photovax.models.views import Window

__all__ = ["seam_ratio"]


def seam_ratio(change: np.ndarray, windows: Sequence[Window]) -> float:
    """Mean absolute difference of neighbouring pixels across seams, relative to elsewhere.

    The ratio is 1 where seams are like any other place. Rows and columns are pooled, and a seam
    extends over the whole width or height.

    Args:
        change: Immunized minus original photo (H, W, C), signed.
        windows: Windows of the tiles, as ``Tiles.windows`` returns them.

    Returns:
        The ratio; NaN without seams, with nothing but seams, or without any change.
    """
    change = np.asarray(change, dtype=np.float32)
    across: list[float] = []
    elsewhere: list[float] = []
    for axis in (0, 1):
        starts = {(window.core_top, window.core_left)[axis] for window in windows} - {0}
        steps = np.abs(np.diff(change, axis=axis)).mean(axis=tuple({0, 1, 2} - {axis}))
        seam = np.isin(np.arange(1, len(steps) + 1), list(starts))
        across += steps[seam].tolist()
        elsewhere += steps[~seam].tolist()
    if not across or not sum(elsewhere):
        return float("nan")
    return float(np.mean(across) / np.mean(elsewhere))
