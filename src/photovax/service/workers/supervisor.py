"""Keeps the workers running, and the table of jobs and their pictures tidy.

Each has a thread of the service, since a store may take minutes to delete pictures, and workers
must be watched meanwhile.
"""

from __future__ import annotations

import fcntl
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from photovax.errors import UsageError
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.logs import say
from photovax.service.settings import Settings
from photovax.service.workers.processes import Processes

__all__ = ["Crew", "Supervisor"]

_ROUND = 0.25
_PATIENCE = 5.0
_EXPIRE = 1.0
_SWEEP = 600.0
_UPLOAD = 3600.0  # seconds; an upload in progress has changed its folder since


class Crew(Protocol):
    """The workers of a service, wherever they run."""

    @property
    def names(self) -> list[str]:
        """Names of the workers in the table of jobs."""

    @property
    def alive(self) -> int:
        """Number of running workers, but for those whose models cannot be loaded."""

    def open(self) -> None:
        """Find the machines of the workers.

        Raises:
            UsageError: If there is no cluster at the address.
        """

    def tend(self) -> None:
        """Start workers and replace those that ended; called all the time."""

    def end(self, names: Sequence[str]) -> None:
        """End the workers of these names, whatever they do."""

    def stop(self) -> None:
        """End all workers, and give back the attempts at their jobs."""


def _crew(settings: Settings, jobs: Jobs) -> Crew:
    if settings.cluster is None:
        return Processes(settings, jobs)
    from photovax.service.workers.cluster import Cluster  # only where it is asked for

    return Cluster(settings, jobs, settings.cluster)


class Supervisor:
    """The workers of one service.

    Args:
        settings: The service's.
        jobs: Its table of jobs.
    """

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings, self._jobs = settings, jobs
        self._crew = _crew(settings, jobs)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._rounds, args=each, daemon=True)
            for each in ((self._watch, _ROUND), (self._tidy, _EXPIRE))
        ]
        self._lock: TextIO | None = None
        self._late: deque[str] = deque()
        self._swept = -math.inf

    def claim(self) -> None:
        """Claim the folder and find the workers' machines; ``start`` does so, too.

        Raises:
            UsageError: If another service runs on the same folder with its own table of jobs, or
                there is no cluster at the address.
        """
        if self._lock is not None:
            return
        shared = self._jobs.shared
        lock = (self._settings.data / "serve.lock").open("a+")
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise UsageError(
                f"{self._settings.data} cannot be locked ({error.strerror}): another service may "
                "be running on it"
            ) from None
        self._lock = lock
        self._crew.open()

    def start(self) -> None:
        """Release the jobs of an earlier run and start the workers.

        Raises:
            UsageError: If another service runs on the same folder with its own table of jobs.
        """
        self.claim()
        if not self._jobs.shared:  # else jobs and uploads may be other services'
            self._jobs.release_all()
            self._jobs.sweep()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the workers. Their jobs are repeated when the service starts again."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._crew.stop()
        if self._lock is not None:
            self._lock.close()

    @property
    def alive(self) -> int:
        """Number of running workers, but for those whose models cannot be loaded."""
        return self._crew.alive

    def _rounds(self, do: Callable[[], None], pause: float) -> None:
        while not self._stop.wait(pause):
            try:
                do()
            except (OSError, Unreachable) as error:  # such as a full disk; tried again
                say("service", type(error).__name__)

    def _watch(self) -> None:
        self._crew.tend()
        names = self._crew.names
        late = self._jobs.deaf(names, _PATIENCE)
        late += self._jobs.overdue(names, self._settings.job_seconds)
        self._crew.end([name for _, name in late])
        self._late.extend(job for job, _ in late)

    def _tidy(self) -> None:
        self._jobs.pictures.remove_all([self._late.popleft() for _ in range(len(self._late))])
        self._jobs.expire(self._settings.keep_seconds)
        if (now := time.monotonic()) - self._swept > _SWEEP:
            self._swept = now
            self._jobs.forget(self._settings.keep_seconds)
            self._jobs.sweep(_UPLOAD)
