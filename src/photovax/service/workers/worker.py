"""A worker: a process that does jobs from the table, one after another.

It reads its settings as one line from standard input, and ends when standard input closes: with
the service, however that ends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from photovax.errors import PhotovaxError
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.logs import say
from photovax.service.settings import Settings
from photovax.service.workers.doing import AGAIN, POLL, do_here, work

__all__ = ["UNABLE", "pack", "run", "unpack"]

UNABLE = b"!"
"""What a worker says whose models cannot be loaded."""
_LOAD_AGAIN = 60.0


_PATHS = ("data", "weights", "sign_key", "sign_chain")
_TUPLES = ("recipes", "hosts", "origins")
_PATH_TUPLES = ("networks",)


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


def run(settings: Settings, worker: str, warm: int) -> None:
    """Do jobs until the process ends.

    Args:
        settings: The service's.
        worker: Name of the worker in the table of jobs.
        warm: File descriptor, closed when the models are loaded; ``UNABLE`` is written to it when
            they cannot be.
    """
    from photovax.service.workers.bench import Bench

    me, jobs = f"worker {worker}", Jobs(settings.jobs, settings.pictures)
    bench = Bench(settings)
    do = partial(do_here, bench, jobs.pictures)
    loading = _Loading(bench.warm, me, warm)
    while True:
        loading.go_on()
        try:
            job = jobs.claim(worker, settings.lease_seconds, attempts=settings.attempts)
            if job is None:
                time.sleep(POLL)
                continue
            began = time.monotonic()
            end = work(do, jobs, job, worker, settings.lease_seconds)
            say(me, f"{job.kind} attempt {job.attempt}: {end}, {time.monotonic() - began:.1f} s")
        except Unreachable as error:
            say(me, str(error))
            time.sleep(AGAIN)


class _Loading:
    """Loads the models, and tries again where it cannot; jobs that need them fail meanwhile."""

    def __init__(self, load: Callable[[], None], me: str, pipe: int) -> None:
        self._load, self._me, self._pipe = load, me, pipe
        self._next: float | None = 0.0

    def go_on(self) -> None:
        if self._next is None or time.monotonic() < self._next:
            return
        try:
            self._load()
        except PhotovaxError as error:
            if not self._next:
                say(self._me, error.line)
                os.write(self._pipe, UNABLE)
            self._next = time.monotonic() + _LOAD_AGAIN
        else:
            os.close(self._pipe)
            self._next = None


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
