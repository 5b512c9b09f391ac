"""How long a run takes, and how much memory and disk, from a few of its photos."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from photovax.batch.manifest import Manifest
from photovax.batch.order import Order, brief
from photovax.batch.outcome import Progress, duration
from photovax.batch.plan import Plan, Task
from photovax.batch.run import Run
from photovax.batch.runner import Local
from photovax.batch.storage import Files, is_url
from photovax.batch.work import Work
from photovax.machine.memory import available_bytes, peak_resident_bytes

__all__ = ["estimate"]

_SAMPLES = 3


def estimate(plan: Plan, order: Order, manifest: Manifest, *, existing: bool = False) -> list[str]:
    """Estimate a run in lines of text, without writing anything into its folder.

    A small, a middling and a large photo, by the size of their files, are immunized with few steps
    into a temporary folder.

    Args:
        plan: Photos and their results.
        order: What is asked of every photo.
        manifest: Manifest of the plan's folder, which does not write.
        existing: Whether any file at the place of a result counts as done.

    Raises:
        PhotovaxError: If a model cannot be loaded.
    """
    work = Work(order)
    looking = replace(order, keep_times=False)
    run = Run(plan, looking, Local(work), manifest, existing=existing)
    lines = [f"photos  {len(run.todo)} to immunize, {run.done} done before"]
    if plan.failed:
        lines.append(f"        {len(plan.failed)} cannot be read")
    few = replace(order, recipe=brief(order.recipe), seconds=None, keep_times=False)
    trial = Work(few, work)
    found = []
    with tempfile.TemporaryDirectory(prefix="photovax-") as folder:
        for number, task in enumerate(_chosen(run.todo, plan.files)):
            name = f"{number}{os.path.splitext(task.output)[1]}"
            tried = replace(task, output=os.path.join(folder, name))
            found.append(_tried(trial, order, tried, work.steps))
    known = [each for each in found if each is not None]
    if not known:
        return lines
    seconds = sum(each[0] for each in known) / len(known)
    size = sum(each[1] for each in known) / len(known)
    count = len(run.todo)
    lines.append(
        f"time    {duration(seconds * count)} with one worker, {duration(seconds)} a photo "
        f"({len(known)} tried)"
    )
    peak, left = peak_resident_bytes(), available_bytes()
    if peak and left is not None:
        lines.append(f"memory  {_size(peak)} a worker; {_size(left)} are available")
    disk = f"disk    {_size(size * count)}"
    if plan.folder is None or not is_url(plan.folder):
        disk += f"; {_size(shutil.disk_usage(_existing(plan)).free)} are free"
    lines.append(disk)
    return lines


def _chosen(todo: Sequence[Task], files: Files) -> list[Task]:
    """Photos in the middle of each third, by the size of their files."""
    sizes = {task: _bytes(task.source, files) for task in todo}
    ordered = sorted(todo, key=lambda task: sizes[task])
    if len(ordered) <= _SAMPLES:
        return ordered
    return [ordered[(2 * part + 1) * len(ordered) // (2 * _SAMPLES)] for part in range(_SAMPLES)]


def _tried(work: Work, order: Order, task: Task, count: int) -> tuple[float, int] | None:
    """Seconds and bytes of a photo with ``count`` steps; None if it cannot be immunized."""
    steps: list[float] = []

    def see(_: Task, progress: Progress) -> None:
        if progress.seconds:
            steps.append(progress.seconds)

    outcome = work.do(task, see)
    if outcome.made is None:
        return None
    rest = outcome.made.seconds - sum(steps)
    whole = rest + min(steps) * count
    if order.seconds is not None:
        whole = max(order.seconds, rest + min(steps))
    return whole, _bytes(task.output, Files()) + _bytes(f"{task.output}.json", Files())


def _bytes(path: str, files: Files) -> int:
    try:
        return files.stamp(path)[0]
    except OSError:
        return 0


def _existing(plan: Plan) -> str:
    """A folder that exists on the disk of the results."""
    first = plan.folder or (os.path.dirname(plan.tasks[0].output) if plan.tasks else "")
    place = Path(first).absolute()
    return str(next(each for each in (place, *place.parents) if each.exists()))


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
