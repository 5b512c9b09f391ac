"""Whether a photo is immunized already, by the manifest or by the record beside the result."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any, NamedTuple

from photovax.batch.manifest import Entry, Manifest
from photovax.batch.outcome import figures_of
from photovax.batch.plan import Task
from photovax.batch.storage import Files, Stamp, joined
from photovax.pictures.outputs import short_name

__all__ = ["Seen", "look"]


class Seen(NamedTuple):
    """What was found of a photo.

    Attributes:
        task: Photo, with the path of its result of earlier runs, and whether that may be replaced.
        done: Whether it is done.
        entry: Entry of a finished result that the manifest lacks, or None.
    """

    task: Task
    done: bool = False
    entry: Entry | None = None


def look(
    task: Task, manifest: Manifest, order: str, files: Files, *, existing: bool = False
) -> Seen:
    """Find out whether a photo is done.

    It is if its content, what was asked and the weights of the models are those of a result whose
    file still has its content. Files of the same size and time of change as in the manifest have
    the same content; all others are read.

    Args:
        task: Photo.
        manifest: Manifest of the folder of results.
        order: Digest of what is asked; see ``Order.digest``.
        files: Files and objects, and what is known of them.
        existing: Whether any file at the place of the result counts as done.
    """
    try:  # first what is fast, since there may be millions
        stamp, made = files.stamp(task.source), files.stamp(task.output)
    except OSError:
        pass
    else:
        if manifest.unchanged(task.key, order, manifest.inside(task.output), stamp, made):
            return Seen(task, done=True)
    entry, mine = manifest.get(task.key), False
    if entry is not None and entry.output and entry.order == order:
        # Names depend on what else is given; results stay where they are. One that is another
        # photo's by now, of the same name, does not.
        place = joined(manifest.folder, entry.output)
        mine = _same(files, place, entry.output_stamp, entry.output_sha256)
        if mine or not files.exists(place):
            task = replace(task, output=place)
    if existing and files.exists(task.output):
        return Seen(task, done=True)
    if (
        entry is not None
        and mine
        and entry.state == "done"
        and _same(files, task.source, entry.stamp, entry.sha256)
    ):
        return Seen(task, done=True)
    record = _record(files, task.output)
    if record is None:
        short = short_name(task.output, task.source)
        found = short and look(replace(task, output=short), manifest, order, files)
        if not found or not found.done or manifest.of_another(task.key, found.task.output):
            return Seen(task)
        return found
    source: dict[str, str] = record["source"]
    there = files.exists(task.output)
    own = source.get("order") == order and (
        not there or _digest(files, task.output) == record.get("sha256")
    )
    digest = _digest(files, task.source) if own else None
    if digest is None or digest != source.get("sha256"):
        return Seen(task)
    if not there:  # killed between the record and the photo
        return Seen(replace(task, replace=True))
    if record.get("stopped") == "interrupted":
        return Seen(replace(task, replace=True))
    done = Entry(
        photo=task.key,
        state="done",
        order=order,
        output=task.output,
        sha256=digest,
        stamp=files.stamp(task.source),
        output_sha256=record["sha256"],
        output_stamp=files.stamp(task.output),
        verdict=str(record.get("verdict", "")),
        figures=figures_of(record),
    )
    return Seen(task, done=True, entry=done)


def _same(files: Files, place: str, stamp: Stamp, sha256: str) -> bool:
    """Whether a file has the content that it had."""
    try:
        found = files.stamp(place)
    except OSError:
        return False
    return found == stamp or (found[0] == stamp[0] and _digest(files, place) == sha256)


def _digest(files: Files, place: str) -> str | None:
    try:
        return files.digest(place)
    except (OSError, ValueError):
        return None


def _record(files: Files, output: str) -> dict[str, Any] | None:
    """The record beside a result, if it is one of a photo's file; None otherwise."""
    try:
        record = json.loads(files.read(f"{output}.json"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or "photovax" not in record:
        return None
    own = record.get("photo") == os.path.basename(output)
    return record if own and isinstance(record.get("source"), dict) else None
