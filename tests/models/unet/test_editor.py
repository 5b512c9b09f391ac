"""The differentiable edit against diffusers' own pipelines, on tiny untrained components."""

import inspect
import math
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Generator

from photovax.adversary.edits import Adversary
from photovax.errors import ModelError, UnknownName, UsageError
from photovax.machine.memory import peak_resident_bytes
from photovax.models.autoencoders.base import KLAutoencoder
from photovax.models.autoencoders.tiny import TINY
from photovax.models.catalog.describe import described
from photovax.models.catalog.entries import CATALOG
from photovax.models.edit import Edit
from photovax.models.load import load_autoencoder, load_editor
from photovax.models.unet.editor import LatentEditor
from photovax.models.unet.prompts import SDPrompts, SDXLPrompts
from photovax.tensors import tensor
from tests.untrained import save_sd_with_tiny_autoencoder, save_sdxl

CPU = torch.device("cpu")
EDITS = (
    Edit("instruct", "make it night", guidance=3, image_guidance=1.5, steps=3, eta=0.5),
    Edit("instruct", "make it night", guidance=1, steps=2),
    Edit("img2img", "a dog", negative_prompt="a cat", strength=0.5, guidance=3, steps=6),
    Edit("inpaint", "red", guidance=4, steps=3, eta=1),
    Edit("inpaint", "red", guidance=4, steps=5, strength=0.6),
)
SCHEDULERS = ("DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler")


@pytest.fixture(params=["editor_folder", "sdxl_folder"])
def editor(request) -> LatentEditor:
    folder: Path = request.getfixturevalue(request.param)
    return LatentEditor.from_folder(folder, name="tiny", device=CPU)


def pipeline_of(editor, edit, scheduler, **options):
    """The pipeline of diffusers that edits likewise, of the same parts."""
    sdxl = isinstance(editor.prompts, SDXLPrompts)
    family = "StableDiffusionXL" if sdxl else "StableDiffusion"
    name = {"instruct": "InstructPix2Pix", "inpaint": "Inpaint", "img2img": "Img2Img"}[edit.mode]
    if not sdxl:
        options |= {"safety_checker": None, "feature_extractor": None}
        options["requires_safety_checker"] = False
    pipeline = getattr(diffusers, f"{family}{name}Pipeline")(
        vae=editor.autoencoder.model,
        unet=editor.unets[edit.mode],
        scheduler=scheduler,
        **editor.prompts.encoders,
        **editor.prompts.tokenizers,
        **options,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def edited(pipeline, edit, image, repaint):
    """What a pipeline makes of a picture on a seed."""
    sides = {"height": image.shape[2], "width": image.shape[3]}
    told = inspect.signature(pipeline.__call__).parameters
    options = {
        "instruct": {"image_guidance_scale": edit.image_guidance},
        "img2img": {"strength": edit.strength},
        "inpaint": {"strength": edit.strength, "mask_image": repaint.float()},
    }[edit.mode]
    return pipeline(
        prompt=edit.prompt,
        negative_prompt=edit.negative_prompt or None,
        image=image,
        guidance_scale=edit.guidance,
        num_inference_steps=edit.steps,
        eta=edit.eta,
        generator=Generator().manual_seed(5),
        output_type="pt",
        **options,
        **(sides if "height" in told else {}),
    ).images


@pytest.fixture(scope="module")
def image():
    return torch.rand(1, 3, 32, 48, generator=Generator().manual_seed(1))


@pytest.fixture(scope="module")
def repaint():
    mask = torch.zeros(1, 1, 32, 48, dtype=torch.bool)
    mask[..., 5:25, 10:35] = True
    return mask


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.mode}-{edit.guidance}")
def test_an_edit_equals_the_pipelines(editor, edit, scheduler, prediction, image, repaint):
    kind = getattr(diffusers, scheduler)
    editor.scheduler = kind.from_config(editor.scheduler.config, prediction_type=prediction)
    pipeline = pipeline_of(editor, edit, kind.from_config(editor.scheduler.config))
    theirs = edited(pipeline, edit, image, repaint)
    ours = editor.edit(image, edit, Generator().manual_seed(5), repaint=repaint)
    torch.testing.assert_close(ours.clamp(0, 1), theirs, atol=1e-4, rtol=0)


