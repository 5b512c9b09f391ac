"""Each convention of latents, on tiny untrained models of diffusers' true classes."""

import json
from typing import Any

import diffusers
import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2 import Flux2Pipeline
from safetensors.torch import load_file as tensors_of
from safetensors.torch import save_file

from photovax.attack.objectives.latent import LatentDrift, PosteriorShift
from photovax.errors import ModelError
from photovax.models.autoencoders.base import FrozenAutoencoder
from photovax.models.autoencoders.families import FAMILIES
from photovax.models.autoencoders.load import load_file, load_folder
from photovax.models.catalog.entries import CATALOG

parts: Any = diffusers  # its classes look empty to a type checker
CPU = torch.device("cpu")
LEVELS = {
    "block_out_channels": (4, 4, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 2,
}
NO_QUANT = {"use_quant_conv": False, "use_post_quant_conv": False}
MOMENTS = {"latents_mean": [0.5, -0.25, 0.1, 0.0], "latents_std": [2.0, 1.5, 0.5, 1.0]}
FRAMES = {
    "base_dim": 8,
    "z_dim": 4,
    "dim_mult": [1, 1, 2, 2],
    "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
    **MOMENTS,
}
DEEP = {
    "latent_channels": 8,
    "attention_head_dim": 2,
    "encoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
    "decoder_block_types": ("ResBlock", "ResBlock", "EfficientViTBlock"),
    "encoder_block_out_channels": (4, 4, 8),
    "decoder_block_out_channels": (4, 4, 8),
    "encoder_layers_per_block": (1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1),
    "encoder_qkv_multiscales": ((), (), (5,)),
    "decoder_qkv_multiscales": ((), (), (5,)),
    "downsample_block_type": "Conv",
    "upsample_block_type": "interpolate",
    "scaling_factor": 0.41407,
}
TINY = {
    "encoder_block_out_channels": (8,) * 4,
    "decoder_block_out_channels": (8,) * 4,
    "num_encoder_blocks": (1,) * 4,
    "num_decoder_blocks": (1,) * 4,
}


def mean_of(vae, x):
    return vae.encode(x).latent_dist.mode()


def kl(vae, x):
    """StableDiffusionImg2ImgPipeline."""
    return mean_of(vae, x) * vae.config.scaling_factor


def shifted(vae, x):
    """StableDiffusion3Img2ImgPipeline, FluxImg2ImgPipeline, ZImageImg2ImgPipeline."""
    return (mean_of(vae, x) - vae.config.shift_factor) * vae.config.scaling_factor


def normalised(vae, x):
    """StableDiffusionXLImg2ImgPipeline, where the config has the statistics."""
    mean = torch.tensor(vae.config.latents_mean).view(1, 4, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, 4, 1, 1)
    return (mean_of(vae, x) - mean) * vae.config.scaling_factor / std


def patched(vae, x):
    """Flux2Pipeline, by its own code."""
    pipeline: Any = object.__new__(Flux2Pipeline)
    object.__setattr__(pipeline, "vae", vae)
    encode: Any = Flux2Pipeline._encode_vae_image
    return encode(pipeline, x, None)


def frame(vae, x):
    """QwenImageEditPipeline and WanImageToVideoPipeline."""
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    return (mean_of(vae, x.unsqueeze(2)) - mean) / std


def deep(vae, x):
    """SanaPipeline's decoding, inverted."""
    return vae.encode(x).latent * vae.config.scaling_factor


def movq(vae, x):
    """KandinskyV22Img2ImgPipeline."""
    return vae.encode(x)["latents"]


def tiny(vae, x):
    """Any pipeline with the tiny autoencoder in the place of its own."""
    return vae.encode(x).latents * vae.config.scaling_factor


CASES: dict[str, tuple[str, dict[str, Any], Any, tuple[int, ...]]] = {
    "sd": ("AutoencoderKL", {**LEVELS, "scaling_factor": 0.18215}, kl, (4, 8, 12)),
    "sd3": (
        "AutoencoderKL",
        {
            **LEVELS,
            **NO_QUANT,
            "latent_channels": 16,
            "scaling_factor": 1.5305,
            "shift_factor": 0.0609,
        },
        shifted,
        (16, 8, 12),
    ),
    "sdxl": (
        "AutoencoderKL",
        {**LEVELS, **MOMENTS, "scaling_factor": 0.13025},
        normalised,
        (4, 8, 12),
    ),
    "flux2": ("AutoencoderKLFlux2", {**LEVELS, "latent_channels": 8}, patched, (32, 4, 6)),
    "sana": ("AutoencoderDC", DEEP, deep, (8, 16, 24)),
    "qwen": ("AutoencoderKLQwenImage", FRAMES, frame, (4, 1, 8, 12)),
    "wan": ("AutoencoderKLWan", FRAMES, frame, (4, 1, 8, 12)),
    "movq": (
        "VQModel",
        {
            **LEVELS,
            "block_out_channels": (32,) * 4,  # its spatial norms have groups of 32
            "latent_channels": 4,
            "num_vq_embeddings": 16,
            "vq_embed_dim": 4,
            "norm_type": "spatial",
        },
        movq,
        (4, 8, 12),
    ),
    "taesd": ("AutoencoderTiny", TINY, tiny, (4, 8, 12)),
}


def untrained(kind, config):
    torch.manual_seed(0)
    model = getattr(parts, kind)(**config)
    if kind == "AutoencoderKLFlux2":
        model.bn.running_mean.uniform_(-1, 1)
        model.bn.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(params=list(CASES))
def case(request, tmp_path):
    """An adapter loaded from a saved folder, the saved model, its formula and latent shape."""
    kind, config, formula, shape = CASES[request.param]
    model = untrained(kind, config)
    model.save_pretrained(tmp_path)
    return load_folder(tmp_path, name="x", device=CPU), model.eval(), formula, shape


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_latents_are_those_of_the_pipelines(case, images):
    adapter, model, formula, shape = case
    with torch.no_grad():
        latents = adapter.encode(images)
        wanted = formula(model, images * 2 - 1)
    assert latents.shape == (2, *shape)
    assert adapter.multiple * shape[-1] == 96
    torch.testing.assert_close(latents, wanted)


def test_decoding_undoes_the_scaling(case, images):
    adapter, _, _, _ = case
    with torch.no_grad():
        own = adapter._encoded(images * 2 - 1)
        torch.testing.assert_close(adapter._unscaled(adapter._scaled(own)), own)
        decoded = adapter.decode(adapter.encode(images))
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert decoded.std() > 0


def test_gradients_reach_every_image(case, images):
    adapter, _, _, _ = case
    loss = LatentDrift().bind(adapter, images)
    moved = (images + 0.03 * torch.sign(images - 0.5)).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(moved, torch.Generator()).sum(), moved)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).abs().sum(1) > 0).all()
    assert all(not weight.requires_grad for weight in adapter.model.parameters())


