"""The contract of purifiers, and their registry."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from photovax.registry import Registry

__all__ = ["PURIFIERS", "Purifier"]


class Purifier(Protocol):
    """A transformation of a picture that may remove an immunization.

    A maker that has a keyword ``device`` (``auto``, ``cpu``, ``cuda`` …) or ``weights`` (the folder
    of weight files, or None) receives it; other makers do not. A purifier that runs weights has an
    attribute ``digest``, their SHA-256, so that what it purified is known by it.
    """

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """Purify a picture.

        Args:
            pixels: uint8 (H, W, 3), RGB; not modified.
            seed: Seed of all random choices. On one machine the same seed gives the same picture.
                Purifiers without randomness ignore it.

        Returns:
            uint8 (h, w, 3), RGB, a new array. It has the size of the input unless the purifier's
            documentation says otherwise.
        """
        ...


PURIFIERS: Registry[Purifier] = Registry("purifier")
