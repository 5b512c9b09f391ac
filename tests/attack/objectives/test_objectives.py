"""Every registered objective, on the embedded editor, and what each promises."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator
from typer.testing import CliRunner

from photovax.adversary.edits import Adversary
from photovax.attack.budgets import Linf
from photovax.attack.losses import score
from photovax.attack.objectives import (
    OBJECTIVES,
    DecodedDrift,
    DenoisingError,
    EditDrift,
    EditTarget,
    FirstStepNorm,
    LatentDrift,
    Objective,
    Sum,
)
from photovax.attack.optimise import Steps, pgd
from photovax.attack.presets import PRESETS, recipe_from
from photovax.cli import app
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.models.edit import MODES, Edit
from photovax.models.load import load_editor
from photovax.pictures.photo import Photo, read_photo
from photovax.registry import Part
from tests.recipes import each_view_once

CPU = torch.device("cpu")
TWO_STEPS = {"mode": "instruct", "prompt": "night", "steps": 2, "guidance": 1.5}
OPTIONS: dict[str, dict[str, Any]] = {
    "edit_target": {"edit": TWO_STEPS, "target": "grey"},
    "edit_drift": {"edit": TWO_STEPS, "prompts": ("night", "snow")},
    "sum": {
        "terms": [
            {"name": "latent_drift"},
            {"name": "denoising_error", "weight": 2, "options": {"mode": "inpaint"}},
        ]
    },
}

# Presets that do not attack every way of editing.
ATTACKED: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("diffusionguard", "advpaint", "promptflare"), ("inpaint", "instruct")
)
ATTACKED["decontext"] = ("instruct",)


@pytest.fixture(scope="module")
def editor():
    return load_editor("embedded", device=CPU)


@pytest.fixture(scope="module")
def kontext(folders):
    return load_editor(str(folders["kontext"]), device=CPU)


def attacked(name, editor, kontext):
    """A model that an objective can attack."""
    return kontext if name == "context_attention" else editor


@pytest.fixture(scope="module")
def images():
    coarse = torch.rand(2, 3, 4, 5, generator=Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear")


@pytest.fixture(scope="module")
def repaint():
    mask = torch.zeros(1, 1, 32, 40, dtype=torch.bool)
    mask[..., :12, :] = True
    return mask


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_every_objective_gives_a_number_per_image_that_descent_lowers(
    name, editor, kontext, images, repaint
):
    objective = OBJECTIVES.create(Part(name, OPTIONS.get(name, {})))
    loss = objective.bind(attacked(name, editor, kontext), images, repaint)
    values = loss(images, Generator().manual_seed(0))
    assert values.shape == (2,)
    again = loss(images, Generator().manual_seed(0))
    torch.testing.assert_close(values, again, atol=0, rtol=0)
    done = pgd(
        [loss],
        images,
        Linf(0.1),
        Steps(12, 0.03, random=objective.random),
        generator=Generator().manual_seed(0),
    )
    draws = 8 if objective.random else 1
    assert (score([loss], done.x, draws=draws) < score([loss], images, draws=draws)).all()


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_grey_photos_are_as_good_as_colour(name, editor, kontext, images, repaint):
    objective = OBJECTIVES.create(Part(name, OPTIONS.get(name, {})))
    grey = images[:, :1]
    losses = [
        objective.bind(attacked(name, editor, kontext), x, repaint)(
            x * 0.9, Generator().manual_seed(0)
        )
        for x in (grey, grey.expand(-1, 3, -1, -1))
    ]
    torch.testing.assert_close(*losses)


class Mirror:
    """A model whose latents are pictures, and whose decoder shows them as they are."""

    decodes = True

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode_unclipped(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def edit(self, images: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return images


class Blind(Mirror):
    decodes = False


@pytest.mark.parametrize(("smooth", "brighter"), [(16, 0.0), (0, 0.1)])
@pytest.mark.parametrize("name", ["decoded_drift", "edit_drift"])
def test_drifts_count_details_and_only_on_request_brightness(name, smooth, brighter):
    origin = torch.full((1, 3, 40, 56), 0.5)
    options = OPTIONS.get(name, {}) | {"smooth": smooth}
    loss = OBJECTIVES.create(Part(name, options)).bind(Mirror(), origin)
    checks = 0.04 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(20, 28)
    for change, moved in ((torch.full((40, 56), 0.1), brighter), (checks, 0.04)):
        found = -loss(origin + change, Generator())
        torch.testing.assert_close(found, torch.tensor([moved]), atol=1e-5, rtol=0)


def test_what_was_written_without_it_counts_brightness():
    assert EditDrift(TWO_STEPS) == EditDrift(TWO_STEPS, smooth=0)


def test_large_latents_are_decoded_in_parts_with_the_gradient_of_the_whole():
    origin = torch.rand(2, 3, 192, 40, generator=Generator().manual_seed(0))
    moved = (origin + 0.1 * torch.rand(origin.shape, generator=Generator().manual_seed(1))).double()
    moved.requires_grad_()
    found = DecodedDrift(0).bind(Mirror(), origin.double())(moved, Generator())
    expected = -(moved - origin).square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(found, expected.float())
    gradients = [torch.autograd.grad(each.sum(), moved)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-9, rtol=1e-5)


def test_decoded_drift_is_that_of_latents_where_there_is_no_decoder(images):
    moved = images * 0.9
    losses = [
        objective.bind(Blind(), images)(moved, Generator())
        for objective in (DecodedDrift(), LatentDrift())
    ]
    torch.testing.assert_close(*losses, atol=0, rtol=0)


def test_drifts_need_squares_of_a_size():
    for made in (DecodedDrift, lambda smooth: EditDrift(TWO_STEPS, smooth=smooth)):
        with pytest.raises(UsageError, match="smooth must be 0 or more, got -1"):
            made(-1)


def test_sds_has_the_value_of_advdm_and_a_gradient_past_the_denoiser(editor, images):
    """SDS's gradient is the error itself, times 2 / n, pulled back through the encoder."""
    x = images.clone().requires_grad_()
    through, past = (
        DenoisingError(through_denoiser=flag).bind(editor, images)(x, Generator().manual_seed(1))
        for flag in (True, False)
    )
    torch.testing.assert_close(through, past)
    first, second = (torch.autograd.grad(loss.sum(), x)[0] for loss in (through, past))
    assert not torch.allclose(first, second)
    latents = editor.encode(x)
    (pulled,) = torch.autograd.grad(latents, x, 2 * _error(editor, images) / latents[0].numel())
    torch.testing.assert_close(second, -pulled)


