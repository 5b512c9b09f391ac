"""What bfloat16 and torch.compile would gain: ``python -m benchmarks.precision --weights FOLDER``.

For each model, on the middle square of the sample photo at the model's own size or ``--size``:
the cosine of the gradient in bfloat16 autocast to that in float32, near the photo and after four
steps of a drift and of a pull to grey; seconds of a pass in float32, in bfloat16 and compiled, in
turn in one run; and the seconds that compiling takes. ``--random sd15`` adds the true shape of a
model with random weights.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Generator, Tensor

from benchmarks.shapes import add_models, asked_models
from photovax.attack.budgets import Linf
from photovax.attack.losses import LossFn
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.optimise import Steps, pgd
from photovax.machine.precision import quick_passes
from photovax.models.catalog.places import fed_size
from photovax.models.load import load_autoencoder
from photovax.models.views import resize
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part
from photovax.tensors import tensor

CPU = torch.device("cpu")
NEAR = 4 / 255
"""How far from the photo, at most: at it drift's gradient is zero, and near it mostly rounding."""


def gradient(value: Callable[[Tensor], Tensor], images: Tensor, *, half: bool = False) -> Tensor:
    """Of a value's sum, as float32."""
    images = images.clone().requires_grad_()
    quick = quick_passes("bfloat16" if half else "float32", CPU) or nullcontext
    with quick():
        made = value(images).sum()
    return torch.autograd.grad(made, images)[0].float()


def _told(loss: LossFn, images: Tensor) -> Tensor:
    return loss(images, Generator().manual_seed(0))


def in_turn(passes: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, one after the other; the first turn warms up."""
    spent: dict[str, list[float]] = {name: [] for name in passes}
    for _ in range(repeats + 1):
        for name, run in passes.items():
            began = time.perf_counter()
            run()
            spent[name].append(time.perf_counter() - began)
    return {name: median(seconds[1:]) for name, seconds in spent.items()}


def compare(name: str, size: int | None, weights: Path | None, repeats: int) -> None:
    """Measure one model and print."""
    model: Any = load_autoencoder(name, device=CPU, weights=weights)
    side = fed_size(name, size)
    photo = tensor(read_photo(SAMPLE).visible(), CPU)
    cut = min(photo.shape[-2:])
    origin = resize(photo[..., :cut, :cut], side, side)
    noise = torch.rand(origin.shape, generator=Generator().manual_seed(0)) * 2 - 1
    near = (origin + NEAR * noise).clamp(0, 1)
    print(f"\n{name}, {side} x {side}")
    for label, part in (
        ("drift", Part("latent_drift")),
        ("grey", Part("latent_target", {"target": "grey"})),
    ):
        bound = OBJECTIVES.create(part).bind(model, origin)
        loss = partial(_told, bound)
        moved = pgd(
            [bound],
            origin,
            Linf(2 * NEAR),
            Steps(4, NEAR, schedule="constant"),
            generator=Generator().manual_seed(0),
        ).x
        cosines = []
        for images in (near, moved):
            full, half = (gradient(loss, images, half=each).flatten() for each in (False, True))
            cosines.append(torch.nn.functional.cosine_similarity(full, half, dim=0).item())
        print(
            f"  {label}: cosine of the gradient in bfloat16 {cosines[0]:.4f} near the photo, "
            f"{cosines[1]:.4f} after four steps"
        )
    compiled = torch.compile(model.encode)
    began = time.perf_counter()
    gradient(compiled, near)
    built = time.perf_counter() - began
    seconds = in_turn(
        {
            "float32": lambda: gradient(model.encode, near),
            "bfloat16": lambda: gradient(model.encode, near, half=True),
            "compiled": lambda: gradient(compiled, near),
        },
        repeats,
    )
    print(
        "  a pass: "
        + ", ".join(f"{label} {each:.2f} s" for label, each in seconds.items())
        + f"; compiling took {built:.0f} s",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_models(parser)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, weights, _ in asked_models(options):
        compare(name, options.size, weights, options.repeats)


if __name__ == "__main__":
    main()
