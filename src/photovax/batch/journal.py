"""Where the lines of a manifest are kept: in files that are appended to, or in objects of a store.

Nothing can be appended to an object, and two writers of one would lose lines. In a store, each run
therefore puts its lines into objects of its own, one for each few seconds and later minutes. What
a killed run had not put yet is known from the records beside the results.
"""

from __future__ import annotations

import os
import posixpath
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from photovax.batch.plan import OWN_FOLDER
from photovax.batch.storage import Files, is_url, joined
from photovax.errors import OutputExists, PhotovaxError, SaveError
from photovax.pictures.atomic import write_text

__all__ = ["DiskJournal", "Journal", "StoreJournal", "open_journal"]

_PAUSES = 5.0, 600.0
"""Least and largest number of seconds for which lines are collected before they become an object.
In between it is a hundredth of the run, so that there are few objects to read at the next one."""


class Journal(Protocol):
    """Lines that are kept, and small files beside them."""

    def lines(self) -> Iterator[bytes]:
        """All lines of all writers, each with its end; those of one writer in order.

        Raises:
            SaveError: If they cannot be read.
        """
        ...

    def append(self, line: bytes) -> None:
        """Keep a line, which ends with a line feed.

        Raises:
            SaveError: If that is refused.
        """
        ...

    def flush(self) -> None:
        """Keep what was collected.

        Raises:
            SaveError: If that is refused.
        """
        ...

    def note(self, name: str, text: str) -> None:
        """Keep a small file, or fail silently: it only saves work."""
        ...

    def noted(self, name: str) -> str:
        """The content of a small file; empty without one."""
        ...


def open_journal(folder: str, shard: tuple[int, int]) -> Journal:
    """The journal of a folder of results, for one part of the photos."""
    part = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
    home = joined(folder, OWN_FOLDER)
    return StoreJournal(home, part) if is_url(folder) else DiskJournal(Path(home), part)


class DiskJournal:
    """A file for each part of the photos.

    Args:
        home: Folder of the files.
        part: What is added to the name of the file.
    """

    def __init__(self, home: Path, part: str) -> None:
        self._home, self._path = home, home / f"manifest{part}.jsonl"

    def lines(self) -> Iterator[bytes]:
        """See ``Journal.lines``."""
        for file in sorted(self._home.glob("manifest*.jsonl")):
            try:
                with file.open("rb") as stream:
                    yield from stream
            except OSError as error:
                raise SaveError(f"{file}: cannot be read: {error.strerror or error}") from error

    def append(self, line: bytes) -> None:
        """See ``Journal.append``."""
        path = self._path
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            # Unbuffered in append mode: one call of the system, at the end of the file as it is.
            with path.open("ab", buffering=0) as file:
                if _torn(path):
                    line = b"\n" + line
                written = file.write(line)
        except OSError as error:
            raise SaveError(f"{path}: cannot be written: {error.strerror or error}") from error
        if written != len(line):
            raise SaveError(f"{path}: cannot be written: no space left")

    def flush(self) -> None:
        """See ``Journal.flush``; each line was written at once."""

    def note(self, name: str, text: str) -> None:
        """See ``Journal.note``."""
        with suppress(OSError, PhotovaxError):
            self._home.mkdir(parents=True, exist_ok=True)
            write_text(text, self._home / name, overwrite=True)

    def noted(self, name: str) -> str:
        """See ``Journal.noted``."""
        with suppress(OSError, ValueError):
            return (self._home / name).read_text(encoding="utf-8")
        return ""


class StoreJournal:
    """Objects of each run, whose names begin with the time at which it started.

    Args:
        home: URL of their folder.
        part: What is added to their names.
        clock: Time in seconds.
    """

    def __init__(self, home: str, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._files, self._clock = home, Files(), clock
        started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._name = f"manifest-{started}-{secrets.token_hex(4)}{part}"
        self._collected: list[bytes] = []
        self._objects, self._began = 0, clock()
        self._since = self._began

    def lines(self) -> Iterator[bytes]:
        """See ``Journal.lines``."""
        try:
            found = [url for url in self._files.listed(self._home) if url.endswith(".jsonl")]
            for content in self._files.read_all(sorted(found)):
                yield from content.splitlines(keepends=True)
        except OSError as error:
            raise SaveError(f"{self._home}: cannot be read: {error}") from error

    def append(self, line: bytes) -> None:
        """See ``Journal.append``."""
        self._collected.append(line)
        now, (least, most) = self._clock(), _PAUSES
        if now - self._since >= min(most, max(least, (now - self._began) / 100)):
            self.flush()

    def flush(self) -> None:
        """See ``Journal.flush``."""
        self._since = self._clock()
        if self._collected:
            url = posixpath.join(self._home, f"{self._name}-{self._objects:06}.jsonl")
            # A repeated request must not fail on the object that the first one has made.
            with suppress(OutputExists):
                self._files.create(url, b"".join(self._collected), overwrite=False)
            self._objects += 1
            self._collected.clear()

    def note(self, name: str, text: str) -> None:
        """See ``Journal.note``."""
        with suppress(PhotovaxError):
            self._files.create(posixpath.join(self._home, name), text.encode(), overwrite=True)

    def noted(self, name: str) -> str:
        """See ``Journal.noted``."""
        with suppress(OSError, ValueError):
            return self._files.read(posixpath.join(self._home, name)).decode()
        return ""


def _torn(path: Path) -> bool:
    """Whether a file does not end with a whole line."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
