"""Sizes at which photos are fed to models, and the resize that editors do."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from photovax.pictures.channels import as_image

__all__ = ["fed_sides", "fitting_sides", "resized", "resized_to", "share_in_rotation"]


def fed_sides(
    height: int, width: int, short: int, *, ratio: float = 4.0, multiple: int = 8
) -> tuple[int, int]:
    """Height and width, in pixels, at which a picture is fed to a model.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        short: Short side that it is resized to, in pixels.
        ratio: Largest long side, in short sides; a longer picture is squeezed.
        multiple: Number that sides are rounded to a multiple of, at least once.
    """
    scale = short / min(height, width)
    tall, wide = (
        max(1, round(min(side * scale, ratio * short) / multiple)) * multiple
        for side in (height, width)
    )
    return tall, wide


def share_in_rotation(height: int, width: int, angle: float) -> float:
    """Share of each side that is left where a rotated picture is cropped to its proportions.

    It is the largest rectangle of these proportions without an empty corner.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        angle: Angle of the rotation, in radians, from -pi / 2 to pi / 2.
    """
    cos, lean = math.cos(angle), abs(math.sin(angle))
    return min(width / (width * cos + height * lean), height / (width * lean + height * cos))


def fitting_sides(height: int, width: int, most_height: int, most_width: int) -> tuple[int, int]:
    """Height and width, in pixels, of a picture that is shrunk to fit into a box.

    Args:
        height: Height of the picture, in pixels.
        width: Width of the picture, in pixels.
        most_height: Height of the box, in pixels.
        most_width: Width of the box, in pixels.

    Returns:
        Sides of the picture's proportions, at least 1; its own if it fits.
    """
    scale = min(1.0, most_height / height, most_width / width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(pixels: np.ndarray, size: int, *, multiple: int = 8) -> Image.Image:
    """A picture resized by Lanczos to a short side of ``size`` pixels, as common tools do.

    The long side is at most four times the short one.

    Args:
        pixels: uint8 (H, W, 1 or 3).
        size: Short side, in pixels.
        multiple: Number that sides are rounded to a multiple of.

    Returns:
        An RGB image.
    """
    height, width = pixels.shape[:2]
    return resized_to(pixels, *fed_sides(height, width, size, multiple=multiple))


def resized_to(pixels: np.ndarray, height: int, width: int) -> Image.Image:
    """A picture resized likewise to a height and width, in pixels.

    Args:
        pixels: uint8 (H, W, 1 or 3).
        height: Height of the result.
        width: Width of the result.

    Returns:
        An RGB image.
    """
    picture = as_image(pixels).convert("RGB")
    return picture.resize((width, height), Image.Resampling.LANCZOS)
