"""What the default recipe leaves in saved files: kinds of photos that its budget must hold for."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.attack.budgets import BUDGETS
from photovax.attack.presets import DEFAULT, LINF, PRESETS
from photovax.attack.recipe import Recipe
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor

CPU = torch.device("cpu")


@pytest.fixture
def quick() -> Recipe:
    return replace(PRESETS[DEFAULT], steps=6, size=64)


def written(folder: Path, kind: str) -> Path:
    """A photo of a kind, as a file."""
    file = folder / "photo.png"
    with Image.open(SAMPLE) as sample:
        picture = sample.crop((150, 20, 301, 147))
    if kind == "grey":
        picture = picture.convert("L")
    if kind == "partly transparent":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    if kind == "a few pixels":
        picture = picture.resize((9, 7))
    if kind == "large":
        picture = picture.resize((453, 381), Image.Resampling.BICUBIC)
    picture.save(file)
    return file


@pytest.mark.parametrize("kind", ["colour", "grey", "partly transparent", "a few pixels", "large"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_saved_files_keep_what_may_be_seen(
    immunizer: Immunizer, quick: Recipe, tmp_path: Path, kind: str, suffix: str
):
    if kind == "partly transparent" and suffix == ".jpg":
        pytest.skip("JPEG holds no transparency, which is said elsewhere")
    photo = read_photo(written(tmp_path, kind))
    result = immunizer.immunize(photo, quick)
    saved = immunizer.save(result, tmp_path / f"out{suffix}")
    after, before = (
        tensor(each.visible(), CPU) for each in (read_photo(saved.path), result.original)
    )
    budget = BUDGETS.create(quick.budget).fitted(photo.height, photo.width, 64)
    if kind == "partly transparent":
        assert photo.alpha is not None
        budget = budget.within(torch.from_numpy(photo.alpha > 0)[None, None])
    size = budget.size(after, before).item()
    assert 0.8 < size <= 1 + 1e-4
    assert saved.visible.linf <= (quick.levels or 0)
    record = json.loads(saved.record.read_text())
    assert record["budget"] == {"name": "perceptual", "options": dict(quick.budget.options)}


def test_a_large_photo_is_immunized_as_its_small_self_is(
    immunizer: Immunizer, quick: Recipe, tmp_path: Path
):
    shifts = []
    for kind in ("colour", "large"):
        photo = read_photo(written(tmp_path, kind))
        # Without networks, which are trained for photos as large as their model is fed them.
        result = immunizer.immunize(photo, replace(quick, warm=None).with_radius(1.0))
        before, after = photo.visible(), result.photo.visible()
        (model,) = immunizer.models
        shifts.append(latent_effect(model, before, after, CPU, size=64).shift)
    assert shifts[1] == pytest.approx(shifts[0], rel=0.3)


def test_outside_a_mask_nothing_changes(immunizer: Immunizer, quick: Recipe, tmp_path: Path):
    photo = read_photo(written(tmp_path, "colour"))
    mask = np.zeros((photo.height, photo.width), dtype=bool)
    mask[30:100, 40:130] = True
    result = immunizer.immunize(photo, quick, mask=mask)
    saved = immunizer.save(result, tmp_path / "out.png")
    changed = (read_photo(saved.path).pixels != photo.pixels).any(axis=2)
    assert not changed[~mask].any()
    assert changed[mask].mean() > 0.5


def test_flat_ground_is_changed_less_than_texture(immunizer: Immunizer, tmp_path: Path):
    random = np.random.default_rng(0)
    pixels = np.full((128, 128, 3), 128, dtype=np.uint8)
    pixels[:, 64:] += random.integers(-60, 60, (128, 64, 1)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    photo = read_photo(tmp_path / "photo.png")
    changes = {}
    for name in (DEFAULT, LINF):
        recipe = replace(PRESETS[name], steps=6, size=64)
        change = immunizer.immunize(photo, recipe).photo.pixels.astype(int) - pixels
        flat, textured = (np.abs(half).mean() for half in (change[:, :56], change[:, 72:]))
        changes[name] = textured / flat
    assert changes[DEFAULT] > 2 * changes[LINF]
