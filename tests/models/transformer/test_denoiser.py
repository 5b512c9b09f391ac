"""Transformers of flow matching against diffusers' own pipelines, on tiny untrained parts."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_plus,
)
from PIL import Image
from tokenizers.pre_tokenizers import ByteLevel
from torch import Generator
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from photovax.adversary.edits import Adversary
from photovax.attack.objectives import DenoisingError, FirstStepNorm
from photovax.attack.presets import PRESETS
from photovax.errors import ModelError, UsageError
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import CATALOG
from photovax.models.catalog.places import fed_size
from photovax.models.edit import Edit, Mode
from photovax.models.load import load_denoiser, load_editor, usual_edit
from photovax.models.transformer.denoiser import FlowDenoiser
from photovax.models.views import resize
from photovax.pictures.photo import read_photo
from photovax.registry import Part
from photovax.tensors import tensor
from tests.hub_cache import keep

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
KINDS = ("sd3", "flux", "kontext", "fill", "flux2", "klein", "qwen", "qwen-edit")
MODES: dict[str, Mode] = {
    "sd3": "img2img",
    "flux": "img2img",
    "kontext": "instruct",
    "fill": "inpaint",
    "flux2": "instruct",
    "klein": "instruct",
    "qwen": "img2img",
    "qwen-edit": "instruct",
}
PIPELINES = {
    "sd3": "StableDiffusion3Img2ImgPipeline",
    "flux": "FluxImg2ImgPipeline",
    "kontext": "FluxKontextPipeline",
    "fill": "FluxFillPipeline",
    "flux2": "Flux2Pipeline",
    "klein": "Flux2KleinPipeline",
    "qwen": "QwenImageImg2ImgPipeline",
    "qwen-edit": "QwenImageEditPlusPipeline",
}
# What transformers would make only where torchvision is; the tests' parts are their tokenizers.
PROCESSORS = {
    "flux2": ("tokenizer", "PixtralProcessor"),
    "qwen-edit": ("processor", "Qwen2VLProcessor"),
}
SIZE = (32, 48)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, editor_folder) -> dict[str, Path]:
    """An untrained pipeline folder of each kind, with the text encoders that it should have."""
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(editor_folder / "tokenizer")
    clip = CLIPTextConfig.from_pretrained(editor_folder / "text_encoder")
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((c, -1.0) for c in "▁adgo")]
    common: dict[str, Any] = {
        "vae": parts.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4, 4, 8, 8),
            norm_num_groups=2,
            layers_per_block=1,
            scaling_factor=1.5,
            shift_factor=0.06,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        "scheduler": parts.FlowMatchEulerDiscreteScheduler(shift=3.0),
        "tokenizer": tokenizer,
    }
    t5 = T5EncoderModel(
        T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    t5_tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    made = {
        "sd3": parts.StableDiffusion3Pipeline(
            **common,
            text_encoder=CLIPTextModelWithProjection(clip),
            text_encoder_2=CLIPTextModelWithProjection(clip),
            tokenizer_2=tokenizer,
            text_encoder_3=t5,
            tokenizer_3=t5_tokenizer,
            transformer=parts.SD3Transformer2DModel(
                sample_size=8,
                in_channels=4,
                out_channels=4,
                num_layers=2,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=32,
                caption_projection_dim=16,
                pooled_projection_dim=32,
                pos_embed_max_size=12,
            ),
        )
    }
    for kind, channels, name in (
        ("flux", 16, "FluxPipeline"),
        ("kontext", 16, "FluxKontextPipeline"),
        ("fill", 16 + 16 + 4 * 64, "FluxFillPipeline"),
    ):
        made[kind] = getattr(parts, name)(
            **common,
            text_encoder=CLIPTextModel(clip),
            text_encoder_2=t5,
            tokenizer_2=t5_tokenizer,
            transformer=parts.FluxTransformer2DModel(
                in_channels=channels,
                out_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=32,
                pooled_projection_dim=16,
                guidance_embeds=kind != "flux",
                axes_dims_rope=(4, 4, 8),
            ),
        )
    made |= without_pooling(common["scheduler"])
    root = tmp_path_factory.mktemp("flows")
    for kind, pipeline in made.items():
        pipeline.save_pretrained(root / kind)
    for kind, (part, processor) in PROCESSORS.items():
        index = json.loads((root / kind / "model_index.json").read_text())
        index[part] = ["transformers", processor]
        (root / kind / "model_index.json").write_text(json.dumps(index))
    return {kind: root / kind for kind in made}


def without_pooling(scheduler):
    """Untrained pipelines of the kinds whose text is encoded by a language model."""
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>"]
    words = {word: number for number, word in enumerate([*sorted(ByteLevel.alphabet()), *marks])}
    tokenizer = Qwen2Tokenizer(vocab=words, merges=[], additional_special_tokens=marks[1:])
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.content is "
        "string %}{{ message.content }}{% else %}{{ message.content[0].text }}{% endif %}"
        "<|im_end|>\n{% endfor %}"
    )
    sizes: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    # As many layers as the pipelines want to look into.
    qwen3 = Qwen3ForCausalLM(Qwen3Config(**sizes, num_hidden_layers=27))
    mistral = Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config={"model_type": "mistral", **sizes, "num_hidden_layers": 30},
            vision_config={
                "model_type": "pixtral",
                "hidden_size": 8,
                "intermediate_size": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
            },
        )
    )
    seeing = Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(
            text_config={
                **sizes,
                "num_hidden_layers": 1,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e4,
                    "mrope_section": [1, 1, 2],
                },
            },
            vision_config={
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 16,
            },
            image_token_id=words["<|image_pad|>"],
            video_token_id=words["<|video_pad|>"],
        )
    )
    patched = parts.AutoencoderKLFlux2(
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=2,
        layers_per_block=1,
        latent_channels=4,
    )
    patched.bn.running_mean.uniform_(-1, 1)
    patched.bn.running_var.uniform_(0.5, 2)
    frames = parts.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 2, 2],
        num_res_blocks=1,
        latents_mean=[0.5, -0.25, 0.1, 0.0],
        latents_std=[2.0, 1.5, 0.5, 1.0],
    )
    pipelines = {}
    for kind, text_encoder in (("flux2", mistral), ("klein", qwen3)):
        pipelines[kind] = getattr(parts, PIPELINES[kind])(
            vae=patched,
            scheduler=scheduler,
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            transformer=parts.Flux2Transformer2DModel(
                in_channels=16,
                num_layers=1,
                num_single_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=48,
                guidance_embeds=kind == "flux2",
                axes_dims_rope=(4, 4, 4, 4),
            ),
        )
    for kind, more in (("qwen", {}), ("qwen-edit", {"processor": None})):
        pipelines[kind] = getattr(parts, PIPELINES[kind])(
            vae=frames,
            scheduler=scheduler,
            tokenizer=tokenizer,
            text_encoder=seeing,
            transformer=parts.QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=2,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=16,
                axes_dims_rope=(4, 4, 8),
                zero_cond_t=kind == "qwen-edit",
            ),
            **more,
        )
    return pipelines


def flow(folder: Path) -> FlowDenoiser:
    """The denoiser of a folder."""
    denoiser = load_denoiser(str(folder), device=CPU)
    assert isinstance(denoiser, FlowDenoiser)
    return denoiser


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def denoiser(kind, folders):
    return flow(folders[kind])


@pytest.fixture(scope="module")
def image():
    levels = torch.randint(256, (1, 3, *SIZE), generator=Generator().manual_seed(1))
    return levels / 255


@pytest.fixture(scope="module")
def repaint():
    mask = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    mask[..., 5:25, 10:35] = True
    return mask


def watched(transformer):
    """A list that fills with what a transformer is fed and what it answers."""
    calls: list[dict[str, Any]] = []
    transformer.register_forward_hook(
        lambda _, args, fed, made: calls.append({**fed, "answer": made[0]}), with_kwargs=True
    )
    return calls


def picture_of(image):
    """The picture of a batch of one, as Pillow has it."""
    return Image.fromarray((image[0] * 255).round().byte().movedim(0, -1).numpy())


def asked_by_the_pipeline(kind, folder, image, repaint):
    """What diffusers' own pipeline asks its transformer in two or three steps of an edit."""
    index = json.loads((folder / "model_index.json").read_text())
    without = dict.fromkeys(part for part in index if index[part] == [None, None])
    processor = PROCESSORS[kind][0] if kind in PROCESSORS else None
    if processor is not None:
        without[processor] = None
    name = index["_class_name"] if kind == "qwen-edit" else PIPELINES[kind]
    pipeline = getattr(parts, name).from_pretrained(folder, low_cpu_mem_usage=False, **without)
    if processor is not None:
        setattr(pipeline, processor, AutoTokenizer.from_pretrained(folder / "tokenizer"))
    pipeline.set_progress_bar_config(disable=True)
    asked: dict[str, Any] = {"prompt": "a dog", "image": image}
    if kind == "qwen-edit":
        # Ours does not let the text encoder see the picture.
        blind = parts.QwenImageEditPlusPipeline(**pipeline.components)
        asked = {"prompt_embeds": blind.encode_prompt("a dog")[0]}
    if kind in ("flux2", "klein", "qwen-edit"):
        asked["image"] = picture_of(image)
    calls = watched(pipeline.transformer)
    options: dict[str, dict[str, Any]] = {
        "sd3": {"strength": 0.6, "guidance_scale": 1},
        "flux": {"strength": 0.6},
        "kontext": {"_auto_resize": False, "max_area": SIZE[0] * SIZE[1]},
        "fill": {"strength": 0.6, "mask_image": repaint.float()},
        "flux2": {},
        "klein": {"guidance_scale": 1},
        "qwen": {"strength": 0.6, "true_cfg_scale": 1},
        "qwen-edit": {"true_cfg_scale": 1},
    }
    pipeline(
        **asked,
        height=SIZE[0],
        width=SIZE[1],
        num_inference_steps=3,
        generator=Generator().manual_seed(5),
        output_type="latent",
        **options[kind],
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


@pytest.fixture
def small_pictures(monkeypatch):
    """Pipelines that would refuse or enlarge pictures as small as these take them as they are."""
    height, width = SIZE
    for module, size in (
        (pipeline_qwenimage_edit, (width, height, None)),
        (pipeline_qwenimage_edit_plus, (width, height)),
    ):
        monkeypatch.setattr(module, "calculate_dimensions", lambda *_, size=size: size)
    monkeypatch.setattr(Flux2ImageProcessor, "check_image_input", staticmethod(lambda image: image))


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
        asked = ours[number]
        for key in asked.keys() - {"return_dict"}:
            assert (asked[key] is None) == (call[key] is None), key
            if asked[key] is not None:
                torch.testing.assert_close(asked[key], call[key], atol=1e-4, rtol=1e-6)
        torch.testing.assert_close(velocity, latents_of(kind, call["answer"]), atol=1e-4, rtol=0)
    assert set(asked) >= set(call) - {"joint_attention_kwargs", "attention_kwargs"}


def test_a_perfect_transformer_has_no_error(denoiser, image):
    latents = denoiser.encode(image)
    noise = torch.randn(latents.shape, generator=Generator().manual_seed(0))
    times = torch.tensor([0.3])
    ahead = denoiser.noised(latents, noise, times + 0.1)
    velocity = (ahead - denoiser.noised(latents, noise, times)) / 0.1
    torch.testing.assert_close(denoiser.target(latents, noise), velocity, atol=1e-4, rtol=1e-4)


def test_the_gradient_is_that_of_finite_differences(kind, denoiser, image, repaint):
    denoiser.autoencoder.model.double()
    denoiser.transformer.double()
    loss = DenoisingError(MODES[kind]).bind(denoiser, image, repaint)
    x = image.double().requires_grad_()
    direction = torch.randn(x.shape, generator=Generator().manual_seed(2), dtype=x.dtype)

    def value(pixels):
        return loss(pixels, Generator().manual_seed(3)).sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    # Rotary embeddings compute in float32, which coarser differences have to bridge.
    step, tolerance = (1e-5, 1e-6) if kind == "sd3" else (1e-3, 3e-3)
    with torch.no_grad():
        slope = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=tolerance, atol=0)
    denoiser.recompute()
    torch.testing.assert_close(torch.autograd.grad(value(x), x)[0], gradient, atol=0, rtol=0)