def _error(editor, images):
    generator = Generator().manual_seed(1)
    with torch.no_grad():
        latents = editor.encode(images)
        context = editor.context(images, Edit("img2img", guidance=1), generator)
        times = editor.random_times(len(images), generator)
        noise = torch.randn(latents.shape, generator=generator)
        noisy = editor.noised(latents, noise, times)
        return editor.predicted(noisy, times, context, "img2img") - noise


def test_lowering_is_the_opposite_of_raising(editor, images):
    raised, lowered = (
        DenoisingError(direction=way).bind(editor, images)(images, Generator().manual_seed(0))
        for way in ("raise", "lower")
    )
    torch.testing.assert_close(raised, -lowered)


def test_an_untouched_photo_has_not_drifted(editor, images):
    loss = EditDrift(TWO_STEPS).bind(editor, images)
    assert loss(images, Generator().manual_seed(0)).abs().max() < 1e-6


def test_an_edit_that_is_the_target_costs_nothing(editor, images, tmp_path):
    class Finished:
        def edit(self, images, edit, generator, *, repaint=None):
            return torch.full_like(images, 0.5)

    for target in ("zero", "grey"):
        loss = EditTarget(TWO_STEPS, target).bind(Finished(), images)  # type: ignore[arg-type]
        assert loss(images, Generator()).tolist() == [0, 0]


