"""What transformers are fed, against diffusers' own pipelines."""

import json
import shutil
from typing import Any

import pytest
import torch
from torch import Generator

from photovax.attack.objectives import DenoisingError
from photovax.errors import ModelError, UsageError
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import fed_size
from photovax.models.edit import Edit
from photovax.models.load import load_editor
from photovax.models.transformer.editor import FlowEditor
from tests.hub_cache import keep
from tests.models.transformer.pipelines import asked, pipeline_of
from tests.models.transformer.untrained import (
    CPU,
    KINDS,
    MODES,
    PIPELINES,
    SIZE,
    flow,
    parts,
)


def watched(transformer):
    """A list that fills with what a transformer is fed and what it answers."""
    calls: list[dict[str, Any]] = []
    transformer.register_forward_hook(
        lambda _, args, fed, made: calls.append({**fed, "answer": made[0]}), with_kwargs=True
    )
    return calls


def asked_by_the_pipeline(kind, folder, image, repaint):
    """What diffusers' own pipeline asks its transformer in two or three steps of an edit."""
    pipeline = pipeline_of(kind, folder)
    options = asked(kind, pipeline, "a dog", image, repaint)
    calls = watched(pipeline.transformer)
    if MODES[kind] != "instruct":
        options["strength"] = 0.6
    if kind in ("sd3", "klein"):
        options["guidance_scale"] = 1
    if kind.startswith("qwen"):
        options["true_cfg_scale"] = 1
    pipeline(
        **options,
        num_inference_steps=3,
        generator=Generator().manual_seed(5),
        output_type="latent",
    )
    return calls


