"""Displays that photos are looked at on, and how large a photo is there to the eye."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["FULL_HD", "UHD_4K", "Display"]


@dataclass(frozen=True)
class Display:
    """A display and how far away it is.

    Attributes:
        name: What ColorVideoVDP calls it.
        width: In pixels, which are square.
        height: In pixels.
        inches: Length of the diagonal.
        distance: Distance of the eye, in metres.
    """

    name: str
    width: int
    height: int
    inches: float
    distance: float

    @property
    def pixels_per_degree(self) -> float:
        """Pixels in a degree of the field of view, in the middle of the display."""
        pixel = self.inches * 0.0254 / math.hypot(self.width, self.height)
        return 1 / (2 * math.degrees(math.atan(pixel / 2 / self.distance)))

    def scale(self, height: int, width: int) -> float:
        """Pixels of the display for one of a photo of these sides, shown whole: 1 at most."""
        short, long = sorted((height, width))
        return min(1.0, self.height / short, self.width / long)


FULL_HD = Display("standard_fhd", 1920, 1080, 24, 0.6)
UHD_4K = Display("standard_4k", 3840, 2160, 30, 0.7472)
