"""Random noise as large as the change of a photo, with which every effect is compared."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from photovax.checks.verdicts import FLOOR_SEEDS
from photovax.metrics.served import Step

__all__ = ["noise_after", "noisy", "with_noise"]

# Levels of noise at least where a filter was fitted: the error of a fit, a level or two over whole
# areas, moves latents further than noise of that size.
_FITTED = 6
_SIZED = 0.999  # quantile of changes that decides how large noise is; one pixel must not decide it


def noisy(pixels: np.ndarray, level: int, seed: int) -> np.ndarray:
    """uint8 pixels with uniform random noise of whole levels in [-level, level], clipped."""
    random = np.random.default_rng(seed)
    noise = random.integers(-level, level, pixels.shape, dtype=np.int16, endpoint=True)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def with_noise(pixels: np.ndarray, level: int) -> Callable[[int], np.ndarray]:
    """A function of a seed that returns the pixels with noise."""
    return lambda seed: noisy(pixels, level, seed)


def noise_after(
    step: Step, original: np.ndarray, before: np.ndarray, after: np.ndarray
) -> Callable[[int], np.ndarray]:
    """A function of a seed: the original with noise as large as a copy's change, after the step.

    Args:
        step: What was done to the copy.
        original: The original.
        before: The original after the step.
        after: The copy.
    """
    if not step.changes:
        return with_noise(original, int(np.abs(after.astype(np.int16) - before).max()))
    level = _level(step, original, before, after)
    return lambda seed: step(noisy(original, level, seed))


def _level(step: Step, original: np.ndarray, before: np.ndarray, after: np.ndarray) -> int:
    """The level of noise on the original that is as large after the step as a copy's change."""
    wanted = _size_of_change(before, after)

    def left(level: int) -> int:
        return _size_of_change(before, step(noisy(original, level, FLOOR_SEEDS[0])))

    # At least 1, or a change of few pixels would be compared with no noise at all.
    least = 1 if step.tone is None else _FITTED
    return max(least, bisect_left(range(256), wanted, key=left))


def _size_of_change(before: np.ndarray, after: np.ndarray) -> int:
    """The largest change, in levels, but for the largest 0.1 % of all changes."""
    changes = np.abs(after.astype(np.int16) - before)
    counts = np.cumsum(np.bincount(changes.ravel(), minlength=256))
    return int(np.searchsorted(counts, _SIZED * changes.size))
