"""Pipeline folders of diffusers' own classes, tiny and untrained, with a denoiser for each edit."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

parts: Any = diffusers  # its classes look empty to a type checker

_LETTERS = sorted(ByteLevel.alphabet())
_TOKENS = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
_ABSENT = {name: [None, None] for name in ("safety_checker", "feature_extractor", "image_encoder")}


def save_sd(folder: Path) -> None:
    """A pipeline of Stable Diffusion's form."""
    torch.manual_seed(0)
    _save_autoencoder(folder / "vae")
    _save_unets(folder, cross_attention_dim=16)
    _save_rest(folder)


def save_sd_with_tiny_autoencoder(folder: Path, channels: int) -> None:
    """The same with an ``AutoencoderTiny``, whose latents have so many channels."""
    torch.manual_seed(0)
    parts.AutoencoderTiny(latent_channels=channels).save_pretrained(folder / "vae")
    _save_unets(folder, channels, cross_attention_dim=16)
    _save_rest(folder)


def _save_rest(folder: Path) -> None:
    _save_tokenizer(folder / "tokenizer")
    _save_text_encoder(folder / "text_encoder", "CLIPTextModel", width=16, layers=1)
    _save_scheduler(folder / "scheduler")
    _save_index(folder, "StableDiffusionPipeline", ["text_encoder"], _ABSENT)


def save_sdxl(folder: Path, *, refiner: bool = False, **options: Any) -> None:
    """A pipeline of SDXL's form.

    Args:
        folder: Where to.
        refiner: Whether the first text encoder is left out.
        options: What ``model_index.json`` says besides.
    """
    torch.manual_seed(1)
    sizes = 5 if options.get("requires_aesthetics_score") else 6
    encoders = {
        "text_encoder": ("CLIPTextModel", 16),
        "text_encoder_2": ("CLIPTextModelWithProjection", 24),
    }
    if refiner:
        del encoders["text_encoder"]
        options |= {"text_encoder": [None, None], "tokenizer": [None, None]}
    _save_autoencoder(folder / "vae")
    _save_unets(
        folder,
        cross_attention_dim=sum(width for _, width in encoders.values()),
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=sizes * 4 + 16,
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
    )
    for part, (kind, width) in encoders.items():
        _save_tokenizer(folder / part.replace("text_encoder", "tokenizer"))
        _save_text_encoder(folder / part, kind, width=width, layers=3)
    _save_scheduler(folder / "scheduler")
    _save_index(folder, "StableDiffusionXLPipeline", list(encoders), options)


def _save_autoencoder(folder: Path) -> None:
    parts.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=2,
        layers_per_block=1,
        scaling_factor=0.5,
        sample_size=64,
    ).save_pretrained(folder)


def _save_unets(folder: Path, latent: int = 4, **options: Any) -> None:
    fed = {"unet": latent, "unet_inpaint": 2 * latent + 1, "unet_instruct": 2 * latent}
    for name, channels in fed.items():
        parts.UNet2DConditionModel(
            sample_size=8,
            in_channels=channels,
            out_channels=latent,
            layers_per_block=1,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=2,
            norm_num_groups=4,
            **options,
        ).save_pretrained(folder / name)


def _save_tokenizer(folder: Path) -> None:
    folder.mkdir()
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({token: i for i, token in enumerate(_TOKENS)}))
    merges.write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(vocabulary), str(merges), model_max_length=16)
    tokenizer.save_pretrained(folder)


def _save_text_encoder(folder: Path, kind: str, *, width: int, layers: int) -> None:
    config = transformers.CLIPTextConfig(
        vocab_size=len(_TOKENS),
        hidden_size=width,
        intermediate_size=32,
        projection_dim=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=len(_TOKENS) - 2,
        eos_token_id=len(_TOKENS) - 1,
        pad_token_id=len(_TOKENS) - 1,
    )
    getattr(transformers, kind)(config).save_pretrained(folder)


def _save_scheduler(folder: Path) -> None:
    parts.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder)


def _save_index(folder: Path, kind: str, encoders: list[str], more: dict[str, Any]) -> None:
    index = {
        "_class_name": kind,
        "_diffusers_version": diffusers.__version__,
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        **more,
    }
    for part in encoders:
        index[part] = ["transformers", "CLIPTextModel" + "WithProjection" * part.endswith("_2")]
        index[part.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
    (folder / "model_index.json").write_text(json.dumps(index))