def test_sds_pulls_as_it_would_by_the_noise(kind, denoiser, image, repaint):
    """The error of the velocity is that of the noise that it implies, but for a factor above 0."""
    generator = Generator().manual_seed(0)
    latents = denoiser.encode(image)
    noise = torch.randn(latents.shape, generator=generator)
    times = torch.tensor([0.4])
    context = denoiser.context(image, Edit(MODES[kind]), generator, repaint=repaint)
    noisy = denoiser.noised(latents, noise, times)
    velocity = denoiser.predicted(noisy, times, context, MODES[kind])
    error = velocity - denoiser.target(latents, noise)
    implied = noisy + (1 - times) * velocity
    torch.testing.assert_close(implied - noise, (1 - times) * error, atol=1e-4, rtol=0)
    x = image.clone().requires_grad_()
    loss = DenoisingError(MODES[kind], through_denoiser=False).bind(denoiser, image, repaint)
    (gradient,) = torch.autograd.grad(loss(x, Generator()).sum(), x)
    assert gradient.abs().max() > 0


def flow_matching_error(denoiser, kind, pixels, mask):
    """The mean over draws of noise and time, of what was never optimised."""
    images = resize(tensor(pixels, CPU), 64, 80)
    repaint = resize(tensor(mask[..., None].astype(np.uint8) * 255, CPU), 64, 80) > 0.5
    loss = DenoisingError(MODES[kind]).bind(denoiser, images, repaint)
    generator = Generator().manual_seed(77)
    with torch.no_grad():
        return -np.mean([loss(images, generator).item() for _ in range(32)])


