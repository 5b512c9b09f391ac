"""The run of ``photovax immunize`` over its photos: what is printed, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from photovax.batch.libraries import import_libraries
from photovax.batch.manifest import Manifest
from photovax.batch.order import Order
from photovax.batch.outcome import Made, Outcome, Progress
from photovax.batch.plan import Plan, Task
from photovax.batch.report import check_report, write_report
from photovax.batch.run import Run
from photovax.batch.runner import Runner, open_runner
from photovax.batch.storage import is_url
from photovax.cli.pipes import Pipe
from photovax.cli.progress import Bars, bars
from photovax.cli.survival import survival_lines
from photovax.errors import Interrupted, PhotovaxError, UnreadablePhoto
from photovax.models.catalog.places import fed_size
from photovax.pictures.outputs import Destination
from photovax.pictures.pillow import printable_name

if TYPE_CHECKING:
    from photovax.batch.watch import Watch

__all__ = ["Wish", "immunize"]

_LISTED = 20


@dataclass(frozen=True)
class Wish:
    """What the options ask of a run.

    Attributes:
        order: What is asked of every photo.
        workers: Number of processes; None to measure how many are fastest, or for as many as the
            cluster has room for.
        cluster: Address of the Ray cluster that works; None for this machine.
        shard: (i, n), the part of the photos.
        existing: Whether any file at the place of a result counts as done.
        watched: Folders to go on watching; None to end after the photos that are there.
        recursive: Whether folders in folders are entered.
        dry_run: Whether to say only how much work there is.
        report: File of the report, or None.
        as_json: Whether to print JSON instead of text.
        began: Time of ``time.perf_counter`` at which the command began.
    """

    order: Order
    workers: int | None
    cluster: str | None
    shard: tuple[int, int]
    existing: bool
    watched: Sequence[Path] | None
    recursive: bool
    dry_run: bool
    report: Path | None
    as_json: bool
    began: float


@dataclass
class _Tally:
    """What became of the photos of a run."""

    runs: list[Run] = field(default_factory=list)
    unreadable: int = 0
    done: int = 0
    failed: dict[str, Outcome] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)
    data: list[dict[str, object]] = field(default_factory=list)
    repeated: int = 0
    interrupted: bool = False

    @property
    def total(self) -> int:
        """Number of photos that were to be worked on."""
        return self.unreadable + sum(run.total for run in self.runs) - self.repeated

    @property
    def before(self) -> int:
        """Number of photos that were done before, or by another run meanwhile."""
        return sum(run.done for run in self.runs)

    @property
    def unprotected(self) -> list[str]:
        """Results with the verdict FAIL, of this run and those that were there."""
        before = (place for run in self.runs for place in run.unprotected)
        return list(dict.fromkeys([*self.failing, *before]))

    @property
    def left(self) -> list[Task]:
        """Photos that were not worked on."""
        return [task for run in self.runs for task in run.left.values()]


def immunize(wish: Wish, make_plan: Callable[[], Plan], pipe: Pipe) -> None:
    """Immunize the photos of a plan, and exit with a code that says how it went.

    Args:
        wish: What the options ask.
        make_plan: Function that finds the photos.
        pipe: Files that stand for standard input and output.
    """
    plan = make_plan()
    _check_early(wish, plan)
    _say_left_out(plan)
    tally = _Tally()
    if not plan.tasks and wish.watched is None:
        # Nothing heavy is imported to say that there is nothing to do.
        tally.unreadable = len(plan.failed)
        with bars(quiet=True) as drawn:
            for source, error in plan.failed:
                _see(Outcome.of_error(Task(source, "", source), error), tally, wish, pipe, drawn)
        _finish(tally, wish, pipe)
        return
    manifest = Manifest(plan.folder, wish.shard, writes=not wish.dry_run)
    if wish.dry_run:
        from photovax.batch.estimate import estimate

        for line in estimate(plan, wish.order, manifest, existing=wish.existing):
            typer.echo(line)
        return
    alone = len(plan.tasks) == 1 and wish.watched is None
    if wish.cluster is None and (wish.workers == 1 or alone):  # models in this process
        import_libraries(metrics=wish.order.sees)
    opened = open_runner(
        wish.order,
        wish.workers,
        plan,
        manifest,
        cluster=wish.cluster,
        began=wish.began,
        watched=wish.watched is not None,
    )
    with closing(opened) as runner:
        try:
            _do(wish, make_plan, plan, runner, manifest, tally, pipe)
        except KeyboardInterrupt:
            tally.interrupted = bool(tally.left) or wish.watched is None
    pipe.send()
    refused: PhotovaxError | None = None
    if wish.report is not None:
        found = plan if wish.watched is None else make_plan()  # with what came meanwhile
        try:
            written = write_report(wish.report, found, manifest)
        except PhotovaxError as error:  # what is done is told first
            refused = error
        else:
            typer.echo(f"{written}", err=pipe.to_stdout or wish.as_json)
    _finish(tally, wish, pipe, refused)


def _check_early(wish: Wish, plan: Plan) -> None:
    """Refuse before anything heavy is imported what would fail after it."""
    for name in wish.order.models:
        fed_size(name, wish.order.recipe.size)
    mask = wish.order.mask
    if mask is not None and not mask.path.exists():
        raise UnreadablePhoto(f"{printable_name(mask.path)}: cannot be read: there is no such file")
    if wish.report is not None:
        check_report(wish.report, plan.folder)
    if len(plan.tasks) == 1 and plan.folder is None and not is_url(plan.tasks[0].output):
        task = plan.tasks[0]
        # Whether it exists is seen later, since it may be the result that is asked for.
        Destination(Path(task.output), overwrite=True, source=Path(task.source)).check()


def _do(
    wish: Wish,
    make_plan: Callable[[], Plan],
    plan: Plan,
    runner: Runner,
    manifest: Manifest,
    tally: _Tally,
    pipe: Pipe,
) -> None:
    """Work on the photos, and on those that come as long as folders are watched."""
    watch: Watch | None = None
    if wish.watched is not None:
        from photovax.batch.watch import Watch

        watch = Watch(wish.watched, recursive=wish.recursive)
        plan = watch.settled(plan)
    with bars(quiet=wish.as_json) as drawn:

        def tell(task: Task, progress: Progress) -> None:
            drawn.show(task.source, progress)
            if progress.note:
                drawn.say(pipe.shown(f"photovax: {printable_name(task.source)}: {progress.note}"))

        while True:
            run = Run(plan, wish.order, runner, manifest, existing=wish.existing)
            tally.runs.append(run)
            drawn.begin(run.total)
            for outcome in run.outcomes(tell):
                _see(outcome, tally, wish, pipe, drawn)
            if watch is None:
                return
            watch.wait()
            plan = watch.settled(make_plan())


def _see(outcome: Outcome, tally: _Tally, wish: Wish, pipe: Pipe, drawn: Bars) -> None:
    """Count and print the outcome of one photo."""
    made, count = outcome.made, drawn.finished(outcome.task.source)
    # One that was still being copied fails at first where folders are watched.
    if tally.failed.pop(outcome.task.source, None) is not None:
        tally.repeated += 1
    if made is None:
        tally.failed[outcome.task.source] = outcome
    else:
        tally.done += 1
        if made.verdict == "FAIL":
            tally.failing.append(outcome.task.output)
    if wish.as_json:
        tally.data.append(_data(outcome, pipe))
        return
    if made is None:
        typer.echo(f"photovax: {pipe.shown(outcome.failure)}", err=True)
    else:
        for line in _summary(outcome, made, wish.order):
            typer.echo(pipe.shown(line), err=pipe.to_stdout)
    if count:
        typer.echo(count, err=True)


def _summary(outcome: Outcome, made: Made, order: Order) -> list[str]:
    """The summary of one photo."""
    record = made.record
    seen: dict[str, Any] = record["realised"]
    ssim = "" if seen["ssim"] is None else f", SSIM {seen['ssim']:.4f}"
    psnr = "" if seen["psnr"] is None else f", PSNR {seen['psnr']:.1f} dB"
    lines = [
        outcome.task.output,
        f"  size        {made.width} x {made.height}",
        f"  change      {seen['linf']} of 255 levels at most, l2 {seen['l2']:.2f}{psnr}{ssim}",
        *([] if made.compressed is None else [f"  compressed  {made.compressed}"]),
        f"  seen        {made.seen}",
    ]
    for name, effect in record["effects"].items():
        damage = _damage(effect["damage"])
        lines.append(
            f"  {name:<11} latent moved by {effect['shift']:.2f} of its standard deviation{damage}"
        )
    quick = f" ({record['bfloat16_steps']} in bfloat16)" if record["bfloat16_steps"] else ""
    lines.append(
        f"  work        {record['steps']} steps{quick}, {made.seconds:.1f} s, "
        f"recipe {order.recipe.digest()}"
    )
    if "survival" in record:
        lines += [f"  {line}" for line in survival_lines(record["survival"])]
    lines += [f"  note        {note}" for note in record["notes"]]
    if order.seconds is not None and made.seconds > 1.1 * order.seconds:
        lines.append(f"  note        this took longer than the {order.seconds:g} s asked for")
    if made.partial:
        lines.append("  note        interrupted: this is the best result so far")
    if len(made.verdicts) > 1:
        lines += [f"  {name:<11} {verdict}" for name, verdict in made.verdicts.items()]
    if made.verdict is not None:
        lines.append(f"  verdict     {made.verdict}: {made.meaning}")
    return lines


def _damage(decibels: float | None) -> str:
    """What became of a model's reconstruction, as the end of a line."""
    if decibels is None:
        return ""
    return f", reconstruction {abs(decibels):.1f} dB {'better' if decibels < 0 else 'worse'}"


