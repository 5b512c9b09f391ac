"""What a step costs beside the bare model: ``python -m benchmarks.overhead [--model taef2]``.

Both are timed in turn in one run, on the sample photo through the default recipe's views: steps of
``pgd``, and forward and backward of the same encoder and decoder on pictures already resized.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from statistics import median

import torch
from torch import Generator, Tensor

from photovax.attack.budgets import BUDGETS
from photovax.attack.losses import LossFn
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.optimise import Step, Steps, pgd
from photovax.attack.presets import DEFAULT, PRESETS
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.views import VIEWS, View
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    repeats = options.repeats
    recipe = PRESETS[DEFAULT]
    (model,) = Immunizer([options.model], weights=options.weights, device="cpu").models
    origin = tensor(read_photo(SAMPLE).visible(), torch.device("cpu"))
    objective = OBJECTIVES.create(recipe.objective)
    views = [VIEWS.create(part).fitted(model.size) for part in recipe.views]

    def seen_loss(view: View) -> LossFn:
        bound = objective.bind(model, view(origin, Generator()))
        return lambda images, generator: bound(view(images, generator), generator)

    losses = [seen_loss(view) for view in views]
    ready = [view(origin, Generator()) for view in views]

    def bare(images: Tensor) -> None:
        images = images.clone().requires_grad_()
        torch.autograd.grad(model.decode_unclipped(model.encode(images)).square().sum(), images)

    ours, model_alone = [], []
    for _ in range(repeats + 1):
        steps: list[Step] = []
        pgd(
            losses,
            origin,
            BUDGETS.create(recipe.budget),
            Steps(len(views), recipe.step_size, draws=recipe.draws),
            generator=Generator().manual_seed(0),
            callback=steps.append,
        )
        began = time.perf_counter()
        for images in ready:
            bare(images)
        ours.append(sum(step.seconds for step in steps))
        model_alone.append(time.perf_counter() - began)
    # The first turn warms up.
    stepped, pure = median(ours[1:]), median(model_alone[1:])
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{options.model}, {len(views)} steps of {DEFAULT}: {stepped:.2f} s, bare passes "
        f"{pure:.2f} s, ratio {stepped / pure:.3f} (median of {repeats})"
    )


if __name__ == "__main__":
    main()