# The pipeline for inpainting takes no latents of other channels than 4.
@pytest.mark.parametrize(("edit", "channels"), [*zip(EDITS, (16, 16, 16, 4, 4), strict=True)])
def test_an_edit_with_a_tiny_autoencoder_equals_the_pipelines(
    edit, channels, image, repaint, tmp_path
):
    save_sd_with_tiny_autoencoder(tmp_path, channels)
    editor = LatentEditor.from_folder(tmp_path, name="tiny", device=CPU)
    theirs = edited(pipeline_of(editor, edit, editor.scheduler), edit, image, repaint)
    ours = editor.edit(image, edit, Generator().manual_seed(5), repaint=repaint)
    torch.testing.assert_close(ours.clamp(0, 1), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("mode", ["instruct", "inpaint", "img2img"])
def test_the_autoencoder_may_be_loose_files(mode, image, repaint, tmp_path):
    """Latents of FLUX.2's 32 channels, and what the photo does to the edit."""
    _save_with_loose_autoencoder(tmp_path)
    editor = load_editor(str(tmp_path), device=CPU)
    alone = load_autoencoder(str(tmp_path), device=CPU)
    assert torch.equal(editor.encode(image), alone.encode(image))
    x = image.clone().requires_grad_()
    edit = Edit(mode, "a dog", guidance=3, steps=2, strength=0.5)
    editor.edit(x, edit, Generator().manual_seed(5), repaint=repaint).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0
    with pytest.raises(ModelError, match="gives no distribution of latents"):
        editor.posterior(image)


def _save_with_loose_autoencoder(folder):
    save_sd_with_tiny_autoencoder(folder, 32)
    shutil.rmtree(folder / "vae")
    (folder / "vae").mkdir()
    for part, make in zip(("encoder", "decoder"), TINY["taef2"][1:], strict=True):
        assert make is not None
        torch.save(make().state_dict(), folder / "vae" / f"taef2_{part}.pth")


def test_diffusers_edits_with_loose_files_as_photovax_does(image, tmp_path):
    _save_with_loose_autoencoder(tmp_path)
    pixels = (image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).repeat_interleave(2, 0)
    pixels = pixels.repeat_interleave(2, 1).numpy()
    adversary = Adversary(str(tmp_path), device="cpu")
    editor = LatentEditor.from_folder(tmp_path, name="tiny", device=CPU)
    for edit in EDITS[1:3]:
        theirs = adversary.edit(pixels, edit, seed=5, size=64)
        ours = editor.edit(tensor(pixels), edit, Generator().manual_seed(5)).clamp(0, 1)
        torch.testing.assert_close(ours, tensor(theirs), atol=0.51 / 255, rtol=0)
    with pytest.raises(UsageError, match="inpaints on latents of 4 channels, not 32"):
        adversary.edit(pixels, EDITS[3], seed=5, repaint=np.ones(pixels.shape[:2], bool), size=64)


def test_a_loose_autoencoder_counts_for_what_is_known_of_an_edit(tmp_path):
    """So that edits which are kept in a folder are made anew when it changes."""
    _save_with_loose_autoencoder(tmp_path)
    before = Adversary(str(tmp_path), device="cpu").digests(["instruct"])
    torch.save(TINY["taef2"][1]().state_dict(), tmp_path / "vae" / "taef2_encoder.pth")
    assert Adversary(str(tmp_path), device="cpu").digests(["instruct"]) != before
    assert described(str(tmp_path))["latent"] == "32 channels"


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("scored", [True, False])
def test_sdxl_is_told_what_its_folder_says(tmp_path, zeros, scored, image, repaint):
    options = {"force_zeros_for_empty_prompt": zeros, "requires_aesthetics_score": scored}
    save_sdxl(tmp_path, **options)
    editor = LatentEditor.from_folder(tmp_path, name="tiny", device=CPU)
    for negative in ("", "a cat"):
        edit = Edit("img2img", "a dog", negative_prompt=negative, guidance=4, steps=3)
        theirs = edited(
            pipeline_of(editor, edit, editor.scheduler, **options), edit, image, repaint
        )
        ours = editor.edit(image, edit, Generator().manual_seed(5))
        torch.testing.assert_close(ours.clamp(0, 1), theirs, atol=1e-4, rtol=0)


def test_sdxls_refiner_has_its_second_text_encoder_alone(tmp_path, image, repaint):
    save_sdxl(tmp_path, requires_aesthetics_score=True, refiner=True)
    editor = LatentEditor.from_folder(tmp_path, name="tiny", device=CPU)
    assert list(editor.prompts.encoders) == ["text_encoder_2"]
    edit = Edit("img2img", "a dog", guidance=4, steps=3)
    pipeline = pipeline_of(
        editor,
        edit,
        editor.scheduler,
        text_encoder=None,
        tokenizer=None,
        requires_aesthetics_score=True,
    )
    ours = editor.edit(image, edit, Generator().manual_seed(5))
    theirs = edited(pipeline, edit, image, repaint)
    torch.testing.assert_close(ours.clamp(0, 1), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit.mode}-{edit.guidance}")
def test_the_gradient_is_that_of_finite_differences(editor, edit, scheduler, image, repaint):
    editor.scheduler = getattr(diffusers, scheduler).from_config(editor.scheduler.config)
    # The others compute in float32 on the way, which coarser differences have to bridge.
    step, tolerance = (1e-5, 1e-4) if scheduler == "DDIMScheduler" else (3e-3, 0.03)
    for part in (
        editor.autoencoder.model,
        *editor.prompts.encoders.values(),
        *editor.unets.values(),
    ):
        part.double()
    x = image.double().requires_grad_()
    direction = torch.randn(x.shape, generator=Generator().manual_seed(2), dtype=x.dtype)
    if edit.mode == "inpaint" and edit.strength == 1:
        direction = direction * ~repaint  # else most of it would meet pixels that are greyed out

    def loss(pixels):
        return editor.edit(pixels, edit, Generator().manual_seed(3), repaint=repaint).square().sum()

    (gradient,) = torch.autograd.grad(loss(x), x)
    with torch.no_grad():
        slope = (loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    # The slope itself may happen to be next to nothing, so it is the gradient that sets the scale.
    allowed = tolerance * float(gradient.norm())
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=0, atol=allowed)


def test_a_single_step_is_computed_again_only_where_memory_is_short(editor_folder, image):
    editor = LatentEditor.from_folder(editor_folder, name="tiny", device=CPU)
    passes: list[object] = []
    editor.unets["instruct"].register_forward_pre_hook(lambda *told: passes.append(told))

    def gradient(steps):
        passes.clear()
        x = image.clone().requires_grad_()
        edit = Edit("instruct", "make it night", guidance=1, steps=steps)
        (found,) = torch.autograd.grad(
            editor.edit(x, edit, Generator().manual_seed(0)).square().sum(), x
        )
        return len(passes), found

    plain, expected = gradient(1)
    assert (plain, gradient(2)[0]) == (1, 4)
    editor.recompute()
    again, found = gradient(1)
    assert again == 2
    assert torch.equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["img2img", "instruct"])
