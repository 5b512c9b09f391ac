"""PhotoGuard's published loop beside ours: ``python -m benchmarks.speed --weights FOLDER``.

For each model, on the middle square of a photo: (a) the loop of PhotoGuard's web demo as it was
published (200 steps, float32, the system's allocator), and (b) this package's ``fast-grey``,
which has its objective, within its budget. Both run in processes of their own and step in turn.
Prints seconds of a step (median), the steps and seconds that (b) takes to (a)'s final loss, peak
memory, and the ratio of the times. ``--random sd15`` adds the true shape of a model with random
weights for ``--few`` steps: what a step costs does not depend on the weights, but how many steps
are needed does, and only trained models tell.

CPU seconds are what a process used of its cores: they hold where others use the machine too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from benchmarks.passes import PUBLISHED, quicker
from benchmarks.shapes import add_models, asked_models
from photovax.attack.presets import PRESETS
from photovax.immunizer import Immunizer
from photovax.machine.precision import Precision
from photovax.models.autoencoders.base import FrozenAutoencoder
from photovax.models.catalog.places import fed_size
from photovax.models.latents import latent_distance, latent_unit
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Task:
    """What a process is asked for."""

    model: str
    weights: Path | None
    photo: Path
    steps: int
    threads: int
    precision: Precision


@dataclass
class Side:
    """What a process told: after each step, its loss before it, seconds and CPU seconds."""

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: float = 0.0


def published(task: Task, tell: Callable[[float], None]) -> None:
    """PhotoGuard's loop with the settings of its web demo, in [-1, 1] and its order of things."""
    recipe = PRESETS[PUBLISHED]
    eps, step_size, iters = 2 * recipe.radius, 2 * recipe.step_size, task.steps
    encode = _as_it_comes(load_autoencoder(task.model, device=CPU, weights=task.weights))
    X = tensor(read_photo(task.photo).visible(), CPU) * 2 - 1
    with torch.no_grad():
        target, unit = encode(torch.zeros_like(X)), latent_unit(encode(X))
    X_adv = X.clone().detach() + (torch.rand(*X.shape) * 2 * eps - eps)
    for i in range(iters):
        actual_step_size = step_size - (step_size - step_size / 100) / iters * i
        X_adv.requires_grad_(True)
        latent = encode(X_adv)
        loss = F.mse_loss(latent, target)
        (grad,) = torch.autograd.grad(loss, [X_adv])
        X_adv = X_adv - grad.detach().sign() * actual_step_size
        X_adv = torch.minimum(torch.maximum(X_adv, X - eps), X + eps)
        X_adv.data = torch.clamp(X_adv, min=-1, max=1)
        X_adv.grad = None
        # In the unit of this package, so that the two can be compared.
        tell((latent_distance(latent.detach(), target) / unit).item())


def ours(task: Task, tell: Callable[[float], None]) -> None:
    """The same objective, budget and view by this package."""
    photo = read_photo(task.photo)
    recipe = replace(quicker(), steps=task.steps, size=photo.height)
    immunizer = Immunizer(
        [task.model], weights=task.weights, device="cpu", precision=task.precision
    )
    immunizer.immunize(photo, recipe, callback=lambda step: tell(step.losses.item()))


def _as_it_comes(loaded: Any) -> Callable[[Tensor], Tensor]:
    """The encoder of [-1, 1] as a pipeline has it: weights with gradients, channels first."""
    diffusers = isinstance(loaded, FrozenAutoencoder)
    network = loaded.model if diffusers else loaded._encoder
    network.requires_grad_(True).to(memory_format=torch.contiguous_format)
    if diffusers:
        return lambda x: network.encode(x).latent_dist.mean
    return lambda x: network(x / 2 + 0.5)


def _process(
    line: Connection, run: Callable[[Task, Callable[[float], None]], None], task: Task
) -> None:
    """Run one side, a step each time that the line says so."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    began = [0.0, 0.0]

    def wait() -> None:
        line.recv()
        began[:] = time.perf_counter(), time.process_time()

    def tell(loss: float) -> None:
        line.send((loss, time.perf_counter() - began[0], time.process_time() - began[1]))
        wait()

    wait()
    run(task, tell)
    line.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def stepped_in_turn(tasks: dict[Any, Task]) -> list[Side]:
    """Both sides, a step of one after a step of the other while both have some left."""
    context = multiprocessing.get_context("spawn")
    running: list[tuple[Side, Connection]] = []
    for run, task in tasks.items():
        line, end = context.Pipe()
        context.Process(target=_process, args=(end, run, task), daemon=True).start()
        running.append((Side(), line))
    sides = [side for side, _ in running]
    while running:
        for side, line in list(running):
            line.send(None)
            told = line.recv()
            if isinstance(told, float):
                side.peak = told
                running.remove((side, line))
                continue
            for series, value in zip((side.losses, side.seconds, side.cpu), told, strict=True):
                series.append(value)
    return sides


def compare(name: str, options: argparse.Namespace, *, weights: Path | None, few: bool) -> None:
    """Measure one model and print its rows."""
    size = fed_size(name, options.size)
    with tempfile.TemporaryDirectory() as folder:
        square = Path(folder) / "square.png"
        with Image.open(options.photo) as sample:
            ImageOps.fit(sample.convert("RGB"), (size, size)).save(square)
        slow = Task(
            name,
            weights,
            square,
            options.few if few else options.steps,
            options.threads,
            options.precision,
        )
        steps = options.few if few else quicker().steps
        quick = replace(slow, steps=steps)
        plain, own = stepped_in_turn({published: slow, ours: quick})
    print(f"\n{name}{' with random weights' if few else ''}, {size} x {size}")
    # The first step also loads and binds; only those taken in turn are comparable.
    turns = slice(1, min(slow.steps, quick.steps))
    pace = {}
    for label, side, task in (("published", plain, slow), ("ours", own, quick)):
        seconds, cpu = (median(series[turns]) for series in (side.seconds, side.cpu))
        pace[label] = seconds, cpu
        end = "" if few else f", {task.steps} steps to a loss of {side.losses[-1]:.4f}"
        print(f"  {label:<10} {seconds:.2f} s a step, {cpu:.2f} CPU s, {side.peak:.2f} GiB{end}")
    (seconds, cpu), (own_seconds, own_cpu) = pace["published"], pace["ours"]
    print(f"  a step: {seconds / own_seconds:.2f} times as fast, {cpu / own_cpu:.2f} in CPU s")
    if few:
        print("  steps to a loss: see the trained models")
        return
    if options.precision != "float32":
        print("  steps to a loss: with --precision float32; told in bfloat16, it is rounded")
        return
    reached = next((i for i, loss in enumerate(own.losses) if loss <= plain.losses[-1]), None)
    if reached is None:
        print("  the published loss was not reached")
        return
    print(
        f"  published loss reached after {reached} steps, {reached * own_seconds:.1f} s of "
        f"{slow.steps * seconds:.1f} s: {slow.steps * seconds / (reached * own_seconds):.1f} times "
        f"as fast, {slow.steps * cpu / (reached * own_cpu):.1f} in CPU s",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--steps", type=int, default=PRESETS[PUBLISHED].steps, help="of (a)")
    parser.add_argument("--photo", type=Path, default=SAMPLE)
    parser.add_argument("--few", type=int, default=4, help="steps with random weights, 3 or more")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of (b)"
    )
    options = parser.parse_args()
    print(f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}")
    for name, weights, random in asked_models(options):
        compare(name, options, weights=weights, few=random)


if __name__ == "__main__":
    main()
