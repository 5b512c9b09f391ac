"""The embedded editor follows what it is told on a photo that it never saw, and breaks."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.adversary.edits import Adversary
from photovax.attack.presets import DEFAULT, PRESETS
from photovax.checks.noise import noisy
from photovax.evaluation.colours import name_colour
from photovax.evaluation.true_edits import TRUE_EDITS, truth
from photovax.immunizer import Immunizer
from photovax.metrics.distortion import psnr, ssim
from photovax.models.catalog.places import model_folder
from photovax.models.edit import MODES
from photovax.models.load import load_editor, usual_edit
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE


@pytest.fixture(scope="module")
def pixels():
    """The sample's face, 128 pixels a side."""
    with Image.open(SAMPLE) as sample:
        return np.array(sample.crop((96, 0, 352, 256)).resize((128, 128)))


@pytest.fixture(scope="module")
def adversary():
    return Adversary(device="cpu")


def test_a_new_denoiser_changes_the_digest_of_its_own_way_of_editing_only(tmp_path):
    editor = tmp_path / "editor"
    shutil.copytree(model_folder("embedded"), editor)
    before = Adversary(str(editor), device="cpu").digests(MODES)
    weights = editor / "unet_instruct" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    after = Adversary(str(editor), device="cpu").digests(MODES)
    assert len(set(before.values())) == 3
    assert [mode for mode in MODES if before[mode] != after[mode]] == ["instruct"]


def test_other_steps_change_the_digest_of_their_own_way_of_editing_only(tmp_path):
    editor = tmp_path / "editor"
    shutil.copytree(model_folder("embedded"), editor)
    before = Adversary(str(editor), device="cpu").digests(MODES)
    steps = editor / "scheduler_img2img" / "scheduler_config.json"
    steps.write_text(steps.read_text().replace("exponential", "karras"))
    after = Adversary(str(editor), device="cpu").digests(MODES)
    assert [mode for mode in MODES if before[mode] != after[mode]] == ["img2img"]


@pytest.mark.parametrize("mode", MODES)
def test_the_edit_that_is_attacked_is_the_adversarys(adversary, pixels, mode):
    """The same steps, too, where a way of editing has its own."""
    edit = replace(usual_edit("embedded", mode), prompt="a photo at night", steps=6)
    repaint = np.zeros(pixels.shape[:2], bool)
    repaint[8:72, 8:48] = True
    hole = repaint if mode == "inpaint" else None
    theirs = adversary.edit(pixels, edit, seed=3, repaint=hole, size=128)
    editor = load_editor("embedded", device=torch.device("cpu"))
    with torch.no_grad():
        ours = editor.edit(
            torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255,
            edit,
            torch.Generator().manual_seed(3),
            repaint=None if hole is None else torch.from_numpy(hole)[None, None],
        )
    levels = (ours[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    assert np.abs(levels - theirs).max() <= 1


@pytest.mark.parametrize("name", ["night", "inverted", "sepia"])
def test_instructions_are_followed(adversary, pixels, name):
    true = TRUE_EDITS[name]
    wanted = truth(true, pixels)
    for words in (true.orders[0], true.unseen[0]):
        made = adversary.edit(
            pixels, usual_edit("embedded", "instruct").asking(words), seed=0, size=128
        )
        assert psnr(wanted, made) > psnr(wanted, pixels) + 2


def test_a_hole_is_filled_with_the_colour_that_was_asked_for(adversary, pixels):
    repaint = np.zeros(pixels.shape[:2], bool)
    repaint[8:72, 8:48] = True
    found = []
    for colour in ("red", "green", "blue"):
        edit = usual_edit("embedded", "inpaint").asking(f"{colour} background")
        made = adversary.edit(pixels, edit, seed=0, repaint=repaint, size=128)
        mean = torch.from_numpy(made[repaint].mean(0) / 255).float()
        found.append(name_colour(mean) == colour)
        assert psnr(pixels[~repaint], made[~repaint]) > 18
    assert sum(found) >= 2


def test_img2img_keeps_less_of_the_photo_with_strength_and_follows_the_prompt(adversary, pixels):
    usual = usual_edit("embedded", "img2img")

    def made(prompt, strength):
        edit = replace(usual, prompt=prompt, strength=strength)
        return adversary.edit(pixels, edit, seed=0, size=128)

    likeness = [ssim(pixels, made("a photo", strength)) or 0 for strength in (0.2, 0.5, 0.9)]
    assert likeness[0] > likeness[1] > likeness[2]
    assert made("a photo at night", 0.5).mean() < made("a photo", 0.5).mean() - 15


def test_an_immunized_photo_is_edited_into_something_else(adversary, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    photo = read_photo(tmp_path / "photo.png")
    recipe = replace(PRESETS[DEFAULT].with_levels(16), size=128, steps=20)
    immunized = Immunizer(device="cpu").immunize(photo, recipe).photo.pixels
    edit = usual_edit("embedded", "instruct").asking("make it sepia")
    clean, broken, floor = (
        adversary.edit(picture, edit, seed=0, size=128)
        for picture in (pixels, immunized, noisy(pixels, 16, 0))
    )
    assert (ssim(clean, broken) or 0) < 0.75 * (ssim(clean, floor) or 0)
