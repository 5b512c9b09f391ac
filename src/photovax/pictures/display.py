"""Displays on which photos are viewed, and the visual angle of their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["FULL_HD", "UHD_4K", "Display"]


@dataclass(frozen=True)
class Display:
    """A display and its viewing distance.

    Attributes:
        name: Name in ColorVideoVDP.
        width: Width in pixels, which are square.
        height: Height in pixels.
        inches: Length of the diagonal, in inches.
        distance: Distance of the eye, in metres.
    """

    name: str
    width: int
    height: int
    inches: float
    distance: float

    @property
    def pixels_per_degree(self) -> float:
        """Pixels per degree of visual angle, in the middle of the display."""
        pixel = self.inches * 0.0254 / math.hypot(self.width, self.height)
        return 1 / (2 * math.degrees(math.atan(pixel / 2 / self.distance)))

    def scale(self, height: int, width: int) -> float:
        """Display pixels per pixel of a photo with these sides that is shown whole; at most 1."""
        short, long = sorted((height, width))
        return min(1.0, self.height / short, self.width / long)


FULL_HD = Display("standard_fhd", 1920, 1080, 24, 0.6)
UHD_4K = Display("standard_4k", 3840, 2160, 30, 0.7472)
