"""Whole edits by transformers, against diffusers' own pipelines, on untrained weights."""

import inspect
import json
import os
import shutil
from dataclasses import replace
from typing import Any

import diffusers
import pytest
import torch
from torch import Generator

from photovax.adversary.edits import Adversary
from photovax.errors import ModelError, UsageError
from photovax.models.catalog.flows import FLOW_EDITS
from photovax.models.edit import Edit
from photovax.models.load import usual_edit
from photovax.models.transformer.families import FLOWS
from photovax.models.transformer.load import FlowFolder
from photovax.tensors import CPU
from tests.models.transformer.pipelines import edited
from tests.models.transformer.untrained import MODES, flow, parts

EDITS: dict[str, Edit] = {
    "sd3": Edit("img2img", "a dog", strength=0.6, guidance=3, negative_prompt="goda", steps=4),
    "flux": Edit("img2img", "a dog", strength=0.6, guidance=3, steps=4),
    "kontext": Edit("instruct", "a dog", guidance=3, steps=3),
    "fill": Edit("inpaint", "a dog", guidance=20, steps=3),
    "flux2": Edit("instruct", "a dog", guidance=3, steps=3),
    "klein": Edit("instruct", "a dog", guidance=3, steps=3),
    "qwen": Edit("img2img", "a dog", strength=0.6, guidance=3, steps=4),
    "qwen-edit": Edit("instruct", "a dog", guidance=3, steps=3),
}
OTHERS: dict[str, dict[str, Any]] = {
    "flux": {"strength": 0.3, "steps": 5},
    "kontext": {"steps": 1},
    "flux2": {"steps": 2},
    "sd3": {"guidance": 1, "negative_prompt": ""},
    "fill": {"strength": 0.6},
    "klein": {"guidance": 1},
    "qwen": {"guidance": 1},
    "qwen-edit": {"guidance": 1},
}


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("other", [False, True])
def test_an_edit_equals_the_pipelines(kind, other, denoiser, folders, image, repaint):
    edit = EDITS[kind]
    if other:
        edit = replace(edit, **OTHERS[kind])
    theirs = edited(kind, folders[kind], edit, image, repaint)
    with torch.no_grad():
        ours = denoiser.edit(image, edit, Generator().manual_seed(5), repaint=repaint)
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours.clamp(0, 1), theirs, atol=1e-4, rtol=0)


def test_the_gradient_is_that_of_finite_differences(kind, denoiser, image, repaint, monkeypatch):
    # Rotary embeddings would compute in float32.
    monkeypatch.setattr(torch.Tensor, "float", lambda each: each)
    denoiser.autoencoder.model.double()
    denoiser.transformer.double()
    x = image.double().requires_grad_()
    direction = torch.randn(x.shape, generator=Generator().manual_seed(2), dtype=x.dtype)
    edit = EDITS[kind]

    def value(pixels):
        made = denoiser.edit(pixels, edit, Generator().manual_seed(3), repaint=repaint)
        return made.square().sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    assert gradient.abs().max() > 0
    step = 1e-3
    with torch.no_grad():
        slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    # The slope itself may happen to be next to nothing, so it is the gradient that sets the scale.
    allowed = 3e-3 * float(gradient.norm())
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=0, atol=allowed)


def test_steps_are_computed_again_in_the_backward_pass(kind, denoiser, image, repaint):
    passes: list[object] = []
    denoiser.transformer.register_forward_pre_hook(lambda *told: passes.append(told))
    edit = EDITS[kind]
    x = image.clone().requires_grad_()

    def gradient():
        passes.clear()
        made = denoiser.edit(x, edit, Generator().manual_seed(0), repaint=repaint)
        forward = len(passes)
        (found,) = torch.autograd.grad(made.square().sum(), x)
        return forward, len(passes), found

    forward, all_passes, plain = gradient()
    assert all_passes == 2 * forward
    denoiser.recompute()
    torch.testing.assert_close(gradient()[2], plain, atol=1e-6, rtol=1e-4)