def test_the_kept_region_shrinks_and_never_grows(images, repaint):
    seen = []

    class Watching:
        def context(self, images, edit, generator, *, repaint=None):
            seen.append(repaint)

        def first_prediction(self, images, context, mode, generator):
            return images

    loss = FirstStepNorm(shrink=0.3).bind(Watching(), images, repaint)  # type: ignore[arg-type]
    generator = Generator().manual_seed(0)
    for _ in range(20):
        loss(images, generator)
    sizes = {int(mask.sum()) for mask in seen}
    assert len(sizes) > 3
    assert all(bool((mask | ~repaint).all()) for mask in seen)
    assert not any(bool(mask.all()) for mask in seen)


def test_a_sum_needs_what_its_terms_need():
    light: Objective[Any] = LatentDrift()
    heavy: Objective[Any] = FirstStepNorm()
    whole: Objective[Any] = EditDrift(TWO_STEPS)
    assert Sum([(1, light)]).needs == "autoencoder"
    assert not Sum([(1, light)]).random
    assert Sum([(1, heavy), (1, light)]).needs == "denoiser"
    assert Sum([(1, whole), (1, heavy), (1, light)]).needs == "editor"
    assert Sum([(1, light), (1, heavy)]).random


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("edit_target", {"edit": {"mode": "instruct", "step": 3}}, "edit: .*step"),
        ("edit_drift", {"edit": {"mode": "paint"}}, "no mode named 'paint'"),
        ("edit_drift", {"edit": "mine"}, "edit must be a table of settings, got 'mine'"),
        (
            *("edit_drift", {"edit": {"mode": "instruct", "steps": 2.5}}),
            "steps must be a whole number from 1 to 1000, got 2.5",
        ),
        ("edit_drift", {"edit": {"mode": "instruct", "steps": "9"}}, "from 1 to 1000, got 9"),
        ("edit_drift", {"edit": {"mode": "instruct", "prompt": 3}}, "prompt must be a text, got 3"),
        ("denoising_error", {"direction": "up"}, "raise or lower, got 'up'"),
        ("first_step_norm", {"shrink": 0.5}, "shrink must be from 0 to below 0.5"),
        ("context_attention", {"early": 2.0}, "early must be from 0 to 1, got 2"),
        ("context_attention", {"start": 0.8}, "0 <= start < end <= 1, got 0.8 and 0.789"),
        ("attention_drift", {"level": -0.1}, "level must be from 0 to 1, got -0.1"),
    ],
)
def test_wrong_options_are_refused(name, options, says, editor, images):
    with pytest.raises(UsageError, match=says):
        OBJECTIVES.create(Part(name, options)).bind(editor, images)


def test_prompts_are_texts(editor, images):
    edit = {"mode": "instruct", "steps": 1}
    objective = OBJECTIVES.create(Part("edit_drift", {"edit": edit, "prompts": [1, 2]}))
    with pytest.raises(UsageError, match="prompts must be texts, got 1"):
        objective.bind(editor, images)(images, Generator().manual_seed(0))
    wrong = OBJECTIVES.create(Part("edit_drift", {"edit": {"mode": "instruct", "steps": "x"}}))
    with pytest.raises(UsageError, match="steps must be a whole number from 1 to 1000, got x"):
        wrong.options_for("img2img")


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("mode", ["instruct", "inpaint", "img2img"])
def test_every_preset_attacks_every_way_of_editing(name, mode, editor_folder, folders, photo_file):
    recipe = PRESETS[name]
    if mode not in ATTACKED.get(name, MODES):
        with pytest.raises(UsageError, match=f"attacks {' or '.join(ATTACKED[name])}, not {mode}"):
            OBJECTIVES.create(recipe.with_mode(mode).objective)
        return
    folder = folders["kontext"] if name == "decontext" else editor_folder
    if "mode" in str(recipe.objective.options):
        recipe = recipe.with_mode(mode)
        assert f"'mode': '{mode}'" in str(recipe.objective.options)
        assert recipe_from(json.loads(recipe.to_json())) == recipe
    else:
        with pytest.raises(UsageError, match="goes through no edit"):
            recipe.with_mode(mode)
    if recipe.warm == 0:
        pytest.skip("takes no steps: it needs a network of the model, which is tested there")
    # A piece of it: at its own size a step takes as many passes as there are tiles.
    with Image.open(photo_file) as picture:
        photo = Photo.from_image(picture.crop((0, 0, 95, 79)))
    mask = torch.zeros(photo.height, photo.width, dtype=torch.bool)
    mask[12:62, 18:75] = True
    # A first step that crosses the whole budget may be too long for weights that nobody trained.
    recipe = each_view_once(recipe)
    size = 256 if name == "decontext" else None  # a megapixel of the model's own takes long
    small = recipe_from({**vars(recipe), "steps": 2, "size": size} | _parts(recipe))
    seen: list[float] = []
    result = Immunizer([str(folder)], device="cpu").immunize(
        photo, small, mask=mask.numpy(), callback=lambda step: seen.append(step.losses.item())
    )
    assert np.isfinite([*seen, result.loss]).all()
    assert (result.photo.pixels != photo.pixels).any()


