"""Where the pictures of jobs are: a folder that all machines of a service see, or an object store.

Each job has a folder of its own: what was uploaded, and a folder ``out-N`` with the results of its
N-th attempt.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from photovax.batch.storage import Files, is_url, joined, without_slash
from photovax.errors import UsageError, first_line
from photovax.machine.scratch import Scratch, remove_left_over
from photovax.service.failures import no_room
from photovax.service.jobs.job import Job, Unreachable
from photovax.service.logs import say

__all__ = ["Bucket", "Folder", "Pictures", "StoreUnreachable", "open_pictures", "output_name"]

_ID = re.compile(r"[0-9a-f]{32}")


class StoreUnreachable(Unreachable):
    """The store of pictures cannot be read or written at present."""


class Pictures(Protocol):
    """The pictures of all jobs."""

    def draft(self, job: str) -> AbstractContextManager[Path]:
        """A folder on this machine for the pictures of a new job, kept if nothing is raised.

        Raises:
            StoreUnreachable: If they cannot be kept.
        """
        ...

    def work(self, job: Job) -> AbstractContextManager[tuple[Path, Path]]:
        """The folder of a job's pictures on this machine, and one to create for its results.

        The results are kept if nothing is raised.

        Raises:
            StoreUnreachable: If the pictures cannot be fetched, or the results not be kept.
        """
        ...

    def open(self, job: Job, name: str) -> BinaryIO:
        """Open a file of the results of a job's last attempt.

        Raises:
            FileNotFoundError: If there is none.
            StoreUnreachable: If the store does not answer.
        """
        ...

    def remove(self, job: str, attempt: int | None = None) -> None:
        """Delete the pictures of a job, or only the results of an attempt, as far as possible."""
        ...

    def remove_all(self, jobs: Sequence[str]) -> None:
        """Delete the pictures of several jobs, as far as possible."""
        ...

    def sweep(self, known: Collection[str], age: float) -> None:
        """Delete the pictures of all jobs but some, if they are older than ``age`` seconds."""
        ...


def output_name(attempt: int) -> str:
    """Name of the folder of an attempt's results."""
    return f"out-{attempt}"


def open_pictures(place: Path | str) -> Pictures:
    """The pictures in a folder, or in a store by its URL.

    Raises:
        UsageError: If it is no URL of a known kind of store, or the store does not answer.
    """
    return Folder(place) if isinstance(place, Path) else Bucket(place)


class Folder:
    """Pictures in a folder.

    Args:
        path: Folder; created when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def folder(self, job: str) -> Path:
        """The folder of a job."""
        return self.path / job

    def output(self, job: Job) -> Path:
        """The folder of the results of its last attempt."""
        return self.folder(job.id) / output_name(job.attempt)

    @contextmanager
    def draft(self, job: str) -> Iterator[Path]:
        """See ``Pictures.draft``."""
        folder = self.folder(job)
        folder.mkdir(mode=0o700)
        yield folder

    @contextmanager
    def work(self, job: Job) -> Iterator[tuple[Path, Path]]:
        """See ``Pictures.work``."""
        yield self.folder(job.id), self.output(job)

    def open(self, job: Job, name: str) -> BinaryIO:
        """See ``Pictures.open``."""
        return (self.output(job) / name).open("rb")

    def remove(self, job: str, attempt: int | None = None) -> None:
        """See ``Pictures.remove``."""
        folder = self.folder(job)
        gone = folder if attempt is None else folder / output_name(attempt)
        _remove(gone)

    def remove_all(self, jobs: Sequence[str]) -> None:
        """See ``Pictures.remove_all``."""
        for job in jobs:
            self.remove(job)

    def sweep(self, known: Collection[str], age: float) -> None:
        """See ``Pictures.sweep``."""
        for folder in self.path.iterdir():
            with suppress(FileNotFoundError):  # another service deleted it
                old = not age or time.time() - folder.stat().st_mtime > age
                if folder.name not in known and old:
                    _remove(folder)


class Bucket:
    """Pictures in an object store.

    They are worked on in temporary folders. Those that a killed process left on this machine are
    deleted when another one opens the store.

    Args:
        url: Folder in the store, such as ``s3://bucket/folder``, of this service alone.

    Raises:
        UsageError: If it is no URL of a known kind of store, or the store does not answer.
    """

    def __init__(self, url: str) -> None:
        if not is_url(url):
            raise UsageError(f"pictures need a URL such as s3://bucket/folder, got {url!r}")
        self._url = without_slash(url)
        self._strange: dict[str, float] = {}
        remove_left_over()
        Files().check(self._url)
        try:
            Files().names(self._url)
        except OSError as error:
            raise UsageError(
                f"{self._url}: the store of pictures does not answer: {first_line(error)}"
            ) from None

    @contextmanager
    def draft(self, job: str) -> Iterator[Path]:
        """See ``Pictures.draft``."""
        with closing(Scratch()) as scratch:
            yield scratch.path
            self._put(scratch.path, joined(self._url, job))

    @contextmanager
    def work(self, job: Job) -> Iterator[tuple[Path, Path]]:
        """See ``Pictures.work``."""
        place = joined(self._url, job.id)
        with closing(Scratch()) as scratch:
            folder = scratch.path
            with _reachable():
                names = [url for url in Files().listed(place) if url.rpartition("/")[0] == place]
            for url in names:
                with _reachable():
                    Files().fetch(url, folder / url.rpartition("/")[2])
            output = folder / output_name(job.attempt)
            yield folder, output
            if output.exists():
                self._put(output, joined(place, output.name))

    def open(self, job: Job, name: str) -> BinaryIO:
        """See ``Pictures.open``."""
        place = joined(joined(self._url, job.id), output_name(job.attempt))
        with _reachable():
            return Files().opened(joined(place, name))

    def remove(self, job: str, attempt: int | None = None) -> None:
        """See ``Pictures.remove``."""
        place = joined(self._url, job)
        with _removing():
            Files().remove([place if attempt is None else joined(place, output_name(attempt))])

    def remove_all(self, jobs: Sequence[str]) -> None:
        """See ``Pictures.remove_all``."""
        with _removing():
            Files().remove([joined(self._url, job) for job in jobs])

    def sweep(self, known: Collection[str], age: float) -> None:
        """See ``Pictures.sweep``; folders count from when they were first seen."""
        now = time.monotonic()
        with _reachable():
            found = set(filter(_ID.fullmatch, Files().names(self._url)))
        strange = found.difference(known)
        self._strange = {job: self._strange.get(job, now) for job in strange}
        self.remove_all(
            [job for job, since in self._strange.items() if not age or now - since > age]
        )

    def _put(self, folder: Path, place: str) -> None:
        """Write the files of a folder into the store."""
        for file in folder.iterdir():
            with _reachable():
                Files().put(file, joined(place, file.name))


def _remove(folder: Path) -> None:
    """Delete a folder, and say so if it is still there; ``sweep`` tries again."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        say("service", f"pictures in {folder.parent} cannot be deleted; this is tried again")


@contextmanager
def _removing() -> Iterator[None]:
    """Say that objects could not be deleted; ``sweep`` tries again."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        kind = type(error).__name__
        say("service", f"pictures in the store cannot be deleted ({kind}); this is tried again")


@contextmanager
def _reachable() -> Iterator[None]:
    """Replace errors of a store by one that is answered and logged without the URL."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if no_room(error):  # on the disk of this machine
            raise
        raise StoreUnreachable(
            f"the store of pictures is out of reach ({type(error).__name__}); try again later"
        ) from error
