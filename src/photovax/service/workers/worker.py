"""A worker: a process that does jobs from the table, one after another.

It reads its settings as one line from standard input, and ends when standard input closes: with
the service, however that ends.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from photovax.errors import PhotovaxError
from photovax.service.failures import NO_ROOM, kind_of, no_room
from photovax.service.jobs.job import Job, LostJob, State, Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.logs import UNEXPECTED, say, say_unexpected
from photovax.service.settings import Settings

__all__ = ["Pulse", "pack", "run", "unpack"]


_PATHS = ("data", "weights", "sign_key", "sign_chain")
_TUPLES = ("recipes", "hosts", "origins")
_PATH_TUPLES = ("networks",)
_POLL = 0.2
_BEAT = 0.4
_AGAIN = 5.0


def pack(settings: Settings) -> str:
    """Convert settings to one line."""
    return json.dumps(asdict(settings), default=str)


def unpack(line: str) -> Settings:
    """Convert such a line to settings."""
    data: dict[str, Any] = json.loads(line)
    for name in _PATHS:
        data[name] = data[name] and Path(data[name])
    data |= {name: tuple(data[name]) for name in _TUPLES}
    return Settings(**data | {name: tuple(map(Path, data[name])) for name in _PATH_TUPLES})


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


def run(settings: Settings, worker: str, warm: int) -> None:
    """Do jobs until the process ends.

    Args:
        settings: The service's.
        worker: Name of the worker in the table of jobs.
        warm: File descriptor, closed when the models are loaded.
    """
    from photovax.service.workers.bench import Bench

    jobs = Jobs(settings.jobs, settings.pictures)
    bench = Bench(settings)
    try:
        bench.warm()
    except PhotovaxError as error:  # jobs that need the model fail for the same reason
        say(_me(), error.line)
    os.close(warm)
    while True:
        try:
            job = jobs.claim(worker, settings.lease_seconds, attempts=settings.attempts)
            if job is None:
                time.sleep(_POLL)
                continue
            began = time.monotonic()
            end = _work(bench, jobs, job, worker, settings.lease_seconds)
            say(_me(), f"{job.kind} attempt {job.attempt}: {end}, {time.monotonic() - began:.1f} s")
        except Unreachable as error:
            say(_me(), str(error))
            time.sleep(_AGAIN)


def _work(bench: Any, jobs: Jobs, job: Job, worker: str, lease: float) -> str:
    folder = jobs.folder(job.id)
    try:
        with Pulse(jobs, job, worker, lease) as pulse:
            made = bench.do(job.kind, folder, jobs.output(job), job.parameters, pulse.tick)
        jobs.finish(job, worker, made)
        return "done"
    except LostJob:
        pass
    except Unreachable:
        # Whether the result was stored is unknown. If not, the job is repeated after its lease.
        raise
    except PhotovaxError as error:
        message = str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "the photo")
        if _failed(jobs, job, worker, kind_of(error), message):
            return f"failed, {kind_of(error)}"
    except Exception as error:  # noqa: BLE001 - a failed job must not stop the next
        if isinstance(error, OSError) and no_room(error):
            reason = NO_ROOM
        else:
            reason = ("internal", UNEXPECTED)
            say_unexpected(_me(), error)
        if _failed(jobs, job, worker, *reason):
            return f"failed, {type(error).__name__}"
    now = jobs.get(job.id)
    # Done means done by another worker, whose pictures must stay.
    if now is None or (now.state.final and now.state is not State.DONE):
        shutil.rmtree(folder, ignore_errors=True)
    jobs.let_go(job, worker)
    return "lost"


def _failed(jobs: Jobs, job: Job, worker: str, kind: str, message: str) -> bool:
    try:
        jobs.fail(job, worker, kind, message)
    except LostJob:
        return False
    shutil.rmtree(jobs.folder(job.id), ignore_errors=True)
    return True


def _me() -> str:
    return f"worker {os.getpid()}"


def _end_with_the_service() -> None:
    """End when standard input closes, and ignore signals that are meant for the service.

    Ctrl-C reaches every process of a terminal, and service managers send SIGTERM to a whole
    group. The service then ends its workers itself, so that their attempts do not count.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    # Logs of libraries may hold a prompt.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    given = unpack(sys.stdin.readline())
    _end_with_the_service()
    run(given, sys.argv[1], int(sys.argv[2]))
