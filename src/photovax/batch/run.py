"""A run over many photos: skips what is done, goes on past errors, and keeps the manifest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from photovax.batch.done import look
from photovax.batch.manifest import Entry, Manifest
from photovax.batch.order import Order
from photovax.batch.outcome import Outcome, Show
from photovax.batch.plan import Plan, Task
from photovax.batch.runner import Runner
from photovax.batch.storage import Files, is_url
from photovax.errors import OutputExists, PhotovaxError, SaveError
from photovax.pictures.atomic import as_save_error, remove_leftovers
from photovax.pictures.outputs import copy_times

__all__ = ["Run"]

_LEFT_OVER = 3600.0
"""Age in seconds from which temporary files are left over; none takes so long to write."""


class Run:
    """One run of a plan.

    What is done is looked up when the run is made.

    Args:
        plan: Photos and their results.
        order: What is asked of every photo.
        runner: What works on them.
        manifest: Manifest of the plan's folder.
        existing: Whether any file at the place of a result counts as done.

    Attributes:
        done: Number of photos that were done before.
        unprotected: Results of those whose verdict is FAIL.
        todo: Photos to work on.
        left: Those of ``todo`` that were not worked on yet, by path.
        total: Number of photos that are not done, including those that cannot be read.
    """

    def __init__(
        self,
        plan: Plan,
        order: Order,
        runner: Runner,
        manifest: Manifest,
        *,
        existing: bool = False,
    ) -> None:
        self._plan, self._order, self._runner, self._manifest = plan, order, runner, manifest
        self._existing = existing
        self._digest = order.digest(runner.digests)
        files = plan.files
        if plan.folder is not None and is_url(plan.folder):
            with as_save_error(plan.folder):
                files.listed(plan.folder)
        self._failed: list[tuple[Task, PhotovaxError]] = []
        self._without_folder: list[tuple[Task, PhotovaxError]] = []
        self.done = 0
        self.unprotected: list[str] = []
        looked = (self._left(task, files) for task in plan.tasks)
        self.todo = [task for task in looked if task is not None]
        self.left = {task.source: task for task in self.todo}
        self._failed += [(Task(path, "", path), error) for path, error in plan.failed]
        self.total = len(self.todo) + len(self._failed)

    def outcomes(self, show: Show | None = None) -> Iterator[Outcome]:
        """Work on the photos that are not done, and yield each outcome.

        Raises:
            KeyboardInterrupt: If interrupted.
            SaveError: If the manifest cannot be written.
        """
        try:
            for outcome in self._worked_on(show):
                self.left.pop(outcome.task.source, None)
                yield outcome
        finally:
            self._manifest.flush()

    def _worked_on(self, show: Show | None) -> Iterator[Outcome]:
        for task, error in self._failed:
            yield Outcome.of_error(task, error)
        given: Iterable[Task] = self._given()
        while given:
            again: list[Task] = []
            for outcome in self._runner.run(given, show):
                yield from self._homeless()
                if isinstance(outcome.error, OutputExists):
                    left = self._left(outcome.task, Files())
                    if left is None:  # another run on the same folder was faster
                        self.left.pop(outcome.task.source, None)
                        self.total -= 1
                        continue
                    if left.replace and not outcome.task.replace:
                        again.append(left)  # a worker was lost between the record and the photo
                        continue
                self._add(outcome.entry)
                yield outcome
            yield from self._homeless()
            given = again

    def _homeless(self) -> Iterator[Outcome]:
        """The outcomes of photos that were drawn, and whose folder cannot be made."""
        while self._without_folder:
            yield Outcome.of_error(*self._without_folder.pop())

    def _left(self, task: Task, files: Files) -> Task | None:
        """A task as it is to be done; None if it is done."""
        seen = look(task, self._manifest, self._digest, files, existing=self._existing)
        if not seen.done:
            return seen.task
        if self._order.keep_times:
            try:
                copy_times(seen.task.source, seen.task.output)
            except PhotovaxError as error:
                self._failed.append((seen.task, error))
                return None
        if seen.entry is not None:
            self._add(seen.entry)
        self.done += 1
        if self._manifest.fails(seen.task.key):
            self.unprotected.append(seen.task.output)
        return None

    def _given(self) -> Iterator[Task]:
        """The tasks, each with the folder of its result."""
        folders: dict[str, PhotovaxError | None] = {}
        for task in self.todo:
            folder = os.path.dirname(task.output)
            if folder not in folders:
                folders[folder] = None if is_url(folder) else self._made(Path(folder))
            refused = folders[folder]
            if refused is None:
                yield task
            else:
                self._without_folder.append((task, refused))

    def _made(self, folder: Path) -> PhotovaxError | None:
        """Make the folder of results, without leftovers; returns why it cannot be made."""
        try:
            if self._plan.folder is not None:
                with as_save_error(folder):
                    folder.mkdir(parents=True, exist_ok=True)
        except SaveError as error:
            return error
        remove_leftovers(folder, seconds=_LEFT_OVER)
        return None

    def _add(self, entry: Entry) -> None:
        if entry.output:
            entry = replace(entry, output=self._manifest.inside(entry.output))
        self._manifest.add(entry)