def _data(outcome: Outcome, pipe: Pipe) -> dict[str, object]:
    if outcome.made is None:
        return {
            "source": pipe.shown(outcome.task.source),
            "error": pipe.shown(outcome.failure),
        }
    return {
        "source": pipe.shown(outcome.task.source),
        "photo": outcome.task.output,
        "verdict": outcome.made.verdict,
        "record": outcome.made.record,
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _say_left_out(plan: Plan) -> None:
    """Say what was found and is not immunized."""
    parts = []
    if plan.results:
        parts.append(f"{_counted(plan.results, 'result')} of photovax")
    if plan.left_out:
        each = ", ".join(
            f"{name} {count}" for name, count in sorted(plan.left_out.items())[:_LISTED]
        )
        parts.append(f"{_counted(sum(plan.left_out.values()), 'file')} without a photo ({each})")
    if plan.folders:
        parts.append(f"{_counted(plan.folders, 'folder')} (see --recursive)")
    if parts:
        typer.echo(f"left out: {'; '.join(parts)}", err=True)


def _finish(tally: _Tally, wish: Wish, pipe: Pipe, refused: PhotovaxError | None = None) -> None:
    """List what was not done, and exit with the code of the first error.

    Args:
        tally: What became of the photos.
        wish: What the options ask.
        pipe: Files that stand for standard input and output.
        refused: Why the report could not be written; None if it was, or was not asked for.
    """
    if wish.as_json:
        typer.echo(json.dumps(tally.data, indent=1))
    left = tally.left if tally.interrupted else []
    failing = [
        f"not protected: {printable_name(place)}: verdict FAIL" for place in tally.unprotected
    ]
    many = tally.total + tally.before != 1
    if many:
        lines = [f"not done: {pipe.shown(outcome.failure)}" for outcome in tally.failed.values()]
        lines += [f"not done: {printable_name(task.source)}: interrupted" for task in left]
        lines += failing
        for line in lines[:_LISTED]:
            typer.echo(line, err=True)
        if len(lines) > _LISTED:
            typer.echo(f"and {len(lines) - _LISTED} more", err=True)
        before = f", {tally.before} done before" if tally.before else ""
        typer.echo(f"{tally.done} of {tally.total} photos immunized{before}", err=True)
    elif tally.interrupted and left:
        typer.echo("photovax: interrupted before there was a result", err=True)
    elif tally.before:
        typer.echo("nothing to do: the result is there, of the same photo and settings", err=True)
        for line in failing:
            typer.echo(line, err=True)
    if tally.before and wish.order.survival:
        line = "--survival measures new results; of those that were there: photovax check RESULT "
        typer.echo(f"{line}--original PHOTO --survival", err=True)
    if tally.interrupted:
        sys.exit(Interrupted.exit_code)
    if refused is not None:
        typer.echo(f"photovax: {refused.line}", err=True)
    errors = [outcome.error for outcome in tally.failed.values() if outcome.error is not None]
    errors += [] if refused is None else [refused]
    if errors:
        sys.exit(errors[0].exit_code)
    if failing:
        from photovax.checks.verdicts import Verdict  # late: PyTorch is imported with it

        sys.exit(Verdict.FAIL.exit_code)
