"""Folders of photos: ``python -m benchmarks.batch workers|memory|kills [--photos N] [--steps N]``.

workers: photos a minute with one and with two workers of one thread each, in turn, three times.
    ``--cluster local`` measures Ray's actors instead of processes.
memory: resident memory of one worker over many photos, in a process of its own.
kills: a run that is killed three times at random moments and resumed, against one that is not:
    all results are there, byte for byte the same, and none was made twice.

Photos are pieces of the sample photo, each another one. Take a quiet machine for ``workers``.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

from PIL import Image

from photovax.attack.presets import DEFAULT, PRESETS
from photovax.batch.cluster import Cluster
from photovax.batch.manifest import Entry
from photovax.batch.order import Order
from photovax.batch.plan import OWN_FOLDER, Task
from photovax.batch.processes import Processes
from photovax.batch.runner import Runner
from photovax.demo import SAMPLE
from photovax.machine.memory import peak_resident_bytes, resident_bytes

_REPEATS = 3
_KILLS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("workers", "memory", "kills"))
    parser.add_argument("--photos", type=int, help="default: 24, 1000 or 500")
    parser.add_argument("--side", type=int, default=128, help="of photos, in pixels")
    parser.add_argument("--steps", type=int, default=PRESETS[DEFAULT].steps)
    parser.add_argument("--cluster", metavar="ADDRESS|local")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="photovax-") as name:
        folder = Path(name)
        if options.what == "workers":
            photos = _photos(folder / "in", options.photos or 24, options.side)
            _workers(photos, folder, options.steps, options.cluster)
        elif options.what == "memory":
            photos = _photos(folder / "in", options.photos or 1000, options.side)
            process = mp.get_context("spawn").Process(
                target=_memory, args=(photos, folder, options.steps)
            )
            process.start()
            process.join()
        else:
            _photos(folder / "in", options.photos or 500, options.side)
            _kills(folder, options.steps, random.Random(options.seed))  # noqa: S311 - moments


def _photos(folder: Path, count: int, side: int) -> list[Path]:
    folder.mkdir()
    with Image.open(SAMPLE) as sample:
        sample.load()
    found = []
    across, down = sample.width - side, sample.height - side
    for number in range(count):
        left, top = (37 * number) % across, (53 * number) % down
        found.append(folder / f"{number:05}.jpg")
        sample.crop((left, top, left + side, top + side)).save(found[-1], quality=92)
    return found


def _order(steps: int) -> Order:
    return Order(replace(PRESETS[DEFAULT], steps=steps), device="cpu")


def _tasks(photos: list[Path], folder: Path) -> Iterator[Task]:
    folder.mkdir()
    for photo in photos:
        yield Task(str(photo), str(folder / f"{photo.stem}.png"), photo.name)


def _workers(photos: list[Path], folder: Path, steps: int, cluster: str | None) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(_REPEATS):
        for count, found in rates.items():
            order = _order(steps)
            opened: Runner = (
                Processes(order, count, 1)
                if cluster is None
                else Cluster(order, cluster, count, count)
            )
            with closing(opened) as runner:
                # Models are loaded, and memory is taken, with the first photo of each.
                warm = _tasks(photos[:count], folder / f"warm-{repeat}-{count}")
                assert all(each.made for each in runner.run(warm, None))
                given = list(_tasks(photos, folder / f"out-{repeat}-{count}"))
                began = time.perf_counter()
                assert all(each.made for each in runner.run(given, None))
                found.append(60 * len(given) / (time.perf_counter() - began))
            print(f"{count} worker{'s' * (count > 1)}: {found[-1]:.1f} photos a minute", flush=True)
    one, two = (median(found) for found in rates.values())
    print(f"median: {one:.1f} and {two:.1f} photos a minute, {two / one:.2f} times as many")


def _memory(photos: list[Path], folder: Path, steps: int) -> None:
    from photovax.batch.work import Work

    work = Work(_order(steps))
    work.use(1)
    for number, task in enumerate(_tasks(photos, folder / "out"), 1):
        assert work.do(task).made
        if number in (1, 2, 5, 10, 20, 50) or number % 100 == 0:
            now, peak = (size / 2**20 for size in (resident_bytes(), peak_resident_bytes()))
            print(f"{number:5} photos: {now:.0f} MiB, {peak:.0f} MiB at the peak", flush=True)


def _kills(folder: Path, steps: int, moments: random.Random) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(f'preset = "{DEFAULT}"\nsteps = {steps}\n', encoding="utf-8")
    began = time.perf_counter()
    assert _started(folder, recipe, "whole").wait() in (0, 11)
    whole = time.perf_counter() - began
    for kill in range(_KILLS):
        running = _started(folder, recipe, "killed")
        # A resumed run loads its models first; what is left of the others' time is enough work.
        time.sleep(moments.uniform(0.1, 0.3) * whole)
        running.send_signal(signal.SIGKILL)
        running.wait()
        done = len(list((folder / "killed").glob("*.png")))
        print(f"kill {kill + 1}: {done} results", flush=True)
    assert _started(folder, recipe, "killed").wait() in (0, 11)
    results = {path.name: path.read_bytes() for path in (folder / "whole").glob("*.png")}
    resumed = {path.name: path.read_bytes() for path in (folder / "killed").glob("*.png")}
    lines = (folder / "killed" / OWN_FOLDER / "manifest.jsonl").read_bytes().splitlines()
    made = [entry.photo for entry in map(Entry.read, lines) if entry is not None]
    print(f"{len(results)} photos in {whole:.0f} s without a kill")
    print(f"missing after the kills: {len(results.keys() - resumed.keys())}")
    print(f"other bytes: {sum(resumed.get(name) != data for name, data in results.items())}")
    print(f"made twice: {len(made) - len(set(made))}")


def _started(folder: Path, recipe: Path, output: str) -> subprocess.Popen[bytes]:
    code = "from photovax.cli import main; main()"
    command = [sys.executable, "-c", code, "immunize", str(folder / "in")]
    command += ["-o", str(folder / output), "--recipe", str(recipe), "--device", "cpu"]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=nowhere, stderr=nowhere)  # noqa: S603 - from above


if __name__ == "__main__":
    main()
