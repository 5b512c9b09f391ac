"""Several processes that work on photos at the same time, on one machine."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from photovax.batch.order import Order
from photovax.batch.outcome import Outcome, Show
from photovax.batch.plan import Task
from photovax.batch.queue import STARTS, Queue
from photovax.errors import PhotovaxError, first_line
from photovax.machine.memory import available_bytes, peak_resident_bytes
from photovax.pictures.pillow import printable_name
from photovax.pictures.sample import SAMPLE

if TYPE_CHECKING:
    from photovax.batch.work import Work

__all__ = ["Load", "Processes", "load_work", "lost"]

_PATIENCE = 60.0
"""Seconds that a worker has to save a partial result."""


def load_work(order: Order, threads: int) -> Work:
    """Load the models of an order, to compute with so many threads, in a process of its own."""
    from photovax.batch.libraries import import_libraries

    import_libraries(metrics=order.sees)
    from photovax.batch.work import Work  # imports PyTorch, in the new process only

    work = Work(order)
    work.use(threads)
    return work


Load = Callable[[Order, int], Any]
"""A function of what is asked and a number of threads, which returns loaded models: what
``photovax.batch.work.Work`` is."""


def lost(task: Task, how: str) -> Outcome:
    """The outcome of a photo on which two workers ended."""
    name = printable_name(task.source)
    return Outcome.of_error(
        task,
        PhotovaxError(
            f"{name}: two workers ended on it ({how}), as when memory runs out",
            hint="try --workers 1, or a smaller --size",
        ),
    )


class _Worker:
    """A process with models of its own.

    Args:
        order: What is asked of every photo.
        threads: Number of threads that it computes with.
        load: Function that loads the models, in that process.

    Attributes:
        ready: Whether its models are loaded.
        task: Photo that it works on, or None.
        failed_starts: How often in a row its models could not be loaded.
    """

    def __init__(self, order: Order, threads: int, load: Load) -> None:
        self._asked = (order, threads, load)
        self.failed_starts = 0
        self._start()

    def _start(self) -> None:
        self.ready = False
        self.task: Task | None = None
        # A new process instead of a copy of this one, whose threads would be missing in it.
        context = mp.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *self._asked), daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, *question: Any) -> None:
        """Send a question; if the process has ended, that is seen with the answer."""
        with suppress(OSError):
            self.pipe.send(question)

    def answer(self) -> tuple[str, Any]:
        """The kind and content of the next answer.

        Raises:
            PhotovaxError: If the worker cannot load its models, or fails to time itself.
            EOFError: If it has ended, with the reason if it is known.
        """
        try:
            kind, content = self.pipe.recv()
        except (OSError, EOFError):
            raise EOFError("it ended, as when memory runs out") from None
        if kind == "ended":
            raise EOFError(content)
        if kind == "error":
            raise content
        if kind == "ready":
            self.ready, self.failed_starts = True, 0
        return kind, content

    def restart(self) -> int | None:
        """Start another process after this one has ended; returns how that ended."""
        self.process.join(2)  # its end of the pipe is closed first
        self.end()
        ended = self.process.exitcode
        self._start()
        return ended

    def end(self) -> None:
        """End the process."""
        self.pipe.close()  # which ends one that has nothing to do
        self.process.join(0 if self.task is not None and self.process.is_alive() else 2)
        self.process.kill()
        self.process.join()


def _answering(workers: Sequence[_Worker], seconds: float | None = None) -> list[_Worker]:
    """Wait until some of the workers have an answer; returns those, none after so many seconds."""
    pipes = {worker.pipe: worker for worker in workers}
    return [pipes[pipe] for pipe in wait(list(pipes), seconds) if pipe in pipes]


class Processes:
    """Works on several photos at a time, each in a process with models of its own.

    A worker that ends by itself, as when memory runs out, is replaced, and its photo is given to
    another one once. One that cannot load its models has no photo, and is given up after some
    starts.

    Args:
        order: What is asked of every photo.
        count: Number of processes.
        threads: Number of threads of each.
        load: Function that loads the models, in each process.

    Attributes:
        digests: SHA-256 of all weights that decide a result: those attacked, and networks.
        threads: Number of threads of each process.

    Raises:
        PhotovaxError: If a model cannot be loaded.
    """

    def __init__(self, order: Order, count: int, threads: int, load: Load = load_work) -> None:
        self._order, self._load, self.threads = order, load, threads
        self._why = ""
        self._workers = [_Worker(order, threads, load) for _ in range(count)]
        try:
            self.digests, self._device = self._first()
        except BaseException:
            self.close()
            raise

    def run(self, tasks: Iterable[Task], show: Show | None) -> Iterator[Outcome]:
        """See ``Runner.run``."""
        queue = Queue(tasks)
        try:
            while True:
                self._give(queue)
                if queue.empty and not any(worker.task for worker in self._workers):
                    return
                awaited = [each for each in self._workers if each.task or not each.ready]
                if not awaited:
                    raise PhotovaxError(f"no worker could load its models: {self._why}")
                for worker in _answering(awaited):
                    outcome = self._heard(worker, show, queue)
                    if outcome is not None:
                        # Given first: no worker waits for what is done with the outcome.
                        self._give(queue)
                        yield outcome
        except KeyboardInterrupt:
            if self._order.keep_partial:
                yield from self._partial(show)
            raise

    def _first(self) -> Any:
        """Wait until one worker is ready; returns the digests of its weights, and its device."""
        while self._workers:
            for worker in _answering(self._workers):
                try:
                    found = worker.answer()[1]
                except EOFError as error:
                    self._why = str(error)
                    worker.end()
                    self._workers.remove(worker)
                else:
                    return found
        raise PhotovaxError(f"a worker ended before its models were loaded: {self._why}")

    def fastest(self) -> tuple[int, int]:
        """Measure how many processes, with how many threads, get most done, and keep those.

        Each arrangement of one process a core, one for every two, and a single one takes two
        steps on a sample photo. There are no more processes than memory has room for, two where
        the system does not say how much that is, and a device other than a CPU is used by one.

        Returns:
            Number of processes, and of threads of each.

        Raises:
            PhotovaxError: If not even one process takes the steps.
        """
        every = self.threads * len(self._workers)
        try:
            found = {(1, every): self._rate(1, every)}
        except EOFError:
            raise PhotovaxError(
                "a worker ended while it was timed, as when memory runs out",
                hint="try --workers 1, or a smaller --size",
            ) from None
        peak, left = peak_resident_bytes(self._workers[0].process.pid or 0), available_bytes()
        most = every if self._device == "cpu" else 1
        most = min(most, 2 if left is None or not peak else 1 + left // peak)
        for count in dict.fromkeys((min(every, most), min(every // 2, most))):
            if count > 1:
                with suppress(EOFError, PhotovaxError):  # too many for this machine
                    found[count, every // count] = self._rate(count, every // count)
        count, self.threads = max(found, key=lambda arrangement: found[arrangement])
        self._resize(count)
        for worker in self._workers:
            worker.ask("threads", self.threads)
        return count, self.threads

    def close(self) -> None:
        """See ``Runner.close``."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def _resize(self, count: int) -> None:
        for worker in self._workers[count:]:
            worker.end()
        del self._workers[count:]
        self._workers += [
            _Worker(self._order, self.threads, self._load)
            for _ in range(count - len(self._workers))
        ]

    def _rate(self, count: int, threads: int) -> float:
        """Steps a second of so many processes together."""
        self._resize(max(count, len(self._workers)))
        asked = self._workers[:count]
        for worker in asked:
            worker.ask("time", threads)
        rate = 0.0
        try:
            for worker in asked:
                kind = ""
                while kind != "time":  # what comes before is that its models are loaded
                    kind, seconds = worker.answer()
                rate += 1 / seconds
        except (EOFError, PhotovaxError):
            self._resize(0)  # the others may yet answer
            raise
        return rate

    def _give(self, queue: Queue) -> None:
        """Give a photo to each worker that has nothing to do."""
        for worker in self._workers:
            if worker.ready and worker.task is None:
                worker.task = queue.take()
                if worker.task is None:
                    return
                worker.ask("do", worker.task)

    def _heard(self, worker: _Worker, show: Show | None, queue: Queue) -> Outcome | None:
        """Take an answer; returns an outcome if the worker is free for another photo."""
        task = worker.task
        try:
            kind, content = worker.answer()
        except (EOFError, PhotovaxError) as error:
            if task is None:  # it has no photo yet
                self._not_started(worker, str(error))
                return None
            code = worker.restart()
            return None if queue.put_back(task) else lost(task, f"exit code {code}")
        if kind == "progress" and task is not None and show is not None:
            show(task, content)
        if kind != "outcome":
            return None
        worker.task = None
        outcome: Outcome = content
        return outcome

    def _not_started(self, worker: _Worker, why: str) -> None:
        """Start a worker again that could not load its models, or give it up."""
        self._why = why
        worker.failed_starts += 1
        if worker.failed_starts < STARTS:
            worker.restart()
            return
        worker.end()
        self._workers.remove(worker)

    def _partial(self, show: Show | None) -> Iterator[Outcome]:
        """Interrupt the workers, and yield the results that they have until then."""
        for worker in self._workers:
            if worker.task is not None:
                worker.process.terminate()
        while busy := [worker for worker in self._workers if worker.task]:
            heard = _answering(busy, _PATIENCE)
            if not heard:
                return
            for worker in heard:
                try:
                    kind, content = worker.answer()
                except EOFError:
                    worker.task = None
                    continue
                if kind == "outcome":
                    worker.task = None
                    yield content


def _serve(pipe: Connection, order: Order, threads: int, load: Load) -> None:
    """The work of a process: photos and questions in, progress and outcomes out."""
    # Ctrl-C reaches every process of a terminal. The first one decides what it means, and
    # interrupts this one with SIGTERM if there is a result to keep.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        try:
            work = load(order, threads)
        except PhotovaxError as error:
            pipe.send(("error", error))
            return
        except (MemoryError, RuntimeError) as error:  # such as that of a GPU without room
            pipe.send(("ended", first_line(error)))
            return
        pipe.send(("ready", (work.digests, work.device)))
        while True:
            kind, content = pipe.recv()
            if kind == "do":
                told = work.do(content, lambda _, progress: pipe.send(("progress", progress)))
                pipe.send(("outcome", told))
                continue
            work.use(content)
            if kind == "time":
                try:
                    pipe.send(("time", work.step_seconds(SAMPLE)))
                except PhotovaxError as error:
                    pipe.send(("error", error))


def _end_with_parent() -> None:
    """End when the process that started this one ends, however that ends."""
    parent = mp.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