def test_a_step_of_stable_diffusions_true_shape_fits_in_20_gib(editor_folder, image, mode):
    """860 million parameters with random weights, at 512 x 512 pixels."""
    parts: Any = diffusers
    tiny = LatentEditor.from_folder(editor_folder, name="tiny", device=CPU)
    torch.manual_seed(0)
    unet = parts.UNet2DConditionModel(
        in_channels={"img2img": 4, "instruct": 8}[mode], cross_attention_dim=768
    )
    assert sum(each.numel() for each in unet.parameters()) > 859e6
    words = transformers.CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_attention_heads=12,
        max_position_embeddings=16,
    )
    encoder = transformers.CLIPTextModel(words)
    entry = CATALOG["sd15"]
    editor = LatentEditor(
        KLAutoencoder(
            parts.AutoencoderKL.from_config(dict(entry.config)), name="sd15", digest="", size=512
        ),
        prompts=SDPrompts({"text_encoder": encoder}, tiny.prompts.tokenizers),
        unets={mode: unet},
        scheduler=tiny.scheduler,
        name="sd15",
        digest="",
    )
    images = torch.nn.functional.interpolate(image, (512, 512)).requires_grad_()
    generator = Generator().manual_seed(0)
    context = editor.context(images, Edit(mode, "a dog", guidance=1), generator)
    times = editor.random_times(1, generator)
    latents = editor.encode(images)
    predicted = editor.predicted(latents, times, context, mode)
    (gradient,) = torch.autograd.grad(predicted.square().mean(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    assert peak_resident_bytes() < 20 * 2**30


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_noise_is_found_again_whatever_the_denoiser_predicts(editor, scheduler, image):
    """A denoiser that predicts perfectly gives back the very noise that was added."""
    latents, noise = torch.randn(2, 1, 4, 4, 6, generator=Generator().manual_seed(0)).unbind(0)
    times = torch.tensor([600])
    velocity = editor.scheduler.get_velocity(latents, noise, times)
    forward = editor.scheduler.add_noise(latents, noise, times)
    editor.scheduler = getattr(diffusers, scheduler).from_config(editor.scheduler.config)
    context = editor.context(image, Edit("img2img"), Generator())
    for kind, perfect in (
        ("epsilon", noise),
        ("sample", latents),
        ("v_prediction", velocity),
    ):
        editor.scheduler.register_to_config(prediction_type=kind)
        editor.unets["img2img"] = lambda *_, answer=perfect, **__: (answer,)
        noisy = editor.noised(latents, noise, times)
        torch.testing.assert_close(noisy, forward)
        found = editor.predicted(noisy, times, context, "img2img")
        wanted = editor.target(latents, noise)
        torch.testing.assert_close(wanted, noise)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_inpainting_never_sees_what_it_repaints(editor, image, repaint):
    edit = EDITS[3]
    other = torch.where(repaint, 1 - image, image)
    first, second = (
        editor.edit(x, edit, Generator().manual_seed(0), repaint=repaint) for x in (image, other)
    )
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_inpainting_without_a_mask_says_so(editor, image):
    with pytest.raises(UsageError, match="mask"):
        editor.edit(image, EDITS[3], Generator())


def test_odd_sides_are_refused(editor, image):
    with pytest.raises(UsageError, match="multiples of 8, got 47 x 32"):
        editor.edit(image[..., :-1], EDITS[2], Generator())


def test_a_missing_way_of_editing_names_those_there_are(editor, image):
    del editor.unets["inpaint"]
    with pytest.raises(UsageError, match="cannot inpaint; it knows img2img, instruct"):
        editor.edit(image, EDITS[3], Generator())


def test_a_folder_without_a_denoiser_is_refused(tmp_path, editor_folder):
    (tmp_path / "vae").symlink_to(editor_folder / "vae")
    with pytest.raises(ModelError, match="no unet in"):
        LatentEditor.from_folder(tmp_path, name="half", device=CPU)


def test_a_missing_tokenizer_is_one_line(tmp_path, editor_folder):
    for part in editor_folder.iterdir():
        if part.name != "tokenizer":
            (tmp_path / part.name).symlink_to(part)
    with pytest.raises(ModelError, match="cannot be loaded"):
        LatentEditor.from_folder(tmp_path, name="half", device=CPU)


@pytest.mark.parametrize("part", ["unet_inpaint", "text_encoder"])
@pytest.mark.parametrize("damage", ["a weight is missing", "cut short"])
def test_damaged_weights_are_refused_and_not_drawn_at_random(part, damage, tmp_path, editor_folder):
    shutil.copytree(editor_folder, tmp_path / "editor")
    (file,) = (tmp_path / "editor" / part).glob("*.safetensors")
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:-100])
    else:
        weights = load_file(file)
        weights.pop(sorted(weights)[0])
        save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="cannot be loaded") as refused:
        LatentEditor.from_folder(tmp_path / "editor", name="half", device=CPU)
    assert "\n" not in str(refused.value)
    with pytest.raises(ModelError, match="cannot be loaded"):
        Adversary(str(tmp_path / "editor"), device="cpu").load(["inpaint"])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"strength": 0}, "strength must be above 0"),
        ({"steps": 0}, "steps must be from 1 to 1000, got 0"),
        ({"strength": math.nan}, "strength must be above 0 and up to 1, got nan"),
        ({"guidance": math.nan}, "guidance must be 1 or more, got nan"),
        ({"image_guidance": math.inf}, "image_guidance must be 1 or more, got inf"),
        ({"guidance": 0.5}, "guidance must be 1"),
        ({"eta": 2}, "eta must be from 0 to 1, got 2"),
        ({"mode": "img2img", "steps": 3, "strength": 0.2}, "leave none to take"),
    ],
)
def test_impossible_edits_are_refused(fields, says):
    with pytest.raises(UsageError, match=says):
        Edit(**{"mode": "instruct", **fields})


def test_an_unknown_mode_suggests_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'inpaint'"):
        Edit("inpain")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ['{"_class_name": "NoScheduler"}', '{"_class_name": "AutoencoderKL"}', "{}"]
)
def test_steps_that_are_none_are_said_so_on_both_sides(editor_folder, tmp_path, text):
    folder = tmp_path / "editor"
    shutil.copytree(editor_folder, folder)
    (folder / "scheduler_img2img").mkdir()
    (folder / "scheduler_img2img" / "scheduler_config.json").write_text(text)
    with pytest.raises(ModelError, match="scheduler_img2img names no scheduler of diffusers"):
        LatentEditor.from_folder(folder, name="tiny", device=CPU)
    with pytest.raises(ModelError, match="scheduler_img2img names no scheduler of diffusers"):
        Adversary(str(folder), device="cpu").load(["img2img"])
