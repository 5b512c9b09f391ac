"""The manifest of a folder of results: what became of each photo, one JSON object a line.

It is only ever appended to. A line is written by one call, so that lines of several processes
never mix, and the last line of a photo counts. A line that was cut short, as by a loss of power,
is skipped: the record beside the result says the same. Each part of a run that is shared between
machines has a file of its own, since network disks mix what several machines append to one. In an
object store each run has objects of its own; see ``photovax.batch.journal``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from photovax.batch.journal import open_journal
from photovax.batch.storage import Stamp, joined

__all__ = ["Entry", "Manifest", "State"]

State = Literal["done", "partial", "failed"]

_HEAD = b'{"photo": "'
_BACKSLASH = ord("\\")


@dataclass(frozen=True)
class Entry:
    """What became of a photo.

    Attributes:
        photo: Path of the photo, relative to the folder of results.
        state: ``done``, ``partial`` (interrupted, and kept) or ``failed``.
        order: Digest of what was asked; see ``Order.digest``.
        output: Path of the result, relative to the folder of results.
        stamp: Size in bytes and time of change in nanoseconds of the photo's file; of an object,
            a number for its version.
        output_stamp: The same of the result.
        sha256: SHA-256 of the photo's file, in hexadecimal digits.
        output_sha256: SHA-256 of the result.
        seconds: Time from start to file.
        error: Reason of a failure, in one line.
        verdict: Verdict of ``photovax check``; empty if it was not asked for.
        figures: Measurements, such as ``jod`` and ``psnr``.
    """

    photo: str
    state: State
    order: str = ""
    output: str = ""
    stamp: Stamp = (0, 0)
    output_stamp: Stamp = (0, 0)
    sha256: str = ""
    output_sha256: str = ""
    seconds: float = 0.0
    error: str = ""
    verdict: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def read(cls, line: bytes) -> Entry | None:
        """The entry of a line; None if it is damaged."""
        try:
            data = json.loads(line)
            known = {name: data[name] for name in _FIELDS if name in data}
            entry = cls(**known)
            stamps: list[Stamp] = [
                (int(size), int(time)) for size, time in (entry.stamp, entry.output_stamp)
            ]
        except (ValueError, TypeError):
            return None
        object.__setattr__(entry, "stamp", stamps[0])
        object.__setattr__(entry, "output_stamp", stamps[1])
        return entry


_FIELDS = tuple(each.name for each in fields(Entry))


class Manifest:
    """The manifest of a folder of results.

    Args:
        folder: Folder of the results; nothing is read or written when None, and entries are kept
            in memory only.
        shard: (i, n), the part of the photos of this run.
        writes: Whether entries are written, too.

    Attributes:
        folder: Folder of the results; empty when None.

    Raises:
        SaveError: If a manifest cannot be read.
    """

    def __init__(
        self,
        folder: str | Path | None,
        shard: tuple[int, int] = (1, 1),
        *,
        writes: bool = True,
    ) -> None:
        self.folder = "" if folder is None else os.fspath(folder)
        self._prefix = joined(self.folder, "") if self.folder else ""
        self._journal = open_journal(self.folder, shard) if self.folder else None
        self._writes = writes
        self._lines: dict[bytes, bytes] = {}
        if self._journal is not None:
            self._read(self._journal.lines())

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, photo: str) -> Entry | None:
        """The last entry of a photo, by its path in the manifest; None without any."""
        line = self._lines.get(_key(photo))
        return None if line is None else Entry.read(line)

    def unchanged(
        self, photo: str, order: str, output: str, stamp: Stamp, output_stamp: Stamp
    ) -> bool:
        """Whether a photo's last entry is ``done``, with these fields.

        It only compares the beginning of the line, which is five times as fast as to read it.

        Args:
            photo: As in ``Entry``; so are the others.
            order: Digest of what was asked.
            output: Path of the result.
            stamp: Size and time of change of the photo.
            output_stamp: Size and time of change of the result.
        """
        key = _key(photo)
        line = self._lines.get(key)
        return line is not None and line.startswith(
            b'{"photo": "%b", "state": "done", "order": "%b", "output": "%b", '
            b'"stamp": [%d, %d], "output_stamp": [%d, %d]'
            % (key, order.encode(), _key(output), *stamp, *output_stamp)
        )

    def fails(self, photo: str) -> bool:
        """Whether the verdict on the last result of a photo is FAIL."""
        return b'"verdict": "FAIL"' in self._lines.get(_key(photo), b"")

    def of_another(self, photo: str, path: str) -> bool:
        """Whether a result is stated to be that of another photo than this one.

        All lines are searched.
        """
        key, place = _key(photo), b'"output": "%b", ' % _key(self.inside(path))
        return any(place in line for other, line in self._lines.items() if other != key)

    def inside(self, path: str) -> str:
        """The path of a result relative to the folder of results."""
        return path[len(self._prefix) :] if self._prefix else path

    def add(self, entry: Entry) -> None:
        """Append an entry.

        Raises:
            SaveError: If the disk refuses it.
        """
        line = json.dumps(_data(entry)).encode() + b"\n"
        self._lines[_key(entry.photo)] = line
        if self._journal is not None and self._writes:
            self._journal.append(line)

    def flush(self) -> None:
        """Keep what was added, which a store is given only every few seconds.

        Raises:
            SaveError: If the store refuses it.
        """
        if self._journal is not None:
            self._journal.flush()

    def note(self, name: str, content: Mapping[str, object]) -> None:
        """Keep a small file beside the manifest."""
        if self._journal is not None and self._writes:
            self._journal.note(name, json.dumps(dict(content)))

    def noted(self, name: str) -> dict[str, Any]:
        """The content of such a file; empty without one."""
        if self._journal is not None:
            with suppress(ValueError):
                found = json.loads(self._journal.noted(name))
                return found if isinstance(found, dict) else {}
        return {}

    def _read(self, found: Iterator[bytes]) -> None:
        lines = self._lines
        for line in found:
            # Values stay as they are until they are asked for, since that takes longest.
            if line.startswith(_HEAD) and line.endswith(b"}\n"):
                lines[line[len(_HEAD) : _closing(line)]] = line


def _data(entry: Entry) -> dict[str, Any]:
    """The fields that are not at their defaults, ``photo`` first."""
    given = asdict(entry)
    return {name: value for name, value in given.items() if value or name in ("photo", "state")}


def _key(path: str) -> bytes:
    """A path as it stands between quotes."""
    if path.isascii() and path.isprintable() and '"' not in path and "\\" not in path:
        return path.encode()  # most are, and this is faster
    return json.dumps(path).encode()[1:-1]


def _closing(line: bytes) -> int:
    """The position of the quote that ends a line's first value."""
    end = line.find(b'"', len(_HEAD))
    while line[end - 1] == _BACKSLASH and (end - len(line[:end].rstrip(b"\\"))) % 2:
        end = line.find(b'"', end + 1)
    return end