@pytest.mark.parametrize(
    ("name", "mode"), [("photoguard-diffusion-linf", "inpaint"), ("advdm", "img2img")]
)
def test_sdxl_is_attacked_from_the_command_line(name, mode, sdxl_folder, photo_file, tmp_path):
    (tmp_path / "one.toml").write_text(f'preset = "{name}"\nsteps = 1\ndraws = 1\n')
    with Image.open(photo_file) as photo:
        mask = Image.new("L", photo.size)
    mask.paste(255, (20, 20, 120, 100))
    mask.save(tmp_path / "mask.png")
    options = ["--mask", str(tmp_path / "mask.png")] if mode == "inpaint" else []
    done = CliRunner().invoke(
        app,
        [
            *("immunize", str(photo_file), "--model", str(sdxl_folder), "--mode", mode),
            *("--recipe", str(tmp_path / "one.toml"), "--device", "cpu", "--json", *options),
        ],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    (made,) = json.loads(done.stdout)
    assert made["record"]["realised"]["linf"] > 0


def _parts(recipe):
    return {key: json.loads(recipe.to_json())[key] for key in ("objective", "budget", "views")}


def test_inpainting_attacks_ask_for_a_mask(editor_folder, photo_file):
    immunizer = Immunizer([str(editor_folder)], device="cpu")
    with pytest.raises(UsageError, match="needs a mask"):
        immunizer.immunize(read_photo(photo_file), PRESETS["photoguard-diffusion-linf"])


@pytest.mark.parametrize("folder", ["editor_folder", "sdxl_folder"])
def test_the_adversary_is_seeded_and_edits_at_the_models_size(folder, photo_file, request):
    adversary = Adversary(str(request.getfixturevalue(folder)), device="cpu")
    pixels = read_photo(photo_file).pixels
    kept = torch.zeros(pixels.shape[:2], dtype=torch.bool).numpy()
    for edit in (
        Edit("instruct", "make it night", steps=2),
        Edit("inpaint", "red", steps=2),
        Edit("img2img", "red", steps=4, strength=0.5),
    ):
        first, same, other = (
            adversary.edit(pixels, edit, seed=seed, repaint=~kept) for seed in (3, 3, 4)
        )
        assert first.shape == (64, 80, 3)
        assert (first == same).all()
        assert (first != other).any()
    with pytest.raises(UsageError, match="needs a mask"):
        adversary.edit(pixels, Edit("inpaint"), seed=0)


def test_the_adversary_imports_nothing_of_the_defender():
    code = (
        "import sys, photovax.adversary.edits\n"
        "print([m for m in sys.modules if m.startswith('photovax.') and m.split('.')[1] in "
        "('objectives', 'optimise', 'budget', 'immunize', 'views', 'recipe', 'check')\n"
        "or m in ('photovax.models.unet.editor', 'photovax.models.autoencoders.base')])"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
