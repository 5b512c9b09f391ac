"""Work without models, for processes of their own."""

import hashlib
import json
import os
import time
from pathlib import Path

from photovax.batch.manifest import Entry
from photovax.batch.order import MaskOptions, Order
from photovax.batch.outcome import Made, Outcome, Progress, Show
from photovax.batch.plan import Task
from photovax.batch.transfer import through_scratch
from photovax.errors import ModelError, PhotovaxError


class FakeWork:
    """Writes down what it does; the first letter of a photo's name says what becomes of it."""

    digests = ("0" * 64,)
    device = "cpu"
    order = ""

    def __init__(
        self, threads: int, mask: MaskOptions | None = None, networks: tuple[Path, ...] = ()
    ) -> None:
        self.threads, self.mask, self.networks = threads, mask, networks

    def use(self, threads: int) -> None:
        self.threads = threads

    def step_seconds(self, source: Path) -> float:
        assert source.exists()
        # Alone, two threads are worse than one; two processes are nearly twice as good as one.
        return {1: 1.0, 2: 0.9}[self.threads]

    def do(self, task: Task, show: Show) -> Outcome:
        with Path(task.output).open("a") as file:
            file.write(f"{os.getpid()} {self.threads}\n")
        name = os.path.basename(task.source)
        first = Path(task.output).read_text().count("\n") == 1
        lost_once = name.startswith("once") and first
        if name.startswith("always") or lost_once:
            os._exit(9)
        if name.startswith("masked") and self.mask is not None:
            said = f"{self.mask.path.read_text()} {self.mask.edit_region}\n"
            Path(task.output).write_text(said)
        if name.startswith("network"):
            Path(task.output).write_bytes(self.networks[0].read_bytes())
        partial = False
        while name.startswith("pair") and len(list(Path(task.output).parent.glob("pair*"))) < 2:
            time.sleep(0.01)
        try:
            show(task, Progress("steps", 1, 2))
            time.sleep(60 if name.startswith("slow") or (name.startswith("held") and first) else 0)
        except KeyboardInterrupt:
            partial = True
        made = Made(1, 1, {}, "", {}, "PASS", "", None, partial, 0.0)
        return Outcome(task, Entry(task.key, "done"), made)


class Untimed(FakeWork):
    """Takes no step on the sample photo."""

    def step_seconds(self, source: Path) -> float:
        raise PhotovaxError("no room for a step")


class Copies(FakeWork):
    """Copies photos, through the store that they lie in, beside a record like that of a result."""

    def do(self, task: Task, show: Show) -> Outcome:
        try:
            return through_scratch(task, self._copy, overwrite=task.replace)
        except PhotovaxError as error:
            return Outcome.of_error(task, error)

    def _copy(self, task: Task) -> Outcome:
        content = Path(task.source).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        name = os.path.basename(task.output)
        source = {"sha256": digest, "order": self.order}
        record = {"photovax": "0", "photo": name, "sha256": digest, "source": source}
        Path(f"{task.output}.json").write_text(json.dumps(record))
        Path(task.output).write_bytes(content)
        entry = Entry(
            task.key, "done", self.order, task.output, sha256=digest, output_sha256=digest
        )
        return Outcome(task, entry, Made(1, 1, {}, "", {}, "PASS", "", None, False, 0.0))


def load_copies(order: Order, threads: int) -> Copies:
    work = Copies(threads)
    work.order = order.digest(work.digests)
    return work


def load(order: Order, threads: int) -> FakeWork:
    if order.models == ("broken",):
        raise ModelError("model broken: no weights", hint="look")
    if order.models == ("deadly",):
        os._exit(3)
    if order.models in (("one fits",), ("one is killed",)):
        try:
            order.networks[0].touch(exist_ok=False)
        except FileExistsError:
            if order.models == ("one is killed",):
                os._exit(9)
            raise RuntimeError("out of memory\nand more lines") from None
    if order.models == ("one differs",):
        work = FakeWork(threads)
        try:
            Path(str(order.weights)).touch(exist_ok=False)
        except FileExistsError:
            work.digests = ("1" * 64,)
        return work
    if order.models == ("untimed",):
        return Untimed(threads)
    if order.models == ("damaged",):
        raise ModelError(f"network {order.networks[0]}: damaged")
    return FakeWork(threads, order.mask, order.networks)


def tasks(folder: Path, *names: str) -> list[Task]:
    return [Task(name, str(folder / name), name) for name in names]
