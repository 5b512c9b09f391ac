"""Which photos are immunized, and where each result goes. Importing this is fast."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from photovax.batch.search import Search
from photovax.batch.storage import Files, is_url, joined, without_slash
from photovax.errors import PhotovaxError, UnreadablePhoto, UsageError
from photovax.pictures.outputs import plan_outputs
from photovax.pictures.pillow import printable_name
from photovax.ranges import check_shard

__all__ = ["ADDITION", "OWN_FOLDER", "Plan", "Task", "make_plan"]

ADDITION = ".immunized"
"""What is added to the names of results that lie beside their photos."""

OWN_FOLDER = ".photovax"
"""The folder, among results, of what photovax keeps for itself."""


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
        files: Files and objects, and what is known of them.
    """

    tasks: tuple[Task, ...]
    folder: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    results: int = 0
    folders: int = 0
    failed: tuple[tuple[str, PhotovaxError], ...] = ()
    files: Files = field(default_factory=Files, compare=False)


def make_plan(
    given: Sequence[Path | str],
    output: Path | str | None,
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
        given: Photos and folders: paths, or URLs of one store.
        output: Path or URL of the result of one photo, or of a folder that mirrors the places of
            the photos below the innermost folder that holds everything given; None to write
            results beside the photos.
        suffix: Suffix of results; None for each photo's own, or .png where that is not written.
        addition: What is added to names before the suffix. Nothing into a folder when None, and
            ``ADDITION`` beside the photos.
        recursive: Whether to enter folders in folders.
        shard: (i, n) selects the i-th of n parts, to share the work between machines. A photo's
            part depends only on its path below the folder.
        results: Whether to take results of photovax, too.

    Raises:
        UsageError: If a folder is given without ``output``, several photos with a file, photos of
            several stores, or a shard out of range.
    """
    check_shard(shard)
    index, count = shard
    files = Files()
    places = [_normal(place) for place in given]
    schemes = {_scheme(place) for place in places}
    if len(schemes) > 1:
        raise UsageError(f"photos lie in several stores ({', '.join(sorted(schemes))}); give one")
    try:
        roots = {place for place in places if files.is_folder(place)}
    except OSError as error:  # a store that cannot be asked, as without credentials
        raise UnreadablePhoto(f"{printable_name(places[0])}: cannot be read: {error}") from error
    stored = any(schemes)
    if output is None and (roots or stored):
        place = next(iter(roots or places))
        raise UsageError(
            f"{printable_name(place)}: {'lies in a store' if stored else 'is a folder'}",
            hint="name one for the results: -o FOLDER",
        )
    result = None if output is None else _normal(output)
    if result is not None and is_url(result):
        files.check(result)
    # As it was given: a slash at the end says that it is a folder.
    into = None if result is None or _one_file(places, roots, str(output), files) else result
    if into is not None and not is_url(into) and os.path.exists(into) and not os.path.isdir(into):
        raise UsageError(
            f"{printable_name(into)} is a file, and there are several photos",
            hint="give a folder: -o FOLDER",
        )
    search = Search(files, recursive=recursive, results=results, beyond=into)
    # Names given by the shell, such as *.png, include earlier results; a single one was meant.
    for place in places:
        if place in roots:
            search.folder(place)
        else:
            search.file(place, alone=len(places) == 1)
    found = list(dict.fromkeys(search.found))
    if result is not None and into is None:
        tasks = [Task(source, result, source) for source in found]
    elif into is None:
        sources = {source: os.path.dirname(source) for source in found}
        outputs = plan_outputs(sources, suffix=suffix, addition=_or(addition, ADDITION))
        tasks = [Task(source, output, source) for source, output in outputs.items()]
    else:
        tasks = _mirrored(found, places, roots, into, suffix, _or(addition, ""))
    if count > 1:
        names = _names(found, places, roots)
        tasks = [task for task in tasks if _part(names[task.source], count) == index - 1]
    return Plan(
        tasks=tuple(tasks),
        folder=into,
        left_out=search.left_out,
        results=search.results,
        folders=search.folders,
        failed=tuple(search.failed),
        files=files,
    )


def _part(name: bytes, count: int) -> int:
    """The part of so many that a photo is in, by its name; names that count up spread evenly."""
    return int.from_bytes(hashlib.sha256(name).digest()[:8]) % count


def _normal(place: Path | str) -> str:
    if not os.fspath(place):
        raise UsageError("an empty path; give . for the current folder")
    if is_url(place):
        return without_slash(str(place))
    normal = os.path.normpath(place)
    if ".." in Path(place).parts:  # behind a link, it leads elsewhere than it reads
        real = os.path.realpath(place)
        return normal if os.path.realpath(normal) == real else real
    return normal


def _scheme(place: str) -> str:
    return place.partition("://")[0] if is_url(place) else ""


def _or(addition: str | None, default: str) -> str:
    return default if addition is None else addition


def _one_file(given: Sequence[str], roots: Collection[str], output: str, files: Files) -> bool:
    if len(given) != 1 or roots or not os.path.splitext(output)[1]:
        return False
    # A store has no empty folders: there, a name with a suffix is a file.
    return is_url(output) or not files.is_folder(output)


def _names(found: Sequence[str], given: Sequence[str], roots: Collection[str]) -> dict[str, bytes]:
    """A name of each photo that is the same on every machine: its path below what was given."""
    below = _below(found, _top(given, roots))
    names = {source: joined(below[source], os.path.basename(source)) for source in found}
    return {source: os.fsencode(name.replace("\\", "/")) for source, name in names.items()}


def _top(given: Sequence[str], roots: Collection[str]) -> str:
    """The innermost folder that holds everything given.

    Raises:
        UsageError: If there is none, on several drives.
    """
    tops = [place if place in roots else os.path.dirname(place) for place in given]
    if is_url(given[0]):
        return _common(tops)
    try:
        return os.path.commonpath([*map(os.path.abspath, tops)])
    except ValueError:
        raise UsageError(
            "photos on several drives cannot go into one folder, or be shared out"
        ) from None


def _below(found: Sequence[str], top: str) -> dict[str, str]:
    """The path of each photo's folder below ``top``."""
    above = len(joined(top, ""))
    below: dict[str, str] = {}  # by folder of photos, since there are few
    for source in found:
        folder = os.path.dirname(source)
        if folder not in below:
            below[folder] = (folder if is_url(top) else os.path.abspath(folder))[above:]
    return {source: below[os.path.dirname(source)] for source in found}


def _mirrored(
    found: Sequence[str],
    given: Sequence[str],
    roots: Collection[str],
    into: str,
    suffix: str | None,
    addition: str,
) -> list[Task]:
    """Tasks whose results lie in ``into`` as the photos lie below their common folder."""
    top = _top(given, roots)
    below = _below(found, top)
    if is_url(given[0]):
        start = top
    elif is_url(into):
        start = ""  # the same from any machine
    else:
        start = os.path.relpath(top, into) if _one_drive(top, into) else top
    places = {source: joined(into, path) if path else into for source, path in below.items()}
    outputs = plan_outputs(places, suffix=suffix, addition=addition)
    return [
        Task(
            source,
            result.replace(os.sep, "/") if is_url(into) else result,
            joined(joined(start, below[source]), os.path.basename(source)),
        )
        for source, result in outputs.items()
    ]


def _common(urls: Sequence[str]) -> str:
    """The innermost folder of a store that holds all of several URLs."""
    paths = [f"/{url.partition('://')[2]}" for url in urls]
    return f"{_scheme(urls[0])}:/{posixpath.commonpath(paths)}"


def _one_drive(first: str, second: str) -> bool:
    return os.path.splitdrive(first)[0] == os.path.splitdrive(os.path.abspath(second))[0]
