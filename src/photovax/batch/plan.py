"""Which photos are immunized, and where each result goes. Importing this is fast."""

from __future__ import annotations

import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from photovax.errors import PhotovaxError, UnreadablePhoto, UsageError
from photovax.pictures.outputs import plan_outputs
from photovax.pictures.pillow import printable_name
from photovax.pictures.types import PICTURE_SUFFIXES

__all__ = ["ADDITION", "OWN_FOLDER", "Plan", "Task", "make_plan"]

ADDITION = ".immunized"
"""What is added to the names of results that lie beside their photos."""

OWN_FOLDER = ".photovax"
"""The folder, among results, of what photovax keeps for itself."""

_JUNK_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
_RECORD_HEAD = b'"photovax"'


@dataclass(frozen=True, slots=True)
class Task:
    """One photo to immunize.

    Attributes:
        source: Path of the photo.
        output: Path of its result.
        key: Path of the photo as the manifest names it, relative to the manifest's folder.
        replace: Whether the result may be replaced, as an unfinished one of an earlier run.
    """

    source: str
    output: str
    key: str
    replace: bool = False


@dataclass(frozen=True)
class Plan:
    """The photos of a run, and what was found beside them.

    Attributes:
        tasks: Photos and their results, in order.
        folder: Folder that mirrors the photos and holds the manifest; None where results lie
            beside their photos or one file was named.
        left_out: Number of files that are no photos by their names, by suffix.
        results: Number of files that are results of photovax.
        folders: Number of folders that were not entered.
        failed: Photos and folders that cannot be read, with the reason.
    """

    tasks: tuple[Task, ...]
    folder: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    results: int = 0
    folders: int = 0
    failed: tuple[tuple[str, PhotovaxError], ...] = ()


def make_plan(
    given: Sequence[Path],
    output: Path | None,
    *,
    suffix: str | None = ".png",
    addition: str | None = None,
    recursive: bool = False,
    shard: tuple[int, int] = (1, 1),
    results: bool = False,
) -> Plan:
    """Find photos and plan their results.

    A folder stands for the pictures in it. Hidden files, sidecars and other files whose suffix is
    not that of a picture are left out, and so are results of photovax, which have a record.

    Args:
        given: Photos and folders.
        output: File of the result of one photo, or folder that mirrors the places of the photos
            below the innermost folder that holds everything given; None to write results beside
            the photos.
        suffix: Suffix of results; None for each photo's own, or .png where that is not written.
        addition: What is added to names before the suffix. Nothing into a folder when None, and
            ``ADDITION`` beside the photos.
        recursive: Whether to enter folders in folders.
        shard: (i, n) selects the i-th of n parts, to share the work between machines. A photo's
            part depends only on its path below the folder.
        results: Whether to take results of photovax, too.

    Raises:
        UsageError: If a folder is given without ``output``, several photos with a file, or a
            shard out of range.
    """
    index, count = shard
    if not 1 <= index <= count:
        raise UsageError(f"shard must be from 1/{count} to {count}/{count}, got {index}/{count}")
    roots = [path for path in given if os.path.isdir(path)]
    if output is None and roots:
        raise UsageError(
            f"{printable_name(roots[0])}: is a folder", hint="name one for the results: -o FOLDER"
        )
    into = output if output is not None and not _one_file(given, roots, output) else None
    if into is not None and os.path.exists(into) and not os.path.isdir(into):
        raise UsageError(
            f"{printable_name(into)} is a file; for several photos give a folder: -o FOLDER"
        )
    search = _Search(recursive=recursive, results=results, beyond=into)
    # Names given by the shell, such as *.png, include earlier results; a single one was meant.
    for path in given:
        if path in roots:
            search.folder(os.path.normpath(path))
        else:
            search.file(os.path.normpath(path), alone=len(given) == 1)
    found = list(dict.fromkeys(search.found))
    if output is not None and into is None:
        tasks = [Task(source, os.path.normpath(output), source) for source in found]
    elif into is None:
        sources = {source: os.path.dirname(source) for source in found}
        outputs = plan_outputs(sources, suffix=suffix, addition=_or(addition, ADDITION))
        tasks = [Task(source, result, source) for source, result in outputs.items()]
    else:
        tasks = _mirrored(found, given, roots, os.path.normpath(into), suffix, _or(addition, ""))
    if count > 1:
        tasks = [task for task in tasks if zlib.crc32(_inside(task)) % count == index - 1]
    return Plan(
        tasks=tuple(tasks),
        folder=None if into is None else os.path.normpath(into),
        left_out=search.left_out,
        results=search.results,
        folders=search.folders,
        failed=tuple(search.failed),
    )