@pytest.mark.parametrize("preset", ["advdm", "sds"])
def test_presets_raise_the_error_above_that_of_noise_as_large(kind, preset, folders, photo_file):
    photo = read_photo(photo_file)
    immunizer = Immunizer([str(folders[kind])], device="cpu")
    recipe = PRESETS[preset].with_mode(MODES[kind])
    recipe = replace(recipe, size=64, steps=8, step_size=4 / 255)
    mask = np.ones((photo.height, photo.width), dtype=bool)
    mask[20:60, 30:70] = kind != "fill"
    given = mask if kind == "fill" else None
    result = immunizer.immunize(photo, recipe, mask=given)
    denoiser = load_denoiser(str(folders[kind]), device=CPU)
    change = (result.photo.pixels - photo.pixels.astype(float)).astype(float)
    signs = np.random.default_rng(0).choice((-1, 1), change.shape) * mask[..., None]
    noise = signs * np.ceil(np.linalg.norm(change) / np.linalg.norm(signs))
    noisy = (photo.pixels + noise).round().clip(0, 255).astype(np.uint8)
    errors = [
        flow_matching_error(denoiser, kind, pixels, ~mask)
        for pixels in (photo.pixels, noisy, result.photo.pixels)
    ]
    assert errors[2] > 1.01 * max(errors[:2])
    assert immunizer.digests(recipe) == [denoiser.digest]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if MODES[kind] != "img2img"])
