"""Work on photos and results that lie in a store: fetched, worked on here, and put back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from photovax.batch.outcome import Outcome
from photovax.batch.plan import Task
from photovax.batch.storage import Files, is_url
from photovax.errors import OutputExists, PhotovaxError, UnreadablePhoto
from photovax.pictures.atomic import as_save_error
from photovax.pictures.outputs import record_of
from photovax.pictures.pillow import printable_name

__all__ = ["through_scratch"]


def through_scratch(task: Task, do: Callable[[Task], Outcome], *, overwrite: bool) -> Outcome:
    """Do a task whose photo or result may lie in a store.

    The photo is fetched into a temporary folder. The record and then the result are put back, as
    in folders, so that a result never lies there without its record.

    Args:
        task: Photo and path or URL of its result.
        do: Function that does a task on this machine's disks.
        overwrite: Whether results that exist may be replaced.

    Raises:
        PhotovaxError: What ``do`` raises, or if a store refuses.
    """
    if not is_url(task.source) and not is_url(task.output):
        return do(task)
    files = Files()
    with tempfile.TemporaryDirectory(prefix="photovax-") as scratch:
        near, names = task, dict[str, str]()

        def place(url: str, kind: str) -> str:
            path = os.path.join(scratch, kind, os.path.basename(url))
            os.mkdir(os.path.dirname(path))
            names[path] = url
            return path

        if is_url(task.source):
            near = replace(near, source=place(task.source, "photo"))
            stamp = _fetch(files, task.source, near.source)
        if is_url(task.output):
            near = replace(near, output=place(task.output, "result"))
            if not overwrite:
                _check_free(files, task.output)
        try:
            outcome = do(near)
        except PhotovaxError as error:
            for path, url in names.items():
                error.args = (str(error).replace(path, url),)
            if is_url(task.output) and os.path.exists(near.output):
                # It is whole: what failed came after, such as measuring it.
                _put_back(files, near.output, task.output, overwrite=overwrite)
            raise
        entry = outcome.entry
        if is_url(task.source):
            entry = replace(entry, stamp=stamp)
        if is_url(task.output):
            _put_back(files, near.output, task.output, overwrite=overwrite)
            with as_save_error(task.output):
                entry = replace(entry, output=task.output, output_stamp=files.stamp(task.output))
        return replace(outcome, task=task, entry=entry)


def _fetch(files: Files, url: str, path: str) -> tuple[int, int]:
    """Fetch a photo; returns its stamp."""
    try:
        stamp = files.stamp(url)
        files.fetch(url, Path(path))
    except OSError as error:
        why = "there is no such object" if isinstance(error, FileNotFoundError) else str(error)
        raise UnreadablePhoto(f"{printable_name(url)}: cannot be read: {why}") from error
    return stamp


def _put_back(files: Files, path: str, url: str, *, overwrite: bool) -> None:
    """Store a record, and then its result."""
    result = Path(path)
    for file, place in ((record_of(result), f"{url}.json"), (result, url)):
        files.create(place, file.read_bytes(), overwrite=overwrite)


def _check_free(files: Files, url: str) -> None:
    """Refuse before the work a result that may not be replaced after it.

    Raises:
        OutputExists: If there is one, or its record.
        SaveError: If the store cannot be asked.
    """
    with as_save_error(url):
        for each in (url, f"{url}.json"):
            if files.exists(each):
                raise OutputExists(
                    f"{printable_name(each)}: exists already", hint="to replace it: --overwrite"
                )
