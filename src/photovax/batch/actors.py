"""Actors of a Ray cluster, or of one that is started on this machine.

Ray is imported only here, and only when a cluster is asked for. Each actor has models of its own,
and is given one piece of work at a time, so nothing piles up. Ray could restart actors and repeat
their calls by itself; it is left to the caller, since work that ends every actor that takes it must
end a bounded number of them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from photovax.errors import PhotovaxError, UsageError, first_line
from photovax.extras import package
from photovax.machine.cores import cores
from photovax.machine.scratch import Scratch, remove_left_over
from photovax.version import VERSION

__all__ = ["LOCAL", "Actors", "Hosted", "Make", "OtherVersion", "Places", "Stopped"]

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which lasts as long as the run."""

_OBJECTS = 100 * 2**20
"""Bytes of Ray's store of objects on this machine, which holds no pictures."""

_FAREWELL = 2.0
"""Seconds that an actor has to delete its files before it is killed."""

_ANSWER = 10.0
"""Seconds in which a cluster must answer; Ray by itself tries for a quarter of an hour."""

Places = Mapping[Path, Path]
"""Where files are that were brought to an actor, by where they were."""


class Hosted(Protocol):
    """What an actor hosts: loaded models, and the work with them.

    Attributes:
        digests: SHA-256 of all weights that decide a result.
    """

    digests: Sequence[str]

    def do(self, asked: Any, see: Callable[[Any], None]) -> Any:
        """Do one piece of work.

        Args:
            asked: What is asked.
            see: Function to call with the progress; it raises ``Stopped`` to end the work.
        """


Make = Callable[[Places], Hosted]
"""A function that loads the models in an actor."""


class Stopped(PhotovaxError):
    """The work of an actor is not needed any longer."""


class OtherVersion(PhotovaxError):
    """An actor has another version of photovax."""


class Host:
    """What an actor is.

    Args:
        make: Function that loads the models.
        files: Contents of files that may not be on its machine, by their paths.
        folder: Folder that relative paths begin in, on machines that have it.
    """

    def __init__(self, make: Make, files: Mapping[Path, bytes], folder: str) -> None:
        with suppress(OSError):
            os.chdir(folder)
        remove_left_over()
        self._scratch = Scratch() if files else None
        self._places: dict[Path, Path] = {}
        for number, (path, content) in enumerate(files.items()):
            assert self._scratch is not None  # noqa: S101 - for the type checker
            place = self._scratch.path / f"{number}" / path.name
            place.parent.mkdir()
            place.write_bytes(content)
            self._places[path] = place
        self._make = make
        self._hosted: Hosted | None = None
        self._progress: Any = None
        self._stopped = False

    def load(self) -> tuple[str, list[str]]:
        """Load the models.

        Returns:
            The version of photovax, and the SHA-256 of all weights that decide a result.
        """
        try:
            self._hosted = self._make(self._places)
        except PhotovaxError as error:
            for path, place in self._places.items():
                error.args = (str(error).replace(str(place), str(path)),)
            raise
        return VERSION, list(self._hosted.digests)

    def do(self, asked: Any) -> Any:
        """Do one piece of work."""
        assert self._hosted is not None  # noqa: S101 - loaded before
        self._progress, self._stopped = None, False
        done = self._hosted.do(asked, self._see)
        if self._stopped:  # it may have failed for want of files
            raise Stopped("the work was stopped")
        return done

    def progress(self) -> Any:
        """How far the work is, while ``do`` is at it."""
        return self._progress

    def stop(self) -> None:
        """End the work at its next sign of progress."""
        self._stopped = True

    def close(self) -> None:
        """End the work, and delete the files; nothing else can be asked for."""
        self._stopped = True
        if self._scratch is not None:
            self._scratch.close()

    def _see(self, progress: Any) -> None:
        self._progress = progress
        if self._stopped:
            raise Stopped("the work was stopped")


