"""One pass beside descents: ``python -m benchmarks.instant PHOTO... [--side 512]``.

Immunizes the middle squares of photos, without loading, rounding to files or measuring, in turn
and in one run: a bare pass of the model's encoder at the side it is fed, ``instant``,
``fast`` from the network's answer, and ``fast`` without a network. Prints medians in seconds, each
as a multiple of the encoder pass, the latent shift that each reaches, and how far what is decoded
has moved, which is what ``fast`` goes for. ``--curve`` prints both after several numbers of steps,
with and without the network. ``--random sd15`` takes the true shape of a model and a network of the
usual width, both with random weights, for the seconds alone.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median

import torch
from PIL import Image

from benchmarks.shapes import write_random
from photovax.attack.networks.files import write_network
from photovax.attack.networks.headers import USUAL_WIDTH
from photovax.attack.networks.network import PerturbationNetwork
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.presets import DEFAULT, INSTANT, PRESETS
from photovax.attack.recipe import Recipe
from photovax.attack.scene import Scene, view_loss
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_shift
from photovax.models.catalog.entries import DEFAULT_MODEL
from photovax.models.load import load_autoencoder
from photovax.models.views import VIEWS
from photovax.pictures.photo import Photo
from photovax.tensors import tensor

STEPS = (1, 2, 4, 8, 16, 48)


def square(path: Path, side: int) -> Photo:
    """The middle square of a photo, resized to a side."""
    picture = Image.open(path).convert("RGB")
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    middle = picture.crop((left, top, left + short, top + short))
    return Photo.from_image(middle.resize((side, side), Image.Resampling.BICUBIC))


def recipes() -> dict[str, Recipe]:
    """The recipes by what they are called here."""
    default = PRESETS[DEFAULT]
    return {
        INSTANT: PRESETS[INSTANT],
        f"{DEFAULT}, from the network": default,
        f"{DEFAULT}, without": replace(default, warm=None),
    }


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--weights", type=Path, help="folder of weights that do not ship")
    parser.add_argument("--network", action="append", type=Path, default=[])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--random", metavar="NAME", help="model of the catalogue, for its shape")
    options = parser.parse_args()
    photos = [square(path, options.side) for path in options.photos]
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if options.random:
        immunizer = untrained(options.random)
    else:
        immunizer = Immunizer(options.model, weights=options.weights, networks=options.network)
    (curve if options.curve else compare)(immunizer, photos, options.times)


def untrained(name: str) -> Immunizer:
    """An immunizer for the true shape of a model, with random weights of it and of a network."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_random(name, folder)
        model = load_autoencoder(name, device=torch.device("cpu"), weights=folder)
        network, width = folder / "network.safetensors", USUAL_WIDTH
        write_network(
            PerturbationNetwork((width, 2 * width, 3 * width)),
            network,
            model=name,
            model_digest=model.digest,
        )
        return Immunizer(name, weights=folder, networks=[network])


def compare(immunizer: Immunizer, photos: Sequence[Photo], times: int) -> None:
    """Time each way in turn."""
    model = immunizer.models[0]
    fed = torch.rand(1, 3, model.size, model.size)
    seconds: dict[str, list[float]] = {}
    reached: dict[str, list[tuple[float, float]]] = {}
    for photo in photos:
        for _ in range(times):
            with torch.no_grad():
                seconds.setdefault("encoder", []).append(timed(lambda: model.encode(fed)))
            for name, recipe in recipes().items():
                began = time.perf_counter()
                made = immunizer.immunize(photo, recipe)
                seconds.setdefault(name, []).append(time.perf_counter() - began)
                reached.setdefault(name, []).append(effect(immunizer, photo, made.photo))
    one = median(seconds["encoder"])
    for name, found in seconds.items():
        effects = text(reached[name]) if name in reached else ""
        print(f"{name:<26}{median(found):8.3f} s {median(found) / one:7.1f} passes  {effects}")


def curve(immunizer: Immunizer, photos: Sequence[Photo], _: int) -> None:
    """What several numbers of steps reach."""
    default = PRESETS[DEFAULT]
    alone = [effect(immunizer, p, immunizer.immunize(p, PRESETS[INSTANT]).photo) for p in photos]
    print(f"network alone: {text(alone)}")
    for steps in STEPS:
        # The share of the steps is 1: as many steps from the network's answer as without it.
        size = default.step_size * (default.warm or 1)
        warm = replace(default, steps=steps, warm=1.0, step_size=size)
        cold = replace(default, steps=steps, warm=None)
        found = [
            text([effect(immunizer, p, immunizer.immunize(p, each).photo) for p in photos])
            for each in (warm, cold)
        ]
        print(f"{steps:3d} steps: {found[0]} from the network, {found[1]} without")


def effect(immunizer: Immunizer, before: Photo, after: Photo) -> tuple[float, float]:
    """The latent shift between two photos, and the mean over the default's views of its objective.

    The latter is the root mean square, in levels of 255, by which what is decoded differs.
    """
    (model, *_), device, default = immunizer.models, immunizer.device, PRESETS[DEFAULT]
    pair = before.visible(), after.visible()
    origin, changed = (tensor(pixels, device) for pixels in pair)
    scene = Scene(origin, torch.ones_like(origin[:, :1]) > 0, None, False)
    objective, chance = OBJECTIVES.create(default.objective), torch.Generator(device)
    with torch.no_grad():
        views = (VIEWS.create(part).fitted(model.size) for part in default.views)
        losses = [view_loss(model, objective, view, scene)(changed, chance) for view in views]
    moved = -255 * fmean(loss.item() for loss in losses)
    return latent_shift(model, *pair, device), moved


def text(reached: Sequence[tuple[float, float]]) -> str:
    """Means of the effects on some photos."""
    shift, moved = (fmean(each) for each in zip(*reached, strict=True))
    return f"{shift:.3f}, {moved:.1f} levels"


if __name__ == "__main__":
    main()
