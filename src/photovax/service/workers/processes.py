"""Workers that are processes of this machine."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

from photovax.machine.memory import available_bytes, peak_resident_bytes, resident_bytes
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.logs import say
from photovax.service.settings import Settings
from photovax.service.workers.room import lacking_bytes, worker_bytes
from photovax.service.workers.worker import UNABLE, pack

__all__ = ["Processes"]

_LONGEST_PAUSE = 60.0
_SHORT_OF_MEMORY = 5.0


@dataclass
class _Worker:
    """One worker process, or the pause before the next one."""

    name: str = ""
    process: subprocess.Popen[str] | None = None
    pipe: FileIO | None = None
    began: float = 0.0
    pause: float = 0.5
    again: float = 0.0
    able: bool | None = None

    @property
    def alive(self) -> bool:
        """Whether it runs, and has not said that its models cannot be loaded."""
        process = self.process  # another thread may replace it
        return process is not None and process.poll() is None and self.able is not False

    def listen(self) -> None:
        """Find out whether its models are loaded: it closes its end of the pipe then."""
        said = None if self.pipe is None or self.able else self.pipe.read(1)
        if said is not None:
            self.able = said != UNABLE


class Processes:
    """A crew of processes, as many as memory is large enough for; see ``Crew``.

    Args:
        settings: The service's.
        jobs: Its table of jobs.
    """

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self._settings, self._jobs = settings, jobs
        self._workers = [_Worker() for _ in range(settings.workers or 1)]
        self._peak = 0
        self._short = False

    @property
    def names(self) -> list[str]:
        """See ``Crew.names``."""
        return [worker.name for worker in self._workers]

    @property
    def alive(self) -> int:
        """See ``Crew.alive``."""
        return sum(worker.alive for worker in self._workers)

    def open(self) -> None:
        """See ``Crew.open``; they run on this machine."""

    def tend(self) -> None:
        """See ``Crew.tend``."""
        for process in self._running:
            self._peak = max(self._peak, peak_resident_bytes(process.pid))
        for worker in self._workers:
            worker.listen()
            self._tend(worker)

    def end(self, names: Sequence[str]) -> None:
        """See ``Crew.end``."""
        for worker in self._workers:
            if worker.name in names and worker.process is not None:
                self._kill(worker)

    def stop(self) -> None:
        """See ``Crew.stop``."""
        self.end(self.names)

    @property
    def _running(self) -> list[subprocess.Popen[str]]:
        return [worker.process for worker in self._workers if worker.process is not None]

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
        if any(each.able is None for each in self._workers if each.process is not None):
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
        worker.process = worker.pipe = worker.able = None
        with suppress(Unreachable):  # then its lease ends by itself
            self._jobs.release(worker.name, spare=not died)
