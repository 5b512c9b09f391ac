"""How far a descent has come, and the best image that it has met."""

from __future__ import annotations

import time
from collections import deque

import torch
from torch import Tensor

__all__ = ["Best", "Clock"]


class Clock:
    """How far a descent is: by steps, or by time where seconds are given.

    By time, ``spare`` is the number of steps whose time is kept for the end.
    """

    def __init__(self, steps: int, seconds: float | None, *, spare: float) -> None:
        self.steps, self.seconds, self.spare = steps, seconds, spare
        self._began = time.perf_counter()

    def progress(self, index: int) -> float:
        """The share that is gone before a step, from 0 to 1."""
        if self.seconds is None:
            return index / self.steps
        return min(1.0, (time.perf_counter() - self._began) / self.seconds)

    def over(self, index: int) -> bool:
        """Whether another step like those before would be too many."""
        return index > 0 and index >= self.expected(index)

    def expected(self, index: int) -> int:
        """The number of steps in all, as far as is known after ``index`` of them."""
        if self.seconds is None:
            return self.steps
        each = (time.perf_counter() - self._began) / index
        return max(index, int(self.seconds / each - self.spare))


class Best:
    """The image with the lowest mean loss over the steps of a window that ends with it."""

    def __init__(self, window: int, steps: int) -> None:
        self.window = window
        self.x: Tensor | None = None
        self.losses: Tensor | None = None
        self._recent: deque[Tensor] = deque(maxlen=window)
        # The best image before the steps are short is never the best at the end: no copies until
        # then.
        self._from = 0 if window == 1 else steps // 2
        self._changed = 0

    def see(self, index: int, x: Tensor, losses: Tensor) -> None:
        """Remember the images of a batch that are better than before."""
        self._recent.append(losses)
        if len(self._recent) < self.window:
            self._changed = index  # nothing is known of progress yet
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
        """The number of steps since the last improvement by 0.1 %."""
        return steps - 1 - self._changed
