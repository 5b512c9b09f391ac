"""The photos of a run that no worker has yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from photovax.batch.plan import Task

__all__ = ["STARTS", "Queue"]

STARTS = 3
"""Starts in a row that a worker may fail before it is given up."""


class Queue:
    """Photos that are drawn one by one, and those of lost workers, which come first.

    Args:
        tasks: Photos.

    Attributes:
        empty: Whether there are none left, as far as was asked.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(tasks)
        self._again = deque[Task]()
        self._lost = set[Task]()
        self.empty = False

    def take(self) -> Task | None:
        """The next photo; None if there is none left."""
        task = self._again.popleft() if self._again else next(self._tasks, None)
        self.empty = task is None
        return task

    def put_back(self, task: Task) -> bool:
        """Put the photo of a lost worker back, if that was the first; returns whether."""
        if task in self._lost:
            return False
        self._lost.add(task)
        self._again.append(task)
        self.empty = False
        return True
