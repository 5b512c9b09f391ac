"""What works on the photos of a run: this process, other processes, or another machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from photovax.batch.manifest import Manifest
from photovax.batch.order import Order
from photovax.batch.outcome import Outcome, Show
from photovax.batch.plan import Plan, Task
from photovax.batch.processes import Processes
from photovax.machine.cores import cores

if TYPE_CHECKING:
    from photovax.batch.work import Work

__all__ = ["Local", "Runner", "open_runner"]

_ARRANGEMENT = "workers.json"


class Runner(Protocol):
    """Works on photos; its models are loaded when it is made.

    Plan, manifest, skipping, reports and exit codes are those of ``photovax.batch.run``, whatever
    the runner. Outcomes are plain data, so that they can come from anywhere.
    """

    @property
    def digests(self) -> list[str]:
        """SHA-256 of all weights that decide a result: those attacked, and networks."""
        ...

    def run(self, tasks: Iterable[Task], show: Show | None) -> Iterator[Outcome]:
        """Work on photos, and yield each outcome as soon as it is known, in any order.

        Tasks are drawn as workers get free. A lost worker costs at most its photo.

        Raises:
            KeyboardInterrupt: If interrupted. Unfinished photos have left nothing behind, except
                for partial results that the order keeps, which are yielded before.
        """
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Local:
    """Works on one photo after another in this process.

    Args:
        work: Loaded models.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self.digests = work.digests

    def run(self, tasks: Iterable[Task], show: Show | None) -> Iterator[Outcome]:
        """See ``Runner.run``."""
        for task in tasks:
            outcome = self._work.do(task, show)
            yield outcome
            if outcome.made is not None and outcome.made.partial:
                raise KeyboardInterrupt

    def close(self) -> None:
        """See ``Runner.close``; nothing was started."""


def open_runner(
    order: Order,
    workers: int | None,
    plan: Plan,
    manifest: Manifest,
    *,
    cluster: str | None = None,
    began: float | None = None,
    watched: bool = False,
) -> Runner:
    """Load the models in as many processes as are asked for.

    Args:
        order: What is asked of every photo.
        workers: Number of processes; None to measure how many are fastest, which is kept beside
            the manifest, so that a run that is resumed works as before. On a cluster, None stands
            for as many as it has room for.
        plan: Photos; there are no more processes than photos, unless more may come.
        manifest: Manifest of the plan's folder.
        cluster: Address of the Ray cluster that works; None for this machine.
        began: Time of ``time.perf_counter`` from which the time of a single photo counts.
        watched: Whether more photos may come.

    Raises:
        PhotovaxError: If a model cannot be loaded, or there is no such cluster.
    """
    if cluster is not None:
        from photovax.batch.cluster import Cluster  # only where it is asked for

        return Cluster(order, cluster, workers, None if watched else max(1, len(plan.tasks)))
    every = cores()
    count = every if workers is None else workers
    if not watched:
        count = min(count, max(1, len(plan.tasks)))
    if count == 1:
        from photovax.batch.work import Work  # imports PyTorch

        alone = len(plan.tasks) == 1 and not watched
        return Local(Work(order, began=began if alone else None))
    if workers is not None:
        return Processes(order, count, max(1, every // count))
    asked = {"cores": every, "order": order.costs()}
    known = manifest.noted(_ARRANGEMENT)
    if {name: known.get(name) for name in asked} == asked:
        with suppress(KeyError):
            return Processes(order, min(count, known["workers"]), known["threads"])
    processes = Processes(order, 1, every)
    try:
        best, threads = processes.fastest()
    except BaseException:
        processes.close()
        raise
    manifest.note(_ARRANGEMENT, {**asked, "workers": best, "threads": threads})
    return processes
