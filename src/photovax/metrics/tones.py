"""Filters over a whole picture (brightness, contrast, saturation …), fitted to a copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Tone", "find_tone"]

_FILTERED = 4.0  # squared levels; of less, a change of all colours cannot be told from rounding
_HALF = 0.5
_SAMPLE = 50_000  # pixels
_KNOTS = np.linspace(0, 255, 18)
# The share of each knot in each level: curves are straight between knots.
_SHARES = np.stack([np.interp(np.arange(256), _KNOTS, row) for row in np.eye(len(_KNOTS))], axis=1)


@dataclass(frozen=True, eq=False)
class Tone:
    """A change of all colours: each channel becomes a sum of curves of all channels.

    So it follows curves of each channel (brightness, contrast, gamma, warmth) and mixtures of them
    (saturation, hue, sepia), but not what depends on the place, as a vignette.

    Attributes:
        curves: What each level of each channel adds to the new channels, (C, 256, C) in levels.
    """

    curves: np.ndarray

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Do the same to a picture, uint8 (H, W, C)."""
        made: np.ndarray = self.curves[0][pixels[..., 0]]
        for channel in range(1, len(self.curves)):
            made += self.curves[channel][pixels[..., channel]]
        rounded: np.ndarray = made.round().clip(0, 255).astype(np.uint8)
        return rounded


def find_tone(before: np.ndarray, copy: np.ndarray) -> Tone | None:
    """The filter that explains a copy best; None if a linear one explains less than half.

    Filters do, and so do immunizations that draw a photo to grey.

    Args:
        before: The original as the copy was before the filter, uint8 (H, W, C).
        copy: The copy, of the same shape.
    """
    channels = copy.shape[2]
    every = -(-copy.size // channels // _SAMPLE)
    first, second = (each.reshape(-1, channels)[::every] for each in (before, copy))
    wanted = second.astype(float)
    error = float(np.square(wanted - first).mean())
    if error < _FILTERED:
        return None
    mixed = np.hstack([first, np.ones((len(first), 1))])
    left = wanted - mixed @ _fit(mixed, wanted)
    if float(np.square(left).mean()) > _HALF * error:
        return None
    shares = np.hstack([_SHARES[first[:, channel]] for channel in range(channels)])
    heights = _fit(shares, wanted).reshape(channels, len(_KNOTS), channels)
    return Tone((_SHARES @ heights).astype(np.float32))


def _fit(given: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The factors by which columns of ``given`` add up to those of ``wanted``, least squares."""
    factors: np.ndarray = np.linalg.lstsq(given, wanted, rcond=None)[0]
    return factors
