"""What a file of weights holds, and that it is the model that was named."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from photovax.adversary.edits import Adversary
from photovax.errors import ModelError
from photovax.models.catalog.holdings import check_bytes, check_holding, held, shown_file
from photovax.models.catalog.places import model_folder
from photovax.models.load import load_autoencoder, load_editor

Shapes = dict[str, tuple[int, ...]]
CPU = torch.device("cpu")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 334643276\n"
UNET = "model.diffusion_model."
VAE: Shapes = {"first_stage_model.encoder.conv_in.weight": (2, 3, 3, 3)}


def unet(width: int, channels: int, block: int = 1) -> Shapes:
    """Some tensors of a UNet in its maker's layout."""
    attends = f"{UNET}input_blocks.{block}.1.transformer_blocks.0.attn2.to_k.weight"
    return {f"{UNET}input_blocks.0.0.weight": (4, channels, 3, 3), attends: (8, width)}


SD1_TEXT: Shapes = {"cond_stage_model.transformer.text_model.final_layer_norm.bias": (8,)}
SD2_TEXT: Shapes = {"cond_stage_model.model.ln_final.bias": (8,)}
XL_TEXT: Shapes = {
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias": (8,),
    "conditioner.embedders.1.model.ln_final.bias": (8,),
}
WHOLE: dict[str, tuple[Shapes, str]] = {
    "sd15": (SD1_TEXT | unet(768, 4), "Stable Diffusion 1"),
    "sd15-inpaint": (SD1_TEXT | unet(768, 9), "Stable Diffusion 1"),
    "instruct-pix2pix": (SD1_TEXT | unet(768, 8), "Stable Diffusion 1"),
    "sd2": (SD2_TEXT | unet(1024, 4), "Stable Diffusion 2"),
    "sd2-inpaint": (SD2_TEXT | unet(1024, 9), "Stable Diffusion 2"),
    "sdxl": (XL_TEXT | unet(2048, 4, block=4), "SDXL"),
    "sdxl-inpaint": (XL_TEXT | unet(2048, 9, block=4), "SDXL"),
    "sd3": ({f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}, "Stable Diffusion 3"),
    "sd35": ({f"{UNET}joint_blocks.0.x_block.attn.ln_q.weight": (8,)}, "Stable Diffusion 3.5"),
    "flux1-dev": (
        {f"{UNET}double_blocks.0.img_mod.lin.bias": (8,), f"{UNET}img_in.weight": (8, 64)},
        "FLUX.1",
    ),
    "flux1-fill": (
        {f"{UNET}double_blocks.0.img_mod.lin.bias": (8,), f"{UNET}img_in.weight": (8, 384)},
        "FLUX.1 Fill",
    ),
    "flux2-klein": (
        {
            f"{UNET}double_blocks.0.img_attn.qkv.weight": (8, 8),
            f"{UNET}double_stream_modulation_img.lin.weight": (8, 8),
        },
        "FLUX.2",
    ),
}
NO_MODELS: dict[str, Shapes] = {
    "a LoRA": {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 8)},
    "a LoRA,": {"unet.down_blocks.0.attentions.0.to_k.lora_A.weight": (4, 8)},
    "a LoRA, which": {"lora_te1_text_model_encoder_layers_0_mlp_fc1.hada_w1_a": (4, 8)},
    "a textual-inversion embedding": {"emb_params": (2, 768)},
    "a textual-inversion embedding,": {"clip_g": (4, 1280), "clip_l": (4, 768)},
    "a textual-inversion embedding, which": {"<cat-toy>": (768,)},
    "a ControlNet": {"control_model.input_hint_block.0.weight": (4, 3, 3, 3)},
    "a ControlNet,": {"controlnet_cond_embedding.conv_in.weight": (4, 3, 3, 3)},
    "an IP-Adapter": {"image_proj.proj.weight": (4, 4), "ip_adapter.1.to_k_ip.weight": (4, 4)},
    "a denoiser of Stable Diffusion 1 without its autoencoder": unet(768, 4),
    "a denoiser of SDXL without its autoencoder": {
        "conv_in.weight": (4, 4, 3, 3),
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 2048),
    },
    "a denoiser of FLUX.1 without its autoencoder": {"double_blocks.0.img_mod.lin.bias": (8,)},
    "a text encoder": {"text_model.embeddings.token_embedding.weight": (8, 8)},
    "a text encoder,?": {"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)},
    "a decoder without its encoder": {"decoder.conv_in.weight": (4, 4, 3, 3)},
    "none that is known, with tensors such as 'a'": {"a": (1,)},
}
NO_TENSORS = {
    "a git-LFS pointer": LFS,
    "a web page": b"\n<!DOCTYPE html><html><body>Access denied</body></html>",
    "a web page.": b"\xef\xbb\xbf<html lang='en'>",
    "a text in JSON": b'{"error": "Repository not found"}',
    "pickled weights": b"PK\x03\x04" + bytes(60),
    "pickled weights.": b"\x80\x02}q\x00.",
    "a GGUF file": b"GGUF" + struct.pack("<I", 3) + bytes(60),
    "empty": b"",
}