def latents_of(kind, fed):
    """The latents in what a pipeline's transformer is fed or answers; what is shown is left out."""
    if kind == "sd3":
        return fed
    height, width = SIZE
    own = fed[:, : height * width // 256, :16]
    if kind in ("flux2", "klein"):
        return own.mT.reshape(1, 16, height // 16, width // 16)
    latents = getattr(parts, PIPELINES[kind])._unpack_latents(own, height, width, 8)
    return latents[:, :, 0] if kind.startswith("qwen") else latents


def leave_out_the_largest_text_encoder(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["text_encoder_3"] = index["tokenizer_3"] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index))
    shutil.rmtree(folder / "text_encoder_3")


def call_it_by_its_first_pipeline(folder):
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "QwenImageEditPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))


VARIANTS = {
    "sd3 without T5": leave_out_the_largest_text_encoder,
    "qwen-edit by QwenImageEditPipeline": call_it_by_its_first_pipeline,
}


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("kind", [*KINDS, *VARIANTS])
def test_the_transformer_is_asked_what_the_pipeline_asks_it(
    kind, folders, image, repaint, tmp_path
):
    variant, kind = kind, kind.partition(" ")[0]
    folder = folders[kind]
    if variant in VARIANTS:
        folder = shutil.copytree(folder, tmp_path / "variant")
        VARIANTS[variant](folder)
    denoiser = flow(folder)
    generator = Generator().manual_seed(5)
    mode = denoiser.mode
    assert mode == MODES[kind]
    # In the pipelines' order of draws.
    if mode == "instruct":
        latents = denoiser.encode(image)
    else:
        latents = denoiser.autoencoder.sample(image, generator).reshape(1, 4, 4, 6)
    noise = torch.randn(latents.shape, generator=generator)
    context = denoiser.context(image, Edit(mode, "a dog"), generator, repaint=repaint)
    theirs = asked_by_the_pipeline(kind, folder, image, repaint)
    assert len(theirs) == (3 if mode == "instruct" else 2)
    ours = watched(denoiser.transformer)
    for number, call in enumerate(theirs):
        fed = call["hidden_states"]
        times = call["timestep"] / (1000 if kind == "sd3" else 1)
        noisy = latents_of(kind, fed)
        if number == 0:
            torch.testing.assert_close(
                denoiser.noised(latents, noise, times), noisy, atol=1e-4, rtol=0
            )
        velocity = denoiser.predicted(noisy, times, context, mode)
        assert velocity.shape == latents.shape
        given = ours[number]
        for key in given.keys() - {"return_dict"}:
            assert (given[key] is None) == (call[key] is None), key
            if given[key] is not None:
                torch.testing.assert_close(given[key], call[key], atol=1e-4, rtol=1e-6)
        torch.testing.assert_close(velocity, latents_of(kind, call["answer"]), atol=1e-4, rtol=0)
    assert set(given) >= set(call) - {"joint_attention_kwargs", "attention_kwargs"}


def test_filling_without_a_mask_says_so(folders, image):
    denoiser = flow(folders["fill"])
    with pytest.raises(UsageError, match="needs a mask"):
        denoiser.context(image, Edit("inpaint"), Generator())


def test_too_large_a_picture_says_what_fits(folders):
    denoiser = flow(folders["sd3"])
    image = torch.rand(1, 3, 32, 208)
    with pytest.raises(UsageError, match="sides up to 192 pixels, got 208 x 32"):
        DenoisingError().bind(denoiser, image)(image, Generator())


CACHED = {
    "sd3": "sd35",
    "flux": "flux1-dev",
    "kontext": "flux1-kontext",
    "fill": "flux1-fill",
    "flux2": "flux2-dev",
    "klein": "flux2-klein",
    "qwen": "qwen-image",
    "qwen-edit": "qwen-image-edit",
}


@pytest.fixture
def fitting(kind, folders, tmp_path):
    """A folder as the catalogue's model has it: its scaling, and weights that are cut up."""
    folder = shutil.copytree(folders[kind], tmp_path / "fitting")
    config = folder / "vae" / "config.json"
    wanted = CATALOG[CACHED[kind]].config
    scales = {key: wanted[key] for key in ("scaling_factor", "shift_factor") if key in wanted}
    config.write_text(json.dumps(json.loads(config.read_text()) | scales))
    part = folder / "transformer"
    name = json.loads((part / "config.json").read_text())["_class_name"]
    model = getattr(parts, name).from_pretrained(part, low_cpu_mem_usage=False)
    shutil.rmtree(part)
    model.save_pretrained(part, max_shard_size="40KB")
    assert len(list(part.glob("*.safetensors"))) > 1
    return folder


def test_a_cached_model_loads_by_its_name(kind, fitting, cache, image, repaint):
    name = CACHED[kind]
    source = CATALOG[name].sources[0]
    with pytest.raises(ModelError, match=f"model {name}: no weights") as caught:
        load_editor(name, device=CPU)
    assert f"pull {name} --editor'" in caught.value.line
    assert ("must be accepted" in caught.value.line) == source.gated
    keep(cache, source.repository, fitting)
    found = load_editor(name, device=CPU)
    assert isinstance(found, FlowEditor)
    assert (found.name, found.mode) == (name, next(iter(CATALOG[name].edits)))
    assert found.digest == flow(fitting).digest
    assert load_editor(name, device=CPU, weights=fitting).digest == found.digest
    loss = DenoisingError(found.mode).bind(found, image, repaint)
    assert loss(image, Generator()).isfinite().all()
    assert fed_size(source.repository) == (64 if kind == "sd3" else 1024)


@pytest.mark.parametrize("kind", ["sd3"])
def test_the_cache_of_a_mere_autoencoder_is_no_denoiser(fitting, cache, kind):
    keep(cache, "stabilityai/stable-diffusion-3.5-large", fitting)
    with pytest.raises(ModelError, match="model sd35: no weights"):
        load_editor("sd35", device=CPU)


def test_other_transformers_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "other")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "SanaPipeline"}))
    with pytest.raises(ModelError, match="holds a SanaPipeline"):
        load_editor(str(folder), device=CPU)


def test_the_autoencoder_of_another_family_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["klein"], tmp_path / "mixed")
    shutil.rmtree(folder / "vae")
    shutil.copytree(folders["flux"] / "vae", folder / "vae")
    with pytest.raises(ModelError, match="vae holds no AutoencoderKLFlux2: it cannot edit here"):
        load_editor(str(folder), device=CPU)


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("text_encoder_2/model.safetensors", "no safetensors weights in .*text_encoder_2"),
        ("transformer/diffusion_pytorch_model.safetensors", "no safetensors weights in .*former"),
        ("tokenizer_2", r"no tokenizer\.json or .* in .*tokenizer_2"),
        ("vae/config.json", r"no config\.json in .*vae"),
        ("model_index.json", "give the whole folder"),
    ],
)
def test_a_missing_part_is_one_line(missing, says, folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "half")
    gone = folder / missing
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(ModelError, match=says) as caught:
        load_editor(str(folder), device=CPU)
    assert len(str(caught.value).splitlines()) == 1
