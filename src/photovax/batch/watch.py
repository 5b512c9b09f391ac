"""Photos that come into folders while they are watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from photovax.batch.plan import Plan, Task
from photovax.batch.storage import stamp_of
from photovax.errors import UsageError
from photovax.extras import package

__all__ = ["Watch"]

_QUIET = 2.0
"""Seconds for which size and time of change of a complete file stay as they are."""
_TICK = 1000
"""Milliseconds after which files that may be complete are looked at again."""
_AGAIN = 30.0
"""Seconds after which all folders are read again: systems report nothing that another machine
changes on a network share."""


class Watch:
    """Waits for photos, and tells those that are complete.

    Args:
        folders: Folders.
        recursive: Whether folders in folders are watched.
        clock: Time in seconds.

    Raises:
        UsageError: If the package that watches is missing, or a folder cannot be watched.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        recursive: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not folders:
            raise UsageError("there is no folder to watch: only photos are given")
        watchfiles = package("watchfiles", install="photovax[watch]", user="watching folders")
        self._changes: Iterator[set[object]] = watchfiles.watch(
            *folders,
            watch_filter=None,
            recursive=recursive,
            rust_timeout=_TICK,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        next(self._changes)  # it begins only now, and must see what comes from here on
        self._clock = clock
        self._looked = clock()
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._told: dict[str, tuple[int, int]] = {}
        self._failed: set[str] = set()
        self._growing = False

    def wait(self) -> None:
        """Wait until photos may have come, or become complete.

        Raises:
            KeyboardInterrupt: If interrupted.
        """
        for changes in self._changes:
            if changes or self._growing or self._clock() - self._looked > _AGAIN:
                return

    def settled(self, plan: Plan) -> Plan:
        """The part of a plan that is complete and was not told before.

        A photo that changes later is told again.
        """
        now = self._looked = self._clock()
        complete: list[Task] = []
        self._growing = False
        for task in plan.tasks:
            try:
                stamp = stamp_of(task.source)
            except OSError:  # gone since
                continue
            if self._told.get(task.source) == stamp:
                continue
            seen, since = self._seen.get(task.source, (None, now))
            if seen != stamp:
                self._seen[task.source] = (stamp, now)
                self._growing = True
            elif now - since < _QUIET:
                self._growing = True
            else:
                del self._seen[task.source]
                self._told[task.source] = stamp
                complete.append(task)
        failed = tuple(each for each in plan.failed if each[0] not in self._failed)
        self._failed.update(source for source, _ in plan.failed)
        return replace(plan, tasks=tuple(complete), failed=failed)