def _or(addition: str | None, default: str) -> str:
    return default if addition is None else addition


def _one_file(given: Sequence[Path], roots: Sequence[Path], output: Path) -> bool:
    folder = os.path.isdir(output)  # unlike Path's, it takes names of any length
    return len(given) == 1 and not roots and not folder and bool(output.suffix)


def _inside(task: Task) -> bytes:
    """A name of the photo that is the same on every machine."""
    return os.fsencode(task.key.replace("\\", "/"))


def _mirrored(
    found: Sequence[str],
    given: Sequence[Path],
    roots: Sequence[Path],
    into: str,
    suffix: str | None,
    addition: str,
) -> list[Task]:
    """Tasks whose results lie in ``into`` as the photos lie below their common folder."""
    tops = [os.path.abspath(path if path in roots else path.parent) for path in given]
    try:
        top = os.path.commonpath(tops)
    except ValueError:
        raise UsageError("photos on several drives cannot go into one folder") from None
    start = os.path.relpath(top, into) if _one_drive(top, into) else top
    above = len(top.rstrip(os.sep)) + 1
    below: dict[str, str] = {}  # by folder of photos, since there are few
    places: dict[str, str] = {}
    for source in found:
        folder = os.path.dirname(source)
        if folder not in below:
            below[folder] = os.path.abspath(folder)[above:]
        places[source] = os.path.join(into, below[folder]) if below[folder] else into
    outputs = plan_outputs(places, suffix=suffix, addition=addition)
    return [
        Task(
            source,
            result,
            os.path.join(start, below[os.path.dirname(source)], os.path.basename(source)),
        )
        for source, result in outputs.items()
    ]


def _one_drive(first: str, second: str) -> bool:
    return os.path.splitdrive(first)[0] == os.path.splitdrive(os.path.abspath(second))[0]


class _Search:
    """A search for photos, which counts what it leaves out."""

    def __init__(self, *, recursive: bool, results: bool, beyond: Path | None) -> None:
        self._recursive, self._with_results = recursive, results
        self._beyond = None if beyond is None else os.path.realpath(beyond)
        self.found: list[str] = []
        self.failed: list[tuple[str, PhotovaxError]] = []
        self.left_out: Counter[str] = Counter()
        self.results = self.folders = 0

    def file(self, path: str, *, alone: bool) -> None:
        """Take a file that was named."""
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            name = printable_name(path)
            self.failed.append((path, UnreadablePhoto(f"{name}: cannot be read: {why}")))
            return
        if not alone and not self._with_results and stat.S_ISREG(mode) and _is_result(path):
            self.results += 1
        else:
            self.found.append(path)

    def folder(self, path: str) -> None:
        """Take the photos in a folder."""
        waiting = [path]
        while waiting:
            waiting += reversed(list(self._entered(waiting.pop())))

    def _entered(self, path: str) -> Iterator[str]:
        """Take the photos directly in a folder, and yield its folders."""
        try:
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            name = printable_name(path)
            reason = UnreadablePhoto(f"{name}: cannot be read: {error.strerror}")
            self.failed.append((path, reason))
            return
        names = {entry.name for entry in listed}
        for entry in listed:
            name = entry.name
            if name.startswith(".") or name.lower() in _JUNK_FOLDERS:
                continue
            if entry.is_dir():
                if self._beyond is not None and os.path.realpath(entry.path) == self._beyond:
                    continue
                # Links to folders may lead in circles.
                if self._recursive and not entry.is_symlink():
                    yield entry.path
                else:
                    self.folders += 1
                continue
            suffix = os.path.splitext(name)[1].lower()
            if f"{name}.json" in names and not self._with_results and _is_result(entry.path):
                self.results += 1
            elif suffix in PICTURE_SUFFIXES:
                self.found.append(entry.path)
            elif not (suffix == ".json" and name[:-5] in names):
                self.left_out[suffix or name.lower()] += 1


def _is_result(path: str) -> bool:
    """Whether a record of photovax lies beside a picture."""
    try:
        with open(f"{path}.json", "rb") as file:
            return _RECORD_HEAD in file.read(64)
    except OSError:
        return False
