"""The progress of a descent, and the best image so far."""

from __future__ import annotations

import time
from collections import deque

import torch
from torch import Tensor

__all__ = ["Best", "Clock"]


class Clock:
    """The progress of a descent, by number of steps or by time.

    Args:
        steps: Number of steps.
        seconds: Time limit in seconds, used instead of ``steps``; no limit when None.
        spare: Number of steps whose time is reserved for the final scoring.
    """

    def __init__(self, steps: int, seconds: float | None, *, spare: float) -> None:
        self.steps, self.seconds, self.spare = steps, seconds, spare
        self._began = time.perf_counter()

    def progress(self, index: int) -> float:
        """The share of steps or time that has passed before a step, in [0, 1]."""
        if self.seconds is None:
            return index / self.steps
        return min(1.0, (time.perf_counter() - self._began) / self.seconds)

    def over(self, index: int) -> bool:
        """Whether the descent ends before step ``index``; it never ends before the first."""
        return index > 0 and index >= self.expected(index)

    def expected(self, index: int) -> int:
        """The total number of steps, estimated after ``index`` steps where time is limited."""
        if self.seconds is None:
            return self.steps
        each = (time.perf_counter() - self._began) / index
        return max(index, int(self.seconds / each - self.spare))


class Best:
    """The best image so far: the one with the lowest moving average of the loss.

    Args:
        window: Number of steps in the moving average, which ends with the image's own step.
        steps: Number of steps of the descent; 0 where it is not known.

    Attributes:
        x: Best images so far (N, C, H, W); None before there are any.
        losses: Lowest moving averages of the loss (N,); None before there are any.
    """

    def __init__(self, window: int, steps: int) -> None:
        self.window = window
        self.x: Tensor | None = None
        self.losses: Tensor | None = None
        self._recent: deque[Tensor] = deque(maxlen=window)
        # Images from before the steps get short are never the best at the end, so the first half of
        # the steps copies none.
        self._from = 0 if window == 1 else steps // 2
        self._changed = 0

    def see(self, index: int, x: Tensor, losses: Tensor) -> None:
        """Keep the images of a batch whose moving average of the loss is the lowest so far.

        Args:
            index: Number of the step, from 0.
            x: Images (N, C, H, W).
            losses: Losses (N,) of the images.
        """
        self._recent.append(losses)
        if len(self._recent) < self.window:
            self._changed = index  # no moving average yet
            return
        mean = torch.stack(list(self._recent)).mean(0)
        if self.losses is None:
            better, margin = torch.ones_like(mean, dtype=torch.bool), True
        else:
            better = mean < self.losses
            margin = bool((mean < self.losses - 1e-3 * self.losses.abs()).any())
        if margin:
            self._changed = index
        self.losses = mean if self.losses is None else torch.where(better, mean, self.losses)
        if index < self._from or not better.any():
            return
        if self.x is None:
            self.x = x.clone()
        else:
            self.x[better] = x[better]

    def stale(self, steps: int) -> int:
        """Number of steps since the last improvement by 0.1 %, after ``steps`` steps."""
        return steps - 1 - self._changed
