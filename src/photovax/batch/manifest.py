"""The manifest of a folder of results: what became of each photo, one JSON object a line.

It is only ever appended to. A line is written by one call, so that lines of several processes
never mix, and the last line of a photo counts. A line that was cut short, as by a loss of power,
is skipped: the record beside the result says the same. Each part of a run that is shared between
machines has a file of its own, since network disks mix what several machines append to one.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from photovax.batch.plan import OWN_FOLDER
from photovax.errors import PhotovaxError, SaveError
from photovax.pictures.atomic import write_text

__all__ = ["Entry", "Manifest", "State"]

State = Literal["done", "partial", "failed"]

_Stamp = tuple[int, int]

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
        stamp: Size in bytes and time of change in nanoseconds of the photo's file.
        output_stamp: Size and time of change of the result.
        sha256: SHA-256 of the photo's file, in hexadecimal digits.
        output_sha256: SHA-256 of the result.
        seconds: Time from start to file.
        error: Reason of a failure, in one line.
        verdict: Verdict of ``photovax check``.
        figures: Measurements, such as ``jod`` and ``psnr``.
    """

    photo: str
    state: State
    order: str = ""
    output: str = ""
    stamp: tuple[int, int] = (0, 0)
    output_stamp: tuple[int, int] = (0, 0)
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
            stamps: list[tuple[int, int]] = [
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
        self._prefix = os.path.join(self.folder, "") if self.folder else ""
        self._home = None if folder is None else Path(folder) / OWN_FOLDER
        part = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
        self._writes = writes and self._home is not None
        self._name = f"manifest{part}.jsonl"
        self._lines: dict[bytes, bytes] = {}
        if self._home is not None:
            for file in sorted(self._home.glob("manifest*.jsonl")):
                self._read(file)

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, photo: str) -> Entry | None:
        """The last entry of a photo, by its path in the manifest; None without any."""
        line = self._lines.get(_key(photo))
        return None if line is None else Entry.read(line)

    def unchanged(
        self, photo: str, order: str, output: str, stamp: _Stamp, output_stamp: _Stamp
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
        if self._home is None or not self._writes:
            return
        path = self._home / self._name
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

    def note(self, name: str, content: dict[str, int]) -> None:
        """Keep a small file beside the manifest."""
        if self._home is not None and self._writes:
            with suppress(OSError, PhotovaxError):  # it only saves a measurement
                self._home.mkdir(parents=True, exist_ok=True)
                write_text(json.dumps(content), self._home / name, overwrite=True)

    def noted(self, name: str) -> dict[str, Any]:
        """The content of such a file; empty without one."""
        if self._home is not None:
            with suppress(OSError, ValueError):
                found = json.loads((self._home / name).read_text(encoding="utf-8"))
                return found if isinstance(found, dict) else {}
        return {}

    def _read(self, file: Path) -> None:
        lines = self._lines
        try:
            with file.open("rb") as stream:
                for line in stream:
                    # Values stay as they are until they are asked for, since that takes longest.
                    if line.startswith(_HEAD) and line.endswith(b"}\n"):
                        lines[line[len(_HEAD) : _closing(line)]] = line
        except OSError as error:
            raise SaveError(f"{file}: cannot be read: {error.strerror or error}") from error


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


def _torn(path: Path) -> bool:
    """Whether a file does not end with a whole line."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