def test_any_size_is_padded_to_tokens_and_cropped(kind, denoiser, repaint):
    images = torch.rand(2, 3, 20, 37, generator=Generator().manual_seed(0), requires_grad=True)
    made = denoiser.edit(
        images, EDITS[kind], Generator().manual_seed(0), repaint=repaint[..., :20, :37]
    )
    assert made.shape == images.shape
    (gradient,) = torch.autograd.grad(made.sum(), images)
    assert (gradient.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("kind", ["sd3", "flux", "qwen"])
def test_a_start_from_pure_noise_is_refused_in_a_line(kind, denoiser, image):
    """As at strength 0.8 with 4 steps, where the pipelines ignore the photo."""
    edit = replace(EDITS[kind], strength=0.8)
    with pytest.raises(UsageError, match="the photo does not matter") as caught:
        denoiser.edit(image, edit, Generator())
    assert "lower --strength" in (caught.value.hint or "")


@pytest.mark.parametrize("kind", ["flux", "kontext", "fill", "flux2", "klein"])
def test_a_negative_prompt_that_would_be_ignored_is_refused(kind, folders, image, repaint):
    edit = replace(EDITS[kind], negative_prompt="a cat")
    with pytest.raises(UsageError, match="takes no negative prompt"):
        flow(folders[kind]).edit(image, edit, Generator(), repaint=repaint)


def test_the_strength_of_guidance_matters(kind, denoiser, image, repaint):
    if kind == "flux":
        pytest.skip("the untrained one has no guidance, like FLUX.1 [schnell]")
    made = [
        denoiser.edit(
            image,
            replace(EDITS[kind], guidance=guidance),
            Generator().manual_seed(0),
            repaint=repaint,
        )
        for guidance in (2, 8)
    ]
    assert (made[0] - made[1]).abs().max() > 1e-5
    assert EDITS[kind].mode == MODES[kind]


def test_where_guidance_is_distilled_there_is_none(folders, tmp_path, image, repaint):
    folder = shutil.copytree(folders["klein"], tmp_path / "distilled")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"is_distilled": True}))
    assert usual_edit(str(folder), "instruct") == Edit("instruct", guidance=1, steps=4)
    assert usual_edit(str(folders["klein"]), "instruct").guidance == 4
    denoiser = flow(folder)
    passes: list[object] = []
    denoiser.transformer.register_forward_pre_hook(lambda *told: passes.append(told))
    denoiser.edit(image, EDITS["klein"], Generator().manual_seed(0))
    assert len(passes) == EDITS["klein"].steps


def test_those_who_attack_edits_and_who_make_them_share_a_transformer(folders, tmp_path):
    folder = shutil.copytree(folders["kontext"], tmp_path / "kontext")
    ours = flow(folder).transformer
    adversary = Adversary(str(folder), device="cpu")
    adversary.load(["instruct"])
    shared = adversary._pipelines["instruct"].transformer
    assert shared is ours
    os.utime(folder / "transformer/config.json")  # weights decide, not other files
    assert FlowFolder(folder, name="a").transformer(CPU) is ours
    os.utime(next((folder / "transformer").glob("*.safetensors")))
    assert FlowFolder(folder, name="a").transformer(CPU) is not ours


@pytest.mark.parametrize("kind", ["flux"])
def test_a_schedule_without_eulers_steps_is_refused(kind, folders, tmp_path):
    folder = shutil.copytree(folders[kind], tmp_path / "other")
    parts.DDIMScheduler().save_pretrained(folder / "scheduler")
    with pytest.raises(ModelError, match="scheduler holds a DDIMScheduler"):
        flow(folder)
    shutil.rmtree(folder / "scheduler")
    with pytest.raises(ModelError, match="scheduler"):
        flow(folder)


@pytest.mark.parametrize("pipeline", list(FLOW_EDITS))
def test_usual_edits_are_the_defaults_of_the_pipelines(pipeline):
    edit, kind = FLOW_EDITS[pipeline], FLOWS[pipeline]
    told = inspect.signature(getattr(diffusers, kind.pipeline).__call__).parameters
    assert edit.mode == kind.mode
    assert edit.guidance == told[kind.scale_name].default
    assert edit.steps == told["num_inference_steps"].default
    if edit.mode != "instruct":
        assert edit.strength == told["strength"].default
    assert set(FLOW_EDITS) == set(FLOWS)


@pytest.mark.parametrize("kind", ["kontext", "fill", "klein", "qwen-edit"])
def test_one_step_is_enough_for_an_attack(kind, denoiser, image, repaint):
    """Qwen-Image's schedule divides by zero then; recipes such as fast-diffusion take one step."""
    x = image.clone().requires_grad_()
    edit = replace(EDITS[kind], steps=1, guidance=1)
    made = denoiser.edit(x, edit, Generator().manual_seed(0), repaint=repaint)
    (gradient,) = torch.autograd.grad(made.square().sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
