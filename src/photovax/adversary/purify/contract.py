"""What all purifiers have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from photovax.registry import Registry

__all__ = ["PURIFIERS", "Purifier"]


class Purifier(Protocol):
    """Something done to a picture in the hope that it washes an immunization off.

    A maker that has a keyword ``device`` (``auto``, ``cpu``, ``cuda`` …) or ``weights`` (the folder
    of weight files, or None) is given it; others are made without.
    """

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """Purify a picture.

        Args:
            pixels: uint8 (H, W, 3), RGB; left as it is.
            seed: Of all that is random. On one machine the same seed gives the same picture;
                purifiers without randomness ignore it.

        Returns:
            uint8 (h, w, 3), RGB, in memory of its own; of the given size unless the purifier
            says otherwise.
        """
        ...


PURIFIERS: Registry[Purifier] = Registry("purifier")
