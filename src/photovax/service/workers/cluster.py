"""Workers that are actors of a Ray cluster.

The service claims a job for each actor that has nothing to do, keeps its lease, and notes its end.
So actors need neither the table of jobs nor the service's folder: pictures come from the store, and
keys and register with each job, in memory.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from photovax.attack.presets import PRESETS
from photovax.batch.actors import Actors, Hosted, Make, Places
from photovax.errors import PhotovaxError, UsageError, first_line
from photovax.service.jobs.job import Job, LostJob, Unreachable
from photovax.service.jobs.pictures import open_pictures
from photovax.service.jobs.table import Jobs
from photovax.service.logs import say
from photovax.service.settings import Settings
from photovax.service.workers.doing import AGAIN, POLL, End, Tick, do_here, failure, work
from photovax.service.workers.provider import SIGNED, Provider

__all__ = ["Cluster", "hosted"]

_GLANCE = 0.3
"""Seconds after which the progress of a job is asked for."""
_ALIVE = 2.0
"""Seconds without a job after which an actor is asked whether it is there."""
_PATIENCE = 5.0
"""Seconds that an actor has to stop working on a job that was cancelled."""
_LONGEST_PAUSE = 60.0


class _Bench:
    """What an actor hosts: models and keys, and the work on one job after another."""

    digests: Sequence[str] = ()  # the register has them, and they are compared with it

    def __init__(self, settings: Settings, provider: Provider, places: Places) -> None:
        from photovax.service.workers.bench import Bench  # imports PyTorch

        # Logs of libraries may hold a prompt.
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        self._recipes = {str(path): str(place) for path, place in places.items()}
        given = settings.pictures
        if isinstance(given, Path) and not given.is_dir():
            raise UsageError(
                f"a worker of the cluster has no folder {given}",
                hint="give --store URL, or mount the folder on each machine",
            )
        self._pictures = open_pictures(given)
        self._provider = provider
        settings = replace(
            settings,
            recipe=self._at(settings.recipe),
            networks=tuple(places[file] for file in settings.networks),
        )
        self._bench = Bench(settings, lambda _: self._provider)
        self._bench.warm()

    def do(self, asked: tuple[Job, Provider], see: Callable[[Any], None]) -> End:
        import torch

        torch.set_num_threads(1)  # a setting of the thread, and Ray calls in several
        job, self._provider = asked
        recipe = job.parameters.get("recipe")
        parameters = job.parameters | {"recipe": recipe and self._at(recipe)}
        job = replace(job, parameters=parameters)
        return do_here(self._bench, self._pictures, job, lambda *at: see(at))

    def _at(self, recipe: str) -> str:
        return self._recipes.get(str(Path(recipe)), recipe)


def hosted(settings: Settings, provider: Provider, places: Places) -> Hosted:
    """Load the models in an actor."""
    return _Bench(settings, provider, places)


@dataclass
class _Desk:
    """A place for one actor after another.

    Attributes:
        name: Name of the present actor in the table of jobs.
        actor: The present one; None while there is none.
        ready: Whether its models are loaded.
        ended: Whether it was ended from here.
        thread: Thread that serves it.
    """

    name: str = ""
    actor: Any = None
    ready: bool = False
    ended: bool = False
    thread: threading.Thread | None = None


class Cluster:
    """A crew of actors, each served by a thread of this process; see ``Crew``.

    Args:
        settings: The service's.
        jobs: Its table of jobs.
        address: Address of the cluster; see ``Actors``.
        make: Function of settings, keys and places of files that loads the models in an actor.
    """

    def __init__(
        self,
        settings: Settings,
        jobs: Jobs,
        address: str,
        make: Callable[[Settings, Provider, Places], Hosted] = hosted,
    ) -> None:
        self._settings, self._jobs, self._address, self._make = settings, jobs, address, make
        self._actors: Actors | None = None
        self._desks: list[_Desk] = []
        self._stop = threading.Event()

    @property
    def names(self) -> list[str]:
        """See ``Crew.names``."""
        return [desk.name for desk in self._desks]

    @property
    def alive(self) -> int:
        """See ``Crew.alive``."""
        return sum(desk.ready for desk in self._desks)

    def open(self) -> None:
        """See ``Crew.open``."""
        settings = self._settings
        named = [Path(each) for each in (settings.recipe, *settings.recipes)]
        recipes = [path for path in named if str(path) not in PRESETS]
        files = {path: path.read_bytes() for path in (*recipes, *settings.networks)}
        there = replace(settings, data=settings.data.resolve(), database=None)
        make: Make = partial(self._make, there, Provider.of(settings, signs=False))
        count = settings.workers
        self._actors = Actors(self._address, settings.device, make, files, count)
        self._desks = [_Desk() for _ in range(count or max(1, self._actors.room))]

    def tend(self) -> None:
        """See ``Crew.tend``."""
        for desk in self._desks:
            if desk.thread is None and self._actors is not None:
                desk.thread = threading.Thread(
                    target=self._serve, args=(desk, self._actors), daemon=True
                )
                desk.thread.start()

    def end(self, names: Sequence[str]) -> None:
        """See ``Crew.end``."""
        for desk in self._desks:
            actor = desk.actor
            if self._actors is not None and actor is not None and desk.name in names:
                desk.ended = True
                self._actors.end(actor)

    def stop(self) -> None:
        """See ``Crew.stop``."""
        self._stop.set()
        self.end(self.names)
        for desk in self._desks:
            if desk.thread is not None:
                desk.thread.join(_PATIENCE)
        if self._actors is not None:
            self._actors.close()
            self._actors = None

    def _serve(self, desk: _Desk, actors: Actors) -> None:
        """Have jobs done by one actor after another, until ``stop``."""
        pause = 0.5
        while not self._stop.is_set():
            died = True
            try:
                desk.name, desk.ended = secrets.token_hex(8), False
                desk.actor, call = actors.start()
                self._await(actors, call)
                actors.loaded(call)
                pause, desk.ready = 0.5, True
                self._give_jobs(desk, actors)
            except _Ended:
                died = False
            except Exception as error:  # noqa: BLE001 - of Ray, whose classes are not imported
                if not desk.ended and not self._stop.is_set():
                    known = isinstance(error, PhotovaxError)
                    say(f"worker {desk.name}", first_line(error) if known else _named(error))
            actor, desk.actor, desk.ready = desk.actor, None, False
            if actor is not None:
                actors.end(actor)
            spare = desk.ended or self._stop.is_set() or not died
            with suppress(Unreachable):  # then its lease ends by itself
                self._jobs.release(desk.name, spare=spare)
            if not self._stop.wait(0 if desk.ended else pause):
                # A worker that ends at once, such as without a model, restarts less often.
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _await(self, actors: Actors, call: Any) -> None:
        """Wait for an answer.

        Raises:
            _Ended: If the service stops.
        """
        while not actors.ray.wait([call], timeout=_GLANCE)[0]:
            if self._stop.is_set():
                raise _Ended

    def _give_jobs(self, desk: _Desk, actors: Actors) -> None:
        """Claim one job after another for an actor, and have it done there."""
        settings, seen = self._settings, time.monotonic()
        while not self._stop.is_set():
            try:
                if time.monotonic() - seen > _ALIVE:  # else its end would cost a job an attempt
                    actors.answer(desk.actor.progress.remote())
                    seen = time.monotonic()
                job = self._jobs.claim(
                    desk.name, settings.lease_seconds, attempts=settings.attempts
                )
                if job is None:
                    self._stop.wait(POLL)
                    continue
                began, what = time.monotonic(), f"{job.kind} attempt {job.attempt}"
                try:
                    do = partial(self._do, desk, actors)
                    end = work(do, self._jobs, job, desk.name, settings.lease_seconds)
                except actors.ray.exceptions.RayError:
                    if not desk.ended and not self._stop.is_set():
                        say(f"worker {desk.name}", f"{what}: its worker died")
                    raise
                seen = time.monotonic()
                say(f"worker {desk.name}", f"{what}: {end}, {seen - began:.1f} s")
            except Unreachable as error:
                say(f"worker {desk.name}", str(error))
                self._stop.wait(AGAIN)

    def _do(self, desk: _Desk, actors: Actors, job: Job, tick: Tick) -> End:
        """Have a job done by an actor.

        Raises:
            LostJob: If the job was lost on the way.
            _Ended: If the service stops, or the actor does not stop the work on a lost job.
            Exception: One of Ray's, if the actor died.
        """
        try:
            provider = Provider.of(self._settings, job.kind in SIGNED)
        except Exception as error:  # noqa: BLE001 - the worker is not to blame
            return failure(error)
        call = desk.actor.do.remote((job, provider))
        try:
            while not actors.ray.wait([call], timeout=_GLANCE)[0]:
                if self._stop.is_set():
                    raise _Ended
                tick(*_progress(actors, desk.actor))
        except LostJob:
            desk.actor.stop.remote()
            if not actors.ray.wait([call], timeout=_PATIENCE)[0]:
                raise _Ended from None  # and another actor is started
            raise
        end: End = actors.answer(call)
        return end


class _Ended(Exception):
    """An actor is not needed any longer."""


def _progress(actors: Actors, actor: Any) -> tuple[int, int]:
    """The number of steps that an actor has done, and in all; 0 if it does not say at once."""
    call = actor.progress.remote()
    if not actors.ray.wait([call], timeout=_GLANCE)[0]:
        return 0, 0
    told: tuple[int, int] | None = actors.answer(call)
    return told or (0, 0)


def _named(error: Exception) -> str:
    """What became of an actor, in a line that holds nothing of its job."""
    cause = getattr(error, "cause", None)
    return f"ended: {type(cause or error).__name__}"
