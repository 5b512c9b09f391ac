"""Is this the same picture, though another file? A hash that small changes leave as it is."""

from __future__ import annotations

import numpy as np
from PIL import Image

from photovax.pictures.channels import as_image

__all__ = ["SAME_PICTURE", "dhash", "distance"]

SAME_PICTURE = 10
"""Bits of 64 that may differ between two files of one picture; unrelated ones differ in 32."""


def dhash(pixels: np.ndarray) -> str:
    """The difference hash of a uint8 picture (H, W, C), sixteen hexadecimal digits.

    Each bit says whether brightness falls to the right, on a grid of 8 x 9 cells (N. Krawetz,
    "Kind of Like That", hackerfactor.com, 2013).
    """
    picture = as_image(pixels).convert("L")
    cells = np.asarray(picture.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    bits = np.packbits(cells[:, :-1] > cells[:, 1:])
    return bits.tobytes().hex()


def distance(first: str, second: str) -> int:
    """How many of the 64 bits of two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()