def test_grey_and_odd_sizes_are_continued(case):
    adapter, _, _, shape = case
    with torch.no_grad():
        assert adapter.encode(torch.zeros(1, 1, 61, 93)).shape == (1, *shape)


def test_a_posterior_is_offered_where_there_is_one(case, images):
    adapter, _, _, _ = case
    single = type(adapter).__name__ in ("DeepAutoencoder", "MoVQAutoencoder", "TinyKLAutoencoder")
    if single:
        with pytest.raises(ModelError, match="distribution of latents"):
            PosteriorShift().bind(adapter, images)
    else:
        loss = PosteriorShift().bind(adapter, images)
        assert (loss((images + 0.1).clamp(0, 1), torch.Generator()) < 0).all()


def test_every_family_is_covered():
    assert {kind for kind, *_ in CASES.values()} == set(FAMILIES)


def test_one_file_loads_as_its_folder_does(case, images, tmp_path):
    adapter, model, _, _ = case
    config = {**model.config, "_class_name": type(model).__name__}
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    loaded = load_file(file, config, name="x", device=CPU)
    assert loaded.digest == adapter.digest
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode(images), adapter.encode(images))


def ldm_name(key):
    """The name that Stable Diffusion's own checkpoints give a weight."""
    for new, old in (
        ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
        ("mid_block.attentions.0.to_", "mid.attn_1."),
        ("mid_block.resnets.0", "mid.block_1"),
        ("mid_block.resnets.1", "mid.block_2"),
        ("conv_norm_out", "norm_out"),
        ("conv_shortcut", "nin_shortcut"),
        (".downsamplers.0", ".downsample"),
        (".upsamplers.0", ".upsample"),
        (".resnets.", ".block."),
        ("down_blocks.", "down."),
    ):
        key = key.replace(new, old)
    for level in range(4):
        key = key.replace(f"up_blocks.{level}.", f"up.{3 - level}.")
    return key


def checkpoint_of(model, prefix=""):
    checkpoint = {}
    for key, value in model.state_dict().items():
        attention = ".attentions." in key and ".to_" in key and key.endswith("weight")
        checkpoint[prefix + ldm_name(key)] = value[..., None, None] if attention else value
    return checkpoint


