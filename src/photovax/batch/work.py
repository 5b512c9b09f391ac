"""The work on one photo, from its file to that of its result."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from photovax.attack.optimise import Step
from photovax.batch.manifest import Entry
from photovax.batch.order import Order, brief
from photovax.batch.outcome import Made, Outcome, Progress, Show, Stage, duration, figures_of
from photovax.batch.pace import Asked, Pace, Plan
from photovax.batch.plan import Task
from photovax.batch.storage import stamp_of
from photovax.batch.transfer import through_scratch
from photovax.checks.verdicts import ModelCheck, weakest
from photovax.digests import file_digest
from photovax.errors import PhotovaxError, UnreadablePhoto, first_line
from photovax.immunized import Immunized, Saved
from photovax.immunizer import Immunizer
from photovax.pictures.already import refuse_immunized
from photovax.pictures.compression import compression_for
from photovax.pictures.masks import load_mask
from photovax.pictures.outputs import Destination, copy_times
from photovax.pictures.photo import Photo, check_regular, read_photo
from photovax.pictures.pillow import printable_name
from photovax.saving import Extra

__all__ = ["Finished", "Work", "immunize_file"]


@dataclass(frozen=True, eq=False)
class Finished:
    """A photo whose result is saved.

    Attributes:
        result: Immunized photo.
        saved: Saved file and its measurements.
        checks: What ``photovax check`` finds in the file, by the name of the model; empty if that
            was not asked for.
    """

    result: Immunized
    saved: Saved
    checks: Mapping[str, ModelCheck]


def immunize_file(
    immunizer: Immunizer,
    source: Path,
    destination: Destination,
    order: Order,
    *,
    show: Callable[[Progress], None] | None = None,
    pace: Pace | None = None,
    began: float | None = None,
) -> Finished:
    """Immunize a photo and save the result.

    Args:
        immunizer: Loaded models; those of ``order``.
        source: Photo.
        destination: Destination of the result.
        order: What is asked.
        show: Function that is called with the progress.
        pace: Durations of former photos, for an order with a time.
        began: Time of ``time.perf_counter`` from which the order's time counts; now when None.

    Raises:
        PhotovaxError: If the photo cannot be read, immunized or saved.
        KeyboardInterrupt: If interrupted, unless the order keeps partial results.
    """
    tell = show or (lambda progress: None)
    pace = pace or Pace()
    began = time.perf_counter() if began is None else began
    tell(Progress("reading"))
    destination.check()
    photo = read_photo(source, max_pixels=order.max_pixels)
    if not order.again:
        refuse_immunized(source, photo)
    if order.strip_gps:
        photo = photo.without_gps()
    if order.forbid_ai:
        photo = photo.forbidding_ai()
    mask = order.mask
    allowed = None if mask is None else load_mask(mask.path, photo, edit_region=mask.edit_region)
    compression = compression_for(destination.suffix, photo.compression, order.quality)
    masked = allowed is not None and not allowed.all()
    destination.check_fits(photo, masked=masked, compression=compression)
    plan = None
    if order.seconds is not None:
        plan = _planned(immunizer, photo, order, pace, began + order.seconds)
        if plan.late:
            least = time.perf_counter() - began + plan.least
            note = f"{order.seconds:g} s are too few: the least is about {duration(least)}"
            tell(Progress("reading", note=note))

    def step(report: Step) -> None:
        done = report.index + 1
        loss = report.losses.mean().item()
        stage: Stage = "scoring" if done >= report.steps else "steps"
        tell(Progress(stage, done, report.steps, loss, report.seconds))

    result = immunizer.immunize(
        photo,
        order.recipe,
        mask=allowed,
        aim=order.aim,
        compression=compression,
        seconds=None if plan is None else plan.steps,
        callback=step,
    )
    if result.stopped == "interrupted" and not order.keep_partial:
        raise KeyboardInterrupt
    tell(Progress("saving", result.steps, result.steps))
    measured: list[Extra] = []

    def time_for(measurement: Extra) -> bool:
        if plan is not None and not plan.time_for(measurement):
            return False
        measured.append(measurement)
        return True

    if plan is not None:
        plan.immunized()
    saved = immunizer.save(
        result,
        destination,
        survival=order.survival,
        checked=True,
        measure=order.measure,
        time_for=time_for,
    )
    if plan is not None:
        pace.learn(plan, measured)
    return Finished(result, saved, saved.checks or {})


def _planned(immunizer: Immunizer, photo: Photo, order: Order, pace: Pace, ends: float) -> Plan:
    """The plan of the time until ``ends``, in ``time.perf_counter``."""
    aim = order.aim
    asked = Asked(
        answered=bool(immunizer.networks(order.recipe)),
        jod=aim is not None and aim.jod is not None,
        passing=aim is not None and aim.passing,
        survival=order.survival,
        measured=order.measure,
    )
    return pace.plan(immunizer.models, photo, immunizer.device, ends, asked, size=order.recipe.size)


class Work:
    """Models that are loaded once, and the work on one photo after another.

    Args:
        order: What is asked of every photo.
        loaded: Work whose models are used; they are loaded when None.
        began: Time of ``time.perf_counter`` from which the time of the first photo counts, if the
            order has one; when its work begins when None.

    Attributes:
        digests: SHA-256 of all weights that decide a result: those attacked, and networks.
        steps: Number of steps for each photo.

    Raises:
        PhotovaxError: If a model cannot be loaded.
    """

    def __init__(
        self, order: Order, loaded: Work | None = None, *, began: float | None = None
    ) -> None:
        self._order = order
        self._began = None if order.seconds is None else began
        self._immunizer: Immunizer = (
            Immunizer(
                order.models,
                weights=order.weights,
                networks=order.networks,
                device=order.device,
                memory=order.memory,
                precision=order.precision,
            )
            if loaded is None
            else loaded._immunizer
        )
        self.digests = self._immunizer.all_digests(order.recipe)
        self.steps = self._immunizer.steps(order.recipe)
        self._digest = order.digest(self.digests)
        self._pace = Pace()

    @property
    def device(self) -> str:
        """The kind of device, such as ``cpu``."""
        return self._immunizer.device.type

    def use(self, threads: int) -> None:
        """Compute with so many threads from now on, in this process."""
        torch.set_num_threads(threads)

    def step_seconds(self, source: Path) -> float:
        """Measure the duration of a step on a photo, in seconds."""
        found: list[float] = []
        recipe = brief(self._order.recipe)
        photo = read_photo(source)
        whole = np.ones((photo.height, photo.width), dtype=bool) if recipe.needs_mask else None
        self._immunizer.immunize(
            photo, recipe, mask=whole, callback=lambda step: found.append(step.seconds)
        )
        return min(found)

    def do(self, task: Task, show: Show | None = None) -> Outcome:
        """Immunize a photo.

        Raises:
            KeyboardInterrupt: If interrupted before there was a result to keep.
        """

        def tell(progress: Progress) -> None:
            if show is not None:
                show(task, progress)

        overwrite, name = self._order.overwrite or task.replace, printable_name(task.source)
        try:
            return through_scratch(task, lambda near: self._do(near, tell), overwrite=overwrite)
        except PhotovaxError as error:
            if name not in str(error):  # among many, or from standard input
                error.args = (f"{name}: {error}", *error.args[1:])
            return Outcome.of_error(task, error)
        except Exception as error:  # noqa: BLE001 - one photo must not end the run
            kind = "too little memory" if isinstance(error, MemoryError) else type(error).__name__
            reason = PhotovaxError(f"{name}: {kind}: {first_line(error)}")
            return Outcome.of_error(task, reason)

    def _do(self, task: Task, tell: Callable[[Progress], None]) -> Outcome:
        order, began = self._order, self._began or time.perf_counter()
        self._began = None
        try:
            check_regular(task.source, printable_name(task.source))
            stamp, digest = stamp_of(task.source), file_digest(Path(task.source))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            name = printable_name(task.source)
            raise UnreadablePhoto(f"{name}: cannot be read: {why}") from error
        facts = {"source": {"sha256": digest, "order": self._digest}}
        output = Path(task.output)
        destination = Destination(output, order.overwrite or task.replace, Path(task.source), facts)
        finished = immunize_file(
            self._immunizer,
            Path(task.source),
            destination,
            order,
            show=tell,
            pace=self._pace,
            began=began,
        )
        if order.keep_times:
            copy_times(task.source, task.output)
        return _outcome(task, finished, digest, stamp, self._digest, time.perf_counter() - began)


def _outcome(
    task: Task, finished: Finished, digest: str, stamp: tuple[int, int], order: str, seconds: float
) -> Outcome:
    result, saved = finished.result, finished.saved
    record = json.loads(saved.record.read_text(encoding="utf-8"))
    verdict = weakest(finished.checks) if finished.checks else None
    partial = result.stopped == "interrupted"
    made = Made(
        width=result.photo.width,
        height=result.photo.height,
        record=record,
        seen=saved.seen.line,
        verdicts={name: model.verdict.value for name, model in finished.checks.items()},
        verdict=None if verdict is None else verdict.value,
        meaning="" if verdict is None else verdict.meaning,
        compressed=None if saved.compressed is None else saved.compressed.line,
        partial=partial,
        seconds=seconds,
    )
    entry = Entry(
        photo=task.key,
        state="partial" if partial else "done",
        order=order,
        output=task.output,
        sha256=digest,
        stamp=stamp,
        output_sha256=record["sha256"],
        output_stamp=stamp_of(task.output),
        seconds=round(seconds, 2),
        verdict="" if verdict is None else verdict.value,
        figures=figures_of(record),
    )
    return Outcome(task, entry, made)
