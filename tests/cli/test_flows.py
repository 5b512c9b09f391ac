"""Editors that are transformers, at the command line, on untrained weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photovax.adversary.edits import Adversary
from photovax.errors import UsageError
from photovax.models.edit import Edit
from tests.models.transformer.pipelines import take_small_pictures
from tests.models.transformer.untrained import KINDS, MODES

RECIPE = """
budget = {{ name = "linf", options = {{ radius = "8/255" }} }}
views = [{{ name = "short_side", options = {{ pixels = 64 }} }}]
steps = 2
step_size = "4/255"

[objective]
name = "edit_drift"
options.prompts = ["a dog"]
options.edit = {{ mode = "{mode}", guidance = {guidance}, steps = {steps}, strength = {strength} }}
"""


def levels(file):
    with Image.open(file) as picture:
        return np.array(picture.convert("RGB")).astype(int)


@pytest.fixture
def photo(photo_file, tmp_path, monkeypatch):
    """A small photo, with a mask beside it, which pipelines do not enlarge."""
    take_small_pictures(monkeypatch)
    mask = np.zeros(levels(photo_file).shape[:2], dtype=np.uint8)
    mask[30:90, 40:110] = 255
    Image.fromarray(mask).save(tmp_path / "photo.mask.png")
    return photo_file


def recipe_for(kind, folder):
    fields = {"mode": MODES[kind], "guidance": 2, "steps": 2, "strength": 0.5}
    file = folder / "through.toml"
    file.write_text(RECIPE.format(**fields | ({"strength": 1} if kind == "fill" else {})))
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_immunized_through_the_edit_and_edited(kind, folders, photo, tmp_path, photovax):
    folder, mode = folders[kind], MODES[kind]
    masked = ["--mask", "photo.mask.png"] if kind == "fill" else []
    code, out, err = photovax(
        *("immunize", photo, "--model", folder, "--recipe", recipe_for(kind, tmp_path)),
        # Else the result is measured at the side of 512 or 1024 pixels that such models are fed.
        *("--size", 64, "-o", "safe.png", "--device", "cpu", *masked),
    )
    assert code in (0, 11), err  # an untrained model is not moved far
    record = json.loads((tmp_path / "safe.png.json").read_text())
    assert record["recipe"]["objective"]["name"] == "edit_drift"
    assert (levels("safe.png") != levels(photo)).any()
    edits = []
    for name in (photo, "safe.png"):
        code, out, err = photovax(
            *("edit", name, "--model", folder, "--mode", mode, "--prompt", "a dog"),
            *("--steps", 2, "--size", 64, "-o", "edited.png", "--overwrite", "--device", "cpu"),
            *(["--strength", 0.5] if mode == "img2img" else []),
            *masked,
        )
        assert code == 0, err
        assert "edited.png: 80 x 64 pixels" in out
        edits.append(levels("edited.png"))
    assert (edits[0] != edits[1]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluation_runs_and_has_a_report(kind, folders, photo, tmp_path, photovax):
    (tmp_path / "edits.toml").write_text(
        f'[[edit]]\nmode = "{MODES[kind]}"\nprompt = "a dog"\nsteps = 2\nstrength = 0.5\n'
    )
    code, _, err = photovax(
        *("evaluate", photo, "-o", "out", "--model", folders[kind], "--editor", folders[kind]),
        *("--recipes", recipe_for(kind, tmp_path), "--edits", "edits.toml", "--seeds", 1),
        *("--size", 64, "--metrics", "psnr", "--device", "cpu"),
    )
    assert code == 0, err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize("kind", ["sd3", "flux", "qwen"])
def test_an_edit_that_ignores_the_photo_is_refused_in_a_line(kind, folders, photo, photovax):
    code, _, err = photovax(
        *("edit", photo, "--model", folders[kind], "--mode", "img2img", "--prompt", "a dog"),
        *("--steps", 4, "--strength", 0.8, "--size", 64, "-o", "edited.png", "--device", "cpu"),
    )
    assert code != 0
    assert "the photo does not matter" in err
    assert "lower --strength" in err
    assert not Path("edited.png").exists()


@pytest.mark.parametrize("kind", ["kontext", "fill"])
def test_models_show_says_how_it_edits(kind, folders, photovax):
    row = json.loads(photovax("models", "show", folders[kind], "--json")[1])
    assert row["edits"] == MODES[kind]
    assert row["attacks"] == "latent, denoiser, edit"


def test_the_text_encoder_of_an_ordinary_edit_reads_the_photo(folders, photo, monkeypatch):
    """Qwen-Image-Edit's, which that of the attack does not."""
    adversary = Adversary(str(folders["qwen-edit"]), device="cpu")
    adversary.load(["instruct"])
    pipeline = adversary._pipelines["instruct"]
    fed: list[dict[str, Any]] = []
    pipeline.text_encoder.register_forward_pre_hook(
        lambda _, args, given: fed.append(given), with_kwargs=True
    )
    edit = Edit("instruct", "a dog", guidance=1, steps=2)
    pixels = levels(photo).astype(np.uint8)
    adversary.edit(pixels, edit, seed=0, size=64)
    with pytest.raises(UsageError, match="needs 2 steps or more"):
        adversary.edit(pixels, replace(edit, steps=1), seed=0, size=64)
    (given,) = fed
    pieces = given["image_grid_thw"].prod()
    assert len(given["pixel_values"]) == pieces
    place = pipeline.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert (given["input_ids"] == place).sum() == pieces // 4
