"""A run's photos on the actors of a Ray cluster, or of one that is started on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from photovax.batch.actors import LOCAL, Actors, Hosted, Places
from photovax.batch.order import Order
from photovax.batch.outcome import Outcome, Progress, Show
from photovax.batch.plan import Task
from photovax.batch.processes import Load, load_work, lost
from photovax.batch.queue import STARTS, Queue
from photovax.errors import PhotovaxError, first_line

__all__ = ["LOCAL", "Cluster"]

_GLANCE = 1.0
"""Seconds after which the progress of photos is asked for."""
_PATIENCE = 600.0
"""Seconds in which the first worker must have loaded its models."""


class _Photos:
    """What the actors of a run host: the work on one photo after another."""

    def __init__(self, order: Order, load: Load) -> None:
        self._work = load(order, 1)
        self.digests = self._work.digests

    def do(self, task: Task, see: Callable[[Progress], None]) -> Outcome:
        self._work.use(1)  # a setting of the thread, and Ray calls in several
        outcome: Outcome = self._work.do(task, lambda _, progress: see(progress))
        return outcome


def _photos(order: Order, load: Load, places: Places) -> Hosted:
    return _Photos(order.moved(places), load)


class _Worker:
    """A place for one actor after another.

    Attributes:
        actor: The present one; None once given up.
        call: Reference of the answer that is waited for; None while it has nothing to do.
        task: Photo that it works on; None while it has none or loads its models.
    """

    def __init__(self) -> None:
        self.actor: Any = None
        self.call: Any = None
        self.task: Task | None = None
        self.failed_starts = 0


class Cluster:
    """Works on several photos at a time, each in an actor of Ray with models of its own.

    An actor takes one core, or one GPU where the cluster has some and the device allows them. One
    that ends by itself, as when it is killed, its machine is lost or memory runs out, is replaced,
    and its photo is given to another one once.

    Args:
        order: What is asked of every photo. Its models and weights are looked for on the machine
            of each actor.
        address: Address of the cluster, such as ``10.0.0.1:6379`` or ``auto``; ``LOCAL`` to start
            one on this machine, which ends with the run.
        count: Number of actors; None for as many as the cluster has room for.
        most: Largest useful number of actors; None if it is not known.
        load: Function that loads the models, in each actor.

    Attributes:
        digests: SHA-256 of all weights that decide a result: those attacked, and networks.

    Raises:
        UsageError: If Ray is not installed.
        PhotovaxError: If there is no cluster at the address, or a model cannot be loaded.
    """

    def __init__(
        self,
        order: Order,
        address: str,
        count: int | None,
        most: int | None,
        load: Load = load_work,
    ) -> None:
        self._workers: list[_Worker] = []
        self._why = ""
        wanted = None if count is None else min(count, most or count)
        make = partial(_photos, order, load)
        self._actors = Actors(address, order.device, make, order.files(), wanted)
        self._ray = self._actors.ray
        try:
            places = count or self._actors.room
            self._workers = [_Worker() for _ in range(max(1, min(places, most or places)))]
            for worker in self._workers:
                self._start(worker)
            self.digests: list[str] = []
            self._await_first()
        except BaseException:
            self.close()
            raise

    def run(self, tasks: Iterable[Task], show: Show | None) -> Iterator[Outcome]:
        """See ``Runner.run``."""
        queue = Queue(tasks)
        while True:
            self._give(queue)
            if queue.empty and not any(worker.task for worker in self._workers):
                return
            calls = {worker.call: worker for worker in self._workers if worker.call is not None}
            if not calls:
                raise self._none_left()
            ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=_GLANCE)
            if not ready:
                self._show(show)
            for call in ready:
                worker = calls[call]
                if worker.task is None:
                    self._welcome(worker)
                    continue
                outcome = self._heard(worker, queue)
                if outcome is not None:
                    # Given first: no worker waits for what is done with the outcome.
                    self._give(queue)
                    yield outcome

    def close(self) -> None:
        """See ``Runner.close``."""
        for worker in self._workers:
            self._end(worker)
        self._workers = []
        self._actors.close()

    def _none_left(self) -> PhotovaxError:
        return PhotovaxError(f"no worker of the cluster could load its models: {self._why}")

    def _start(self, worker: _Worker) -> None:
        (worker.actor, worker.call), worker.task = self._actors.start(), None

    def _end(self, worker: _Worker) -> None:
        if worker.actor is not None:
            self._actors.end(worker.actor)
        worker.actor = worker.call = worker.task = None

    def _await_first(self) -> None:
        """Wait until one worker is ready, so that what cannot be loaded is told."""
        while not self.digests:
            calls = {worker.call: worker for worker in self._workers if worker.call is not None}
            if not calls:
                raise self._none_left()
            ready, _ = self._ray.wait(list(calls), num_returns=1, timeout=_PATIENCE)
            if not ready:
                raise PhotovaxError(
                    f"no worker of the cluster started within {_PATIENCE:.0f} s",
                    hint="`ray status` says what the cluster has room for",
                )
            for call in ready:
                self._welcome(calls[call])

    def _welcome(self, worker: _Worker) -> None:
        """Take the first answer of an actor: that its models are loaded, or why not.

        Raises:
            PhotovaxError: If they cannot be loaded, and no other worker's were.
        """
        try:
            digests = self._actors.loaded(worker.call)
            if self.digests and digests != self.digests:
                raise PhotovaxError(
                    "two workers of the cluster have different weights of a model",
                    hint="install the same weights on each machine",
                )
        except (PhotovaxError, self._ray.exceptions.RayError) as error:
            # Before any worker is ready all are alike; later one machine must not end the run.
            if isinstance(error, PhotovaxError) and not self.digests:
                raise
            self._end(worker)
            self._why = first_line(getattr(error, "cause", None) or error)
            worker.failed_starts += 1
            if worker.failed_starts < STARTS:
                self._start(worker)
            return
        worker.failed_starts, worker.call = 0, None
        self.digests = digests

    def _give(self, queue: Queue) -> None:
        """Give a photo to each worker that has nothing to do."""
        for worker in self._workers:
            if worker.actor is not None and worker.call is None:
                task = queue.take()
                if task is None:
                    return
                worker.task, worker.call = task, worker.actor.do.remote(task)

    def _heard(self, worker: _Worker, queue: Queue) -> Outcome | None:
        """Take the answer of a worker; None if its photo is to be done again."""
        task, call = worker.task, worker.call
        assert task is not None  # noqa: S101 - asked only of those that work
        try:
            outcome: Outcome = self._actors.answer(call)
        except self._ray.exceptions.RayError as error:
            self._end(worker)
            self._start(worker)
            return None if queue.put_back(task) else lost(task, type(error).__name__)
        worker.task = worker.call = None
        return outcome

    def _show(self, show: Show | None) -> None:
        """Ask the workers how far they are; those that do not answer at once are left out."""
        if show is None:
            return
        asked = {
            worker.actor.progress.remote(): worker.task for worker in self._workers if worker.task
        }
        ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=_GLANCE)
        for call in ready:
            with suppress(self._ray.exceptions.RayError):
                progress = self._ray.get(call)
                if progress is not None:
                    show(asked[call], progress)
