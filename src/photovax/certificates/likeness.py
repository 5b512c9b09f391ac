"""Recognises one picture in different files, by a hash that small changes do not alter."""

from __future__ import annotations

import numpy as np
from PIL import Image

from photovax.pictures.channels import as_image

__all__ = ["SAME_PICTURE", "dhash", "distance"]

SAME_PICTURE = 10
"""Largest distance of two files of one picture; unrelated pictures differ in 32 bits on average."""


def dhash(pixels: np.ndarray) -> str:
    """Return the difference hash of a uint8 picture (H, W, C) as sixteen hexadecimal digits.

    Each bit says whether brightness decreases to the right, on a grid of 8 x 9 cells (N. Krawetz,
    "Kind of Like That", hackerfactor.com, 2013).
    """
    picture = as_image(pixels).convert("L")
    cells = np.asarray(picture.resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    bits = np.packbits(cells[:, :-1] > cells[:, 1:])
    return bits.tobytes().hex()


def distance(first: str, second: str) -> int:
    """Number of the 64 bits in which two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()