@pytest.mark.parametrize("prefix", ["first_stage_model.", ""])
def test_the_autoencoder_is_taken_out_of_a_checkpoint(prefix, images, tmp_path):
    config = {**LEVELS, "scaling_factor": 0.18215}
    model = untrained("AutoencoderKL", config)
    model.save_pretrained(tmp_path)
    folder = load_folder(tmp_path, name="x", device=CPU)
    checkpoint = checkpoint_of(model, prefix)
    if prefix:
        checkpoint["model.diffusion_model.x"] = torch.zeros(1)
        text = "cond_stage_model.transformer.text_model.encoder.layers.0.x"
        checkpoint[text] = torch.zeros(1)
    save_file({key: value.half() for key, value in checkpoint.items()}, tmp_path / "sd.safetensors")
    loaded = load_file(
        tmp_path / "sd.safetensors",
        {"_class_name": "AutoencoderKL", **config},
        name="x",
        device=CPU,
    )
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.encode(images), folder.encode(images), atol=5e-3, rtol=5e-3
        )
    assert loaded.model.dtype == torch.float32


def test_a_checkpoint_of_another_shape_says_what_does_not_fit(tmp_path):
    checkpoint = checkpoint_of(untrained("AutoencoderKL", LEVELS))
    save_file(checkpoint, tmp_path / "a.safetensors")
    wider = {"_class_name": "AutoencoderKL", **LEVELS, "latent_channels": 16}
    with pytest.raises(ModelError, match=r"\d weights are missing or of other shapes, \S+ for one"):
        load_file(tmp_path / "a.safetensors", wider, name="x", device=CPU)


def test_halves_are_widened_and_used_only_where_there_are_no_others(tmp_path, images):
    model = untrained("AutoencoderKL", LEVELS)
    model.save_pretrained(tmp_path)
    full = load_folder(tmp_path, name="x", device=CPU)
    half = tmp_path / "diffusion_pytorch_model.fp16.safetensors"
    save_file({key: value.half() for key, value in model.state_dict().items()}, half)
    assert load_folder(tmp_path, name="x", device=CPU).digest == full.digest
    (tmp_path / "diffusion_pytorch_model.safetensors").unlink()
    loaded = load_folder(tmp_path, name="x", device=CPU)
    assert isinstance(loaded, FrozenAutoencoder)
    assert loaded.digest != full.digest
    assert loaded.model.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode(images), full.encode(images), atol=1e-2, rtol=1e-2)


@pytest.fixture
def folder(tmp_path):
    untrained("AutoencoderKL", LEVELS).save_pretrained(tmp_path)
    return tmp_path


def test_pickled_weights_are_refused(folder):
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match="only pickled weights, which are not loaded"):
        load_folder(folder, name="x", device=CPU)
    torch.save({}, folder / "model.ckpt")
    with pytest.raises(ModelError, match=r"is pickled weights \(\.ckpt, \.pt, \.bin\)"):
        load_file(
            folder / "model.ckpt",
            {"_class_name": "AutoencoderKL"},
            name="x",
            device=CPU,
        )


def test_weights_that_lack_some_are_refused(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = tensors_of(file)
    weights.pop("encoder.conv_in.weight")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing.*encoder\.conv_in\.weight"):
        load_folder(folder, name="x", device=CPU)
    file.write_bytes(b"cut short")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_folder(folder, name="x", device=CPU)


def test_other_classes_and_no_config_are_refused(folder):
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ModelError, match="holds a UNet2DConditionModel, expected one of"):
        load_folder(folder, name="x", device=CPU)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json in"):
        load_folder(folder, name="x", device=CPU)


def test_files_that_are_no_checkpoint_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    for name in ("sd15", "flux2", "wan", "sana"):
        with pytest.raises(ModelError, match="cannot be loaded"):
            load_file(tmp_path / "a.safetensors", CATALOG[name].config, name=name, device=CPU)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_file(tmp_path / "none.safetensors", CATALOG["sd15"].config, name="x", device=CPU)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("sd15", 512), ("sd15", 768), ("taesd", 512)])
def test_true_shapes_give_gradients(name, size, images):
    entry = CATALOG[name]
    torch.manual_seed(0)
    kind = entry.config["_class_name"]
    model = getattr(parts, kind).from_config(dict(entry.config))
    adapter = FAMILIES[kind](model, name=name, digest="", size=entry.size)
    image = torch.nn.functional.interpolate(images[:1], (size, size)).requires_grad_()
    latents = adapter.encode(image)
    side = size // entry.latent.downscale
    assert latents.shape[1:] == (entry.latent.channels, side, side)
    (gradient,) = torch.autograd.grad(latents.square().sum(), image)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
