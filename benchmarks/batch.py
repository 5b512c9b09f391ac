"""Folders of photos: ``python -m benchmarks.batch workers|memory|kills [--photos N] [--steps N]``.

workers: photos a minute with one and with two workers of one thread each, in turn, three times.
    ``--cluster local`` measures Ray's actors instead of processes.
memory: resident memory of one worker over many photos, in a process of its own.
kills: a run that is killed three times at random moments and resumed, against one that is not:
    all results are there, byte for byte the same, and none was made twice.

Each prints a Markdown table under a line with the machine and versions. Photos are pieces of the
sample photo, each another one. Take a quiet machine. ``workers`` uses the default recipe; the
others have hundreds of photos, so they use ``instant`` on a model that is fed 64 pixels.
"""

from __future__ import annotations

import argparse
import multiprocessing as mp
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from statistics import median

from PIL import Image

from photovax.attack.presets import DEFAULT, INSTANT, PRESETS, load_recipe
from photovax.batch.cluster import Cluster
from photovax.batch.manifest import Entry
from photovax.batch.order import Order
from photovax.batch.plan import OWN_FOLDER, Task
from photovax.batch.processes import Processes
from photovax.batch.runner import Runner
from photovax.machine.cores import cores
from photovax.machine.memory import peak_resident_bytes, resident_bytes
from photovax.pictures.sample import SAMPLE

USUAL = {"workers": (12, DEFAULT, None), "memory": (1000, INSTANT, 64), "kills": (500, INSTANT, 64)}
"""Number of photos, recipe and size of each measurement: at most ten minutes on two cores."""

_KILLS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=tuple(USUAL))
    parser.add_argument("--photos", type=int, help="default: 12, 1000 or 500")
    parser.add_argument("--side", type=int, default=128, help="of photos, in pixels")
    parser.add_argument(
        "--recipe", choices=tuple(PRESETS), help="default: fast for workers, else instant"
    )
    parser.add_argument("--size", type=int, help="fed to the model; default: 64 with instant")
    parser.add_argument("--steps", type=int, help="default: the recipe's")
    parser.add_argument("--times", type=int, default=3, help="of workers")
    parser.add_argument("--cluster", metavar="ADDRESS|local")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos, usual, size = USUAL[options.what]
    count, name = options.photos or photos, options.recipe or usual
    size = options.size or (size if options.recipe is None else None)
    with tempfile.TemporaryDirectory(prefix="photovax-") as temporary:
        folder = Path(temporary)
        recipe = _recipe(folder / "recipe.toml", name, size, options.steps)
        print(
            f"{_machine()}; photos of {options.side} x {options.side} pixels, recipe {name}"
            + (f" fed {size} pixels" if size else "")
            + (f", {options.steps} steps" if options.steps else "")
            + "\n"
        )
        given = _photos(folder / "in", count, options.side)
        if options.what == "workers":
            _workers(given, folder, recipe, options.cluster, options.times)
        elif options.what == "memory":
            context = mp.get_context("spawn")
            process = context.Process(target=_memory, args=(given, folder, recipe))
            process.start()
            process.join()
            sys.exit(process.exitcode)
        else:
            _kills(folder, recipe, random.Random(options.seed))  # noqa: S311 - moments


def _machine() -> str:
    """Cores, processor and versions, in a line."""
    name = platform.processor() or platform.machine()
    about = Path("/proc/cpuinfo")  # on Linux alone
    if about.exists():
        lines = about.read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2] for line in lines if "model name" in line), name)
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "photovax"))
    return f"{cores()} cores of {name.strip()}, Python {platform.python_version()}, {versions}"


def _recipe(file: Path, name: str, size: int | None, steps: int | None) -> Path:
    """Write the recipe that both the library and the command line are given."""
    # A recipe file with other steps starts from no network unless it says so.
    warm = PRESETS[name].warm
    asked = {"preset": f'"{name}"', "size": size, "steps": steps, "warm": steps and warm}
    lines = [f"{key} = {value}\n" for key, value in asked.items() if value is not None]
    file.write_text("".join(lines), encoding="utf-8")
    return file


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


def _order(recipe: Path) -> Order:
    return Order(load_recipe(str(recipe)), device="cpu")


def _tasks(photos: list[Path], folder: Path) -> Iterator[Task]:
    folder.mkdir()
    for photo in photos:
        yield Task(str(photo), str(folder / f"{photo.stem}.png"), photo.name)


def _workers(
    photos: list[Path], folder: Path, recipe: Path, cluster: str | None, times: int
) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(times):
        for count, found in rates.items():
            order = _order(recipe)
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
    what = "actors of Ray" if cluster else "processes"
    print(f"| workers ({what}) | photos a minute, median of {times} | times as many |")
    print("|---|---|---|")
    one = median(rates[1])
    for count, found in rates.items():
        each = ", ".join(f"{rate:.1f}" for rate in found)
        print(f"| {count} | {median(found):.1f} ({each}) | {median(found) / one:.2f} |")


def _memory(photos: list[Path], folder: Path, recipe: Path) -> None:
    from photovax.batch.work import Work

    work = Work(_order(recipe))
    work.use(1)
    print("| photos done | resident memory | at the peak |\n|---|---|---|")
    for number, task in enumerate(_tasks(photos, folder / "out"), 1):
        assert work.do(task).made
        if number in (1, 10, 100, len(photos)) or number % 200 == 0:
            now, peak = (size / 2**20 for size in (resident_bytes(), peak_resident_bytes()))
            print(f"| {number} | {now:.0f} MiB | {peak:.0f} MiB |", flush=True)


def _kills(folder: Path, recipe: Path, moments: random.Random) -> None:
    began = time.perf_counter()
    assert _started(folder, recipe, "whole").wait() in (0, 11)
    whole = time.perf_counter() - began
    done = []
    for _ in range(_KILLS):
        running = _started(folder, recipe, "killed")
        # A resumed run loads its models first; what is left of the others' time is enough work.
        time.sleep(moments.uniform(0.1, 0.3) * whole)
        running.send_signal(signal.SIGKILL)
        running.wait()
        done.append(len(list((folder / "killed").glob("*.png"))))
    assert _started(folder, recipe, "killed").wait() in (0, 11)
    results = {path.name: path.read_bytes() for path in (folder / "whole").glob("*.png")}
    resumed = {path.name: path.read_bytes() for path in (folder / "killed").glob("*.png")}
    lines = (folder / "killed" / OWN_FOLDER / "manifest.jsonl").read_bytes().splitlines()
    made = [entry.photo for entry in map(Entry.read, lines) if entry is not None]
    other = sum(resumed[name] != data for name, data in results.items() if name in resumed)
    print("| photos | seconds without a kill | done at each kill | missing | other bytes | twice |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {len(results)} | {whole:.0f} | {', '.join(map(str, done))} "
        f"| {len(results.keys() - resumed.keys())} | {other} | {len(made) - len(set(made))} |"
    )


def _started(folder: Path, recipe: Path, output: str) -> subprocess.Popen[bytes]:
    code = "from photovax.cli import main; main()"
    command = [sys.executable, "-c", code, "immunize", str(folder / "in")]
    command += ["-o", str(folder / output), "--recipe", str(recipe), "--device", "cpu"]
    command += ["--workers", "2"]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=nowhere, stderr=nowhere)  # noqa: S603 - from above


if __name__ == "__main__":
    main()