def made(path: Path, shapes: Shapes) -> Path:
    save_file({key: np.zeros(shape, np.float16) for key, shape in shapes.items()}, path)
    return path


@pytest.mark.parametrize("name", WHOLE)
def test_whole_checkpoints_name_their_model(name, tmp_path):
    shapes, family = WHOLE[name]
    file = made(tmp_path / "any.safetensors", shapes | VAE)
    found = held(name, file)
    assert found.what == f"a whole checkpoint of {family}"
    assert name in found.names
    assert check_holding(name, file) == found
    for other in {"sd15", "sdxl", "flux1"} - set(found.names):
        with pytest.raises(ModelError, match=f"{other}: .* is of another model: it is a whole"):
            load_autoencoder(other, device=CPU, weights=file)


def test_a_checkpoint_without_a_denoiser_is_told_by_its_text_encoders(tmp_path):
    for name, text in (("sd15", SD1_TEXT), ("sd2", SD2_TEXT), ("sdxl", XL_TEXT)):
        assert name in held(name, made(tmp_path / "a.safetensors", text | VAE)).names


def test_sd15_and_sdxl_are_not_mixed_up(tmp_path):
    sdxl = made(tmp_path / "sdxl_full.safetensors", WHOLE["sdxl"][0] | VAE)
    with pytest.raises(ModelError) as caught:
        load_autoencoder("sd15", device=CPU, weights=sdxl)
    assert caught.value.line == (
        f"model sd15: {sdxl} is of another model: it is a whole checkpoint of SDXL; name it with "
        "--model sdxl"
    )


@pytest.mark.parametrize("what", NO_MODELS)
def test_tensors_that_are_no_model_are_named(what, tmp_path):
    file = made(tmp_path / "any.safetensors", NO_MODELS[what])
    with pytest.raises(ModelError, match=f"model sd15: .*any.safetensors is {what}"):
        load_autoencoder("sd15", device=CPU, weights=file)
    assert what.rstrip(",?") in str(shown_file("any", file))


@pytest.mark.parametrize("what", NO_TENSORS)
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_bytes_that_are_no_tensors_are_named(what, suffix, tmp_path):
    file = tmp_path / f"any{suffix}"
    file.write_bytes(NO_TENSORS[what])
    with pytest.raises(ModelError, match=f"any{suffix} is {what}") as caught:
        load_autoencoder("sd15", device=CPU, weights=file)
    assert len(caught.value.line.splitlines()) == 1
    assert caught.value.hint
    with pytest.raises(ModelError, match=f"any{suffix} is {what}"):
        model_folder(str(file))


def test_a_long_header_is_no_text_in_json(tmp_path):
    # A header of 123 bytes begins with the byte of a brace.
    file = tmp_path / "any.safetensors"
    header = b'{"encoder.conv_in.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    file.write_bytes(struct.pack("<Q", 123) + header.ljust(123) + bytes(4))
    assert held("x", file).what == "an autoencoder"
    check_bytes("x", file)


def test_what_is_cut_short_says_so(tmp_path):
    file = made(tmp_path / "any.safetensors", WHOLE["sd15"][0] | VAE)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ModelError, match=r"any\.safetensors cannot be loaded"):
        held("sd15", file)


def test_a_folders_weights_are_looked_at_too(sd):
    for part in ("unet", "text_encoder", "vae"):
        (file,) = (sd / part).glob("*.safetensors")
        kept = file.read_bytes()
        file.write_bytes(LFS)
        for load in (
            lambda: load_editor(str(sd), device=CPU),
            lambda: Adversary(str(sd), device="cpu").load(["img2img"]),
        ):
            with pytest.raises(ModelError, match=f"{part}/.* is a git-LFS pointer"):
                load()
        file.write_bytes(kept)
