"""The work on one job, here or elsewhere, and what becomes of it in the table of jobs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from photovax.batch.actors import Stopped
from photovax.errors import PhotovaxError
from photovax.service.failures import NO_MEMORY, NO_ROOM, kind_of, no_memory, no_room
from photovax.service.jobs.job import Job, LostJob, State, Unreachable
from photovax.service.jobs.pictures import Pictures, StoreUnreachable
from photovax.service.jobs.table import Jobs
from photovax.service.logs import UNEXPECTED, say, unexpected

__all__ = ["AGAIN", "POLL", "Do", "End", "Pulse", "Tick", "do_here", "failure", "work"]

POLL = 0.2
"""Seconds between looks for a job."""
AGAIN = 5.0
"""Seconds until a table or store that was out of reach is tried again."""
_BEAT = 0.4

Tick = Callable[[int, int], None]
"""Called with the number of steps done and in all; raises to stop the work."""


class _Bench(Protocol):
    def do(
        self, kind: str, folder: Path, output: Path, asked: dict[str, Any], tick: Tick
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class End:
    """The end of the work on a job, as plain data from any machine.

    Attributes:
        result: Result without its pictures; None after a failure.
        kind: Failure in a word for programs.
        message: Failure in words for people.
        label: Failure in a word for the log.
        trace: What the log says of an unexpected failure.
    """

    result: dict[str, Any] | None = None
    kind: str = ""
    message: str = ""
    label: str = ""
    trace: str = ""


Do = Callable[[Job, Tick], End]
"""Does a job, here or on another machine."""


class Pulse:
    """Stores progress and renews the lease from a thread, while the work goes on.

    The work itself cannot: a step on a large photo takes longer than a lease.
    """

    def __init__(self, jobs: Jobs, job: Job, worker: str, lease: float) -> None:
        self._jobs, self._job, self._worker, self._lease = jobs, job, worker, lease
        self._at = (0, 0)
        self._lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def tick(self, done: int, steps: int) -> None:
        """Record progress.

        Raises:
            LostJob: If the worker no longer has the job.
        """
        self._at = (done, steps)
        if self._lost:
            raise LostJob("lost while it was worked on")

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        # A short job may end before the first beat.
        with suppress(LostJob, Unreachable):
            self._jobs.progress(self._job, self._worker, self._lease, *self._at)

    def _beat(self) -> None:
        while not self._stop.wait(min(_BEAT, self._lease / 3)):
            try:
                self._jobs.progress(self._job, self._worker, self._lease, *self._at)
            except LostJob:
                self._lost = True
                return
            except Unreachable:
                continue  # it may return before the lease ends


def do_here(bench: _Bench, pictures: Pictures, job: Job, tick: Tick) -> End:
    """Do a job in this process.

    Args:
        bench: Models and keys.
        pictures: The pictures of all jobs.
        job: Job.
        tick: Called with the progress.

    Raises:
        LostJob: If ``tick`` does.
        Stopped: If ``tick`` does.
        Unreachable: If the store of pictures does not answer.
    """
    try:
        with pictures.work(job) as (folder, output):
            try:
                return End(bench.do(job.kind, folder, output, job.parameters, tick))
            except PhotovaxError as error:
                said = str(error)
                for each in (output, folder):  # names inside are enough
                    said = said.replace(f"{each}{os.sep}", "")
                error.args = (said.replace(str(folder), "the photo"),)
                raise
    except (LostJob, Stopped, Unreachable):
        raise
    except Exception as error:  # noqa: BLE001 - a failed job must not stop the next
        return failure(error)


def failure(error: Exception) -> End:
    """The end of a job that raised an error."""
    if isinstance(error, PhotovaxError):
        return End(kind=kind_of(error), message=str(error), label=kind_of(error))
    label = type(error).__name__
    if isinstance(error, OSError) and no_room(error):
        return End(None, *NO_ROOM, label)
    if no_memory(error):
        return End(None, *NO_MEMORY, label)
    return End(None, "internal", UNEXPECTED, label, unexpected(error))


def work(do: Do, jobs: Jobs, job: Job, worker: str, lease: float) -> str:
    """Do a job and note its end.

    Args:
        do: Function that does it.
        jobs: Table of jobs.
        job: Job that the worker has claimed.
        worker: Name of the worker in the table.
        lease: Seconds without a sign of life after which the worker counts as dead.

    Returns:
        The end in a word for the log.

    Raises:
        Unreachable: If table or pictures are out of reach.
    """
    try:
        with Pulse(jobs, job, worker, lease) as pulse:
            end = do(job, pulse.tick)
        if end.trace:
            say(f"worker {worker}", end.trace)
        if end.result is not None:
            jobs.finish(job, worker, end.result)
            return "done"
        jobs.fail(job, worker, end.kind, end.message)
        jobs.pictures.remove(job.id)
        return f"failed, {end.label}"
    except LostJob:
        pass
    except StoreUnreachable:
        with suppress(Unreachable):  # else its lease ends by itself
            jobs.release(worker, spare=True)
        raise
    # Any other Unreachable leaves unknown whether the end was stored. If not, the job is repeated
    # after its lease.
    now = jobs.get(job.id)
    # Done means done by another worker, whose pictures must stay.
    if now is None or (now.state.final and now.state is not State.DONE):
        jobs.pictures.remove(job.id)
    jobs.let_go(job, worker)
    return "lost"