def test_diffusionguard_attacks_those_that_are_shown_the_photo(kind, denoiser, image, repaint):
    x = image.clone().requires_grad_()
    loss = FirstStepNorm(MODES[kind]).bind(denoiser, image, repaint)(x, Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert gradient.abs().max() > 0


def test_odd_sides_are_continued(kind, denoiser, repaint):
    grey = torch.rand(2, 1, 20, 37, generator=Generator().manual_seed(0))  # latents of 3 x 5
    loss = DenoisingError(MODES[kind]).bind(denoiser, grey, repaint[..., :20, :37])
    patched = kind in ("flux2", "klein")
    assert denoiser.encode(grey).shape == ((2, 16, 2, 3) if patched else (2, 4, 4, 6))
    assert denoiser.posterior(grey)[0].shape == (2, 4, 4, 6)
    assert loss(grey, Generator().manual_seed(0)).isfinite().all()


def test_prompts_are_encoded_once_and_their_encoders_let_go(kind, folders, tmp_path, image):
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    denoiser = flow(folder)
    shutil.rmtree(folder / "text_encoder")
    empty = denoiser._prompts("")
    assert denoiser._prompts("") is empty
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        denoiser._prompts("a dog")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["sd3", "klein", "qwen-edit"])
def test_half_precision_stays_bfloat16_or_is_widened(kind, folders, tmp_path, image):
    folder = shutil.copytree(folders[kind], tmp_path / "half")
    for stored, used in ((torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)):
        whole = flow(folders[kind]).transformer
        whole.to(stored).save_pretrained(folder / "transformer")
        denoiser = flow(folder)
        assert denoiser.transformer.dtype == used
        x = image.clone().requires_grad_()
        loss = DenoisingError(MODES[kind]).bind(denoiser, image)(x, Generator().manual_seed(0))
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert loss.dtype == torch.float32
        assert gradient.abs().max() > 0


