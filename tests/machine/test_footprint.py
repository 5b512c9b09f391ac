import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator

from photovax.attack.objectives import OBJECTIVES
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.machine.footprint import peak_bytes
from photovax.machine.memory import resident_bytes
from photovax.models.autoencoders.base import KLAutoencoder
from photovax.models.autoencoders.tiny import TINY, TinyAutoencoder
from photovax.models.load import load_autoencoder, load_editor
from photovax.models.recompute import Recomputed
from photovax.pictures.photo import read_photo
from photovax.registry import Part

CPU = torch.device("cpu")


def test_counts_what_is_held_at_one_time():
    def run():
        first = torch.ones(1000)
        second = first + 1
        del first
        third = second.view(10, 100)[2:]
        return third * 2

    assert peak_bytes(run) == 2 * 4000
    assert peak_bytes(lambda: torch.ones(5).sum()) == 4 * 5 + 4


def gradient_and_bytes(loss, images):
    found = []

    def run():
        x = images.clone().requires_grad_()
        found.extend(torch.autograd.grad(loss(x), x))

    return peak_bytes(run), found[0]


@pytest.mark.parametrize("name", ["embedded", "tiny", "editor"])
def test_recomputing_gives_the_same_gradient_for_less(name, editor_folder):
    model: Any
    objective = "latent_target"
    if name == "embedded":
        model = load_autoencoder("embedded", device=CPU)
    elif name == "tiny":
        torch.manual_seed(0)
        _, encoder, decoder = TINY["taef2"]
        assert decoder is not None
        model = TinyAutoencoder(encoder(), decoder(), design="taef2", name="taef2", digest="")
        objective = "decoded_drift"  # so that the decoder counts, too
    else:
        model = load_editor(str(editor_folder), device=CPU)
        objective = "denoising_error"
    bound = OBJECTIVES.create(Part(objective)).bind(model, torch.full((1, 3, 64, 64), 0.5))

    def loss(x):
        return bound(x, Generator().manual_seed(0)).sum()

    images = torch.rand(1, 3, 64, 64, generator=Generator().manual_seed(0))
    plain, expected = gradient_and_bytes(loss, images)
    for _ in range(2):  # asking twice changes nothing more
        model.recompute()
        less, gradient = gradient_and_bytes(loss, images)
        assert less < 0.8 * plain
        assert torch.equal(gradient, expected)


needs_linux = pytest.mark.skipif(resident_bytes() == 0, reason="needs /proc")


@needs_linux
def test_a_limit_of_memory_changes_nothing_but_how(quick, photo_file):
    photo = read_photo(photo_file)
    recipe = dataclasses.replace(quick, steps=1, views=(Part("short_side", {"pixels": 512}),))
    plain = Immunizer(device="cpu").immunize(photo, recipe)
    # A pass takes 0.3 GiB as it is, and half of that when blocks are computed anew.
    limited = Immunizer(device="cpu", memory=resident_bytes() + 5 * 2**26)
    assert np.array_equal(limited.immunize(photo, recipe).photo.pixels, plain.photo.pixels)


@needs_linux
@pytest.mark.parametrize(("left", "recomputed"), [(2**34, False), (2**28, True)])
def test_less_is_kept_where_the_system_has_less_left(
    quick, photo_file, monkeypatch, left, recomputed
):
    monkeypatch.setattr("photovax.machine.device.available_bytes", lambda: left)
    photo = read_photo(photo_file)
    recipe = dataclasses.replace(quick, steps=1, views=(Part("short_side", {"pixels": 512}),))
    immunizer = Immunizer(device="cpu")
    immunizer.immunize(photo, recipe)
    (model,) = immunizer.models
    assert isinstance(model, KLAutoencoder)
    blocks = [each for each in model.model.modules() if isinstance(each, Recomputed)]
    assert bool(blocks) is recomputed


def test_what_takes_too_much_memory_is_refused_before_the_work(quick, photo_file, monkeypatch):
    steps: list[object] = []
    small = Immunizer(device="cpu", memory=2**20)
    with pytest.raises(UsageError, match=r"0\.00 GiB of memory are too little") as caught:
        small.immunize(read_photo(photo_file), quick, callback=steps.append)
    assert "--size" in (caught.value.hint or "")
    assert not steps
    # A stand-in of a GPU, which nobody can ask for.
    monkeypatch.setattr("photovax.immunizer.pick_device", torch.device)
    with pytest.raises(UsageError, match="on the cpu only, not on meta"):
        Immunizer(device="meta", memory=2**30)


# In a process of its own: what others did before would be in its peak.
WITHIN = """
import re, sys
from dataclasses import replace
from pathlib import Path
import torch
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.machine.memory import peak_resident_bytes
from photovax.pictures.photo import read_photo
from photovax.attack.presets import PRESETS
torch.set_num_threads(1)
photo = read_photo(Path("photo.png"))
recipe = replace(PRESETS[sys.argv[1]], steps=3, size=128)
try:
    Immunizer(device="cpu", memory=1).immunize(photo, recipe)
except UsageError as error:
    least = float(re.search("needs about ([0-9.]+) GiB", str(error))[1])
limit = round((least + 0.1) * 2**30)
immunizer = Immunizer(device="cpu", memory=limit)
immunizer.save(immunizer.immunize(photo, recipe), Path("out.png"))
print(limit, peak_resident_bytes())
"""


@needs_linux
@pytest.mark.parametrize("recipe", ["fast", "fast-grey"])
def test_a_limit_that_is_no_larger_than_needed_is_kept(recipe, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(noise).resize((2400, 1800)).save(tmp_path / "photo.png")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WITHIN, recipe],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    limit, peak = map(int, done.stdout.split())
    assert 0.7 * limit < peak <= limit
