"""Keeps the workers running and the table of jobs tidy, in a thread of the service."""

from __future__ import annotations

import fcntl
import math
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import TextIO

from photovax.errors import UsageError
from photovax.machine.memory import available_bytes, peak_resident_bytes, resident_bytes
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.logs import say
from photovax.service.settings import Settings
from photovax.service.workers.room import lacking_bytes, worker_bytes
from photovax.service.workers.worker import pack

__all__ = ["Supervisor"]

_ROUND = 0.25
_PATIENCE = 5.0
_LONGEST_PAUSE = 60.0
_SHORT_OF_MEMORY = 5.0
_EXPIRE = 1.0
_SWEEP = 600.0
_UPLOAD = 3600.0  # seconds; an upload in progress has changed its folder since


@dataclass
class _Worker:
    """One worker process, or the pause before the next one."""

    name: str = ""
    process: subprocess.Popen[str] | None = None
    pipe: FileIO | None = None
    began: float = 0.0
    pause: float = 0.5
    again: float = 0.0

    @property
    def warm(self) -> bool:
        """Whether its models are loaded: it closes its end of the pipe then."""
        return self.pipe is not None and self.pipe.read(1) == b""


class Supervisor:
    """The workers of one service.

    Args:
        settings: The service's.
        jobs: Its table of jobs.
    """

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings, self._jobs = settings, jobs
        self._workers = [_Worker() for _ in range(settings.workers)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._rounds, daemon=True)
        self._lock: TextIO | None = None
        self._expired = self._swept = -math.inf
        self._peak = 0
        self._short = False

    def claim(self) -> None:
        """Claim the folder for this service, until ``stop``; ``start`` does so, too.

        Raises:
            UsageError: If another service runs on the same folder with its own table of jobs.
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

    def start(self) -> None:
        """Release the jobs of an earlier run and start the workers.

        Raises:
            UsageError: If another service runs on the same folder with its own table of jobs.
        """
        self.claim()
        if not self._jobs.shared:  # else jobs and uploads may be other services'
            self._jobs.release_all()
            self._jobs.sweep()
        self._thread.start()

    def stop(self) -> None:
        """Stop the workers. Their jobs are repeated when the service starts again."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        for worker in self._workers:
            if worker.process is not None:
                self._kill(worker)
        if self._lock is not None:
            self._lock.close()

    @property
    def alive(self) -> int:
        """Number of running workers."""
        return sum(process.poll() is None for process in self._running)

    @property
    def _running(self) -> list[subprocess.Popen[str]]:
        return [worker.process for worker in self._workers if worker.process is not None]

    def _rounds(self) -> None:
        while not self._stop.wait(_ROUND):
            try:
                self._round()
            except (OSError, Unreachable) as error:  # such as a full disk; tried again
                say("service", type(error).__name__)

    def _round(self) -> None:
        for process in self._running:
            self._peak = max(self._peak, peak_resident_bytes(process.pid))
        for worker in self._workers:
            self._tend(worker)
        names = [worker.name for worker in self._workers]
        self._stop_those(self._jobs.deaf(names, _PATIENCE))
        late = self._jobs.overdue(names, self._settings.job_seconds)
        self._stop_those([name for _, name in late])
        for job, _ in late:
            shutil.rmtree(self._jobs.folder(job), ignore_errors=True)
        if (now := time.monotonic()) - self._expired > _EXPIRE:
            self._expired = now
            self._jobs.expire(self._settings.keep_seconds)
        if now - self._swept > _SWEEP:
            self._swept = now
            self._jobs.forget(self._settings.keep_seconds)
            self._jobs.sweep(_UPLOAD)

    def _tend(self, worker: _Worker) -> None:
        now = time.monotonic()
        if worker.process is not None and worker.process.poll() is not None:
            self._kill(worker)
            # A worker that ends at once, such as without a model, restarts less and less often.
            quick = now - worker.began < 2 * worker.pause + 5
            worker.pause = min(2 * worker.pause, _LONGEST_PAUSE) if quick else 0.5
            worker.again = now + worker.pause
        if worker.process is None and now >= worker.again and self._may_start(worker):
            self._spawn(worker)

    def _may_start(self, worker: _Worker) -> bool:
        """Whether memory is large enough for a worker; if not, it is tried later."""
        available = available_bytes()
        if available is None:
            return True
        if not all(each.warm for each in self._workers if each.process is not None):
            return False  # their memory is known when their models are loaded
        each = worker_bytes(self._peak, self._settings.max_pixels)
        held = [resident_bytes(process.pid) for process in self._running]
        lacking = lacking_bytes(available, each, held)
        if lacking:
            worker.again = time.monotonic() + _SHORT_OF_MEMORY
            if not self._short:
                say(
                    "service",
                    f"{len(held)} of {len(self._workers)} workers run; another may take "
                    f"{each / 2**30:.2f} GiB of memory, "
                    f"{lacking / 2**30:.2f} GiB more than is left",
                )
        self._short = lacking > 0
        return not lacking

    def _spawn(self, worker: _Worker) -> None:
        worker.name, worker.began = secrets.token_hex(8), time.monotonic()
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        worker.pipe = FileIO(ours)
        try:
            worker.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "photovax.service.workers.worker", worker.name, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)
        if worker.process.stdin is not None:
            with suppress(BrokenPipeError):  # it has ended; noticed in the next round
                worker.process.stdin.write(pack(self._settings) + "\n")
                worker.process.stdin.flush()

    def _stop_those(self, names: list[str]) -> None:
        for worker in self._workers:
            if worker.name in names and worker.process is not None:
                self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        """End a worker and release its job. The attempt counts if it had ended by itself."""
        if worker.process is None:
            return
        died = worker.process.poll() is not None
        worker.process.kill()
        worker.process.wait()
        if worker.process.stdin is not None:
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
        if worker.pipe is not None:
            worker.pipe.close()
        worker.process = worker.pipe = None
        with suppress(Unreachable):  # then its lease ends by itself
            self._jobs.release(worker.name, spare=not died)