def test_another_way_of_editing_says_which_there_is(kind, denoiser, image, repaint):
    other: Mode = "instruct" if MODES[kind] == "inpaint" else "inpaint"
    loss = DenoisingError(other).bind(denoiser, image, repaint)
    with pytest.raises(UsageError, match=f"cannot {other}; it knows .* --mode {MODES[kind]}"):
        loss(image, Generator())


def test_filling_without_a_mask_says_so(folders, image):
    denoiser = flow(folders["fill"])
    with pytest.raises(UsageError, match="needs a mask"):
        denoiser.context(image, Edit("inpaint"), Generator())


def test_too_large_a_picture_says_what_fits(folders):
    denoiser = flow(folders["sd3"])
    image = torch.zeros(1, 3, 32, 208)
    with pytest.raises(UsageError, match="sides up to 192 pixels, got 208 x 32"):
        DenoisingError().bind(denoiser, image)(image, Generator())


def test_whole_edits_are_refused(kind, folders, photo_file):
    name = str(folders[kind])
    for refused in (
        lambda: load_editor(name, device=CPU),
        lambda: load_editor("flux1-fill", device=CPU),
        lambda: usual_edit("sd35", "img2img"),
        lambda: Adversary(name, device="cpu"),
        lambda: Immunizer([name], device="cpu").immunize(
            read_photo(photo_file), replace(PRESETS["fast-diffusion"], size=64)
        ),
    ):
        with pytest.raises(ModelError, match=r"edits by a transformer are not run.*advdm, sds"):
            refused()


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
    with pytest.raises(ModelError, match=rf"model {name}: no weights.*pull {name}'") as caught:
        load_denoiser(name, device=CPU)
    assert ("must be accepted" in str(caught.value)) == source.gated
    keep(cache, source.repository, fitting)
    found = load_denoiser(name, device=CPU)
    assert isinstance(found, FlowDenoiser)
    assert (found.name, found.mode) == (name, CATALOG[name].denoiser)
    assert found.digest == flow(fitting).digest
    assert load_denoiser(name, device=CPU, weights=fitting).digest == found.digest
    loss = DenoisingError(found.mode).bind(found, image, repaint)
    assert loss(image, Generator()).isfinite().all()
    assert fed_size(source.repository) == (64 if kind == "sd3" else 1024)


def test_the_cache_of_a_mere_autoencoder_is_no_denoiser(fitting, cache, kind):
    keep(cache, "stabilityai/stable-diffusion-3.5-large", fitting)
    with pytest.raises(ModelError, match="model sd35: no weights"):
        load_denoiser("sd35", device=CPU)


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
        load_denoiser(str(folder), device=CPU)
    assert len(str(caught.value).splitlines()) == 1


def test_other_transformers_are_refused(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "other")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "SanaPipeline"}))
    with pytest.raises(ModelError, match="holds a SanaPipeline; transformers are attacked here"):
        load_denoiser(str(folder), device=CPU)


def test_the_autoencoder_of_another_family_is_refused(folders, tmp_path):
    folder = shutil.copytree(folders["klein"], tmp_path / "mixed")
    shutil.rmtree(folder / "vae")
    shutil.copytree(folders["flux"] / "vae", folder / "vae")
    with pytest.raises(ModelError, match="vae holds no AutoencoderKLFlux2: it cannot edit here"):
        load_denoiser(str(folder), device=CPU)


@pytest.mark.parametrize("kind", ["sd3", "klein", "qwen"])
def test_recipes_with_a_sum_ask_the_denoiser_too(kind, folders, photo_file):
    immunizer = Immunizer([str(folders[kind])], device="cpu")
    recipe = replace(
        PRESETS["mist"].with_mode(MODES[kind]), size=64, steps=1, views=(Part("short_side"),)
    )
    result = immunizer.immunize(read_photo(photo_file), recipe)
    assert (result.photo.pixels != result.original.pixels).any()