class Actors:
    """A connection to a cluster, and the actors that are started there.

    An actor takes one core, or one GPU where the cluster has some and the device allows them.

    Args:
        address: Address of the cluster, such as ``10.0.0.1:6379`` or ``auto``; ``LOCAL`` to start
            one on this machine, which ends with ``close``.
        device: Device that the models are asked for on.
        make: Function that loads the models, in each actor.
        files: Contents of files that may not be on each machine, by their paths.
        count: Number of actors that are wanted; None for as many as there is room for.

    Attributes:
        ray: The module.
        room: Number of actors that the cluster has room for.

    Raises:
        UsageError: If Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self,
        address: str,
        device: str,
        make: Make,
        files: Mapping[Path, bytes],
        count: int | None = None,
    ) -> None:
        self.ray: Any = package("ray", install="photovax[cluster]", user="--cluster")
        self._started = not self.ray.is_initialized()
        if self._started:
            _connect(self.ray, address, count or 0)
        self._make = make
        self._leave_files = bool(files)
        # Put once, not once for each actor: networks have megabytes.
        self._files = self.ray.put(dict(files))
        self._options, self.room = _room(self.ray, device)

    def start(self) -> tuple[Any, Any]:
        """Start an actor; returns it, and the reference of the answer that it is loaded."""
        made = self.ray.remote(Host).options(max_concurrency=2, **self._options)
        actor = made.remote(self._make, self._files, os.getcwd())
        return actor, actor.load.remote()

    def end(self, actor: Any) -> None:
        """End an actor, whatever it does."""
        with suppress(Exception):  # lost already, with the connection to its cluster
            if self._leave_files:
                self.ray.wait([actor.close.remote()], timeout=_FAREWELL)
            self.ray.kill(actor)

    def loaded(self, call: Any) -> list[str]:
        """The digests of an actor whose models are loaded.

        Args:
            call: Reference that ``start`` returned.

        Raises:
            PhotovaxError: If they cannot be loaded.
            OtherVersion: If it has another version of photovax.
            Exception: One of Ray's, if the actor was lost.
        """
        version, digests = self.answer(call)
        if version != VERSION:
            raise OtherVersion(
                f"a worker of the cluster has photovax {version}, and this is {VERSION}"
            )
        return list(digests)

    def answer(self, call: Any) -> Any:
        """The answer of an actor.

        Raises:
            PhotovaxError: If that is what the actor raised.
            Exception: One of Ray's, if the actor was lost or raised something else.
        """
        try:
            return self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, PhotovaxError):
                raise error.cause from None
            raise

    def close(self) -> None:
        """End a cluster that was started here, and the connection to another one."""
        if self._started:
            self.ray.shutdown()


def _connect(ray: Any, address: str, workers: int) -> None:
    """Connect to a cluster, or start one.

    Raises:
        UsageError: If there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report on its use
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")  # 30 are few on a busy machine
    os.environ.setdefault("RAY_worker_niceness", "0")  # it is 15, and this is no background work
    # It prints to standard output when a worker is lost, which is told by the outcomes.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    asked: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        asked |= {
            "num_cpus": max(cores(), workers),
            "include_dashboard": False,
            "object_store_memory": _OBJECTS,
        }
    try:
        _knock(address)
    except (OSError, OverflowError) as error:  # the second of a port that is none
        raise _no_cluster(address, error) from error
    try:
        ray.init(**asked)
    except Exception as error:  # Ray has no class of its own for this
        ray.shutdown()
        raise _no_cluster(address, error) from error


def _knock(address: str) -> None:
    """Connect to an address with a port, and leave at once.

    Raises:
        OSError: If nothing answers there.
    """
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()


def _no_cluster(address: str, error: Exception) -> UsageError:
    return UsageError(
        f"--cluster {address}: cannot be connected to: {first_line(error)}",
        hint="give the address of `ray start`, such as 10.0.0.1:6379, or local",
    )


def _room(ray: Any, device: str) -> tuple[dict[str, int], int]:
    """What an actor takes of the cluster, and how many it has room for."""
    has = ray.cluster_resources()
    gpus = int(has.get("GPU", 0))
    if gpus and (device == "auto" or device.startswith("cuda")):
        return {"num_cpus": 1, "num_gpus": 1}, gpus
    return {"num_cpus": 1}, int(has.get("CPU", 1))
