"""The parts of the embedded editor: its schedules, denoisers, text encoder and index."""

from __future__ import annotations

import argparse
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from training.text import text_encoder

MODES = ("instruct", "inpaint", "img2img")
FILM = 192
"""Channels of the embedding of time and prompt that scales and shifts."""


def fed_channels(mode: str, latent: int) -> int:
    """Input channels of a denoiser: the noisy latent, and what it is shown of the photo."""
    return {"instruct": 2 * latent, "inpaint": 2 * latent + 1, "img2img": latent}[mode]


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, with v-prediction and starting at the last timestep."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )


def img2img_steps() -> EulerDiscreteScheduler:
    """Steps of DDIM that are evenly spaced in the logarithm of the noise, for small latents.

    With Stable Diffusion's own spacing, half the steps start from noise of 1.6 times the latent's
    standard deviation. On latents of 64 x 64 this preserves a photo; on 32 x 32, where every value
    matters, it preserves little more than colours.
    """
    ends = scheduler().alphas_cumprod[[0, -1]]
    least, most = ((1 - ends) / ends).sqrt().tolist()
    return EulerDiscreteScheduler.from_config(
        scheduler().config, use_exponential_sigmas=True, sigma_min=least, sigma_max=most
    )


def denoiser(
    mode: str, latent: int, widths: tuple[int, ...], groups: int, text: int, *, film: bool = False
) -> Any:
    """An untrained UNet of Stable Diffusion's architecture.

    Args:
        mode: Way of editing.
        latent: Channels of a latent.
        widths: Channels of each level; there is no attention at the first.
        groups: Groups of the normalisations.
        text: Channels of the text encoder.
        film: Whether the prompt also scales and shifts the channels of every block (FiLM, arXiv
            1709.07871). Attention alone tells the first level, which has the details, nothing of
            the prompt, but most edits are another map of colours for each prompt.
    """
    attended = len(widths) - 1
    prompted: dict[str, Any] = {}
    if film:
        prompted = {
            "resnet_time_scale_shift": "scale_shift",
            "addition_embed_type": "text",
            "addition_embed_type_num_heads": 8,
            "time_embedding_dim": FILM,
        }
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=fed_channels(mode, latent),
        out_channels=latent,
        layers_per_block=1,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attended),
        up_block_types=(*["CrossAttnUpBlock2D"] * attended, "UpBlock2D"),
        cross_attention_dim=text,
        attention_head_dim=4,
        norm_num_groups=groups,
        **prompted,
    )


class Editor(nn.Module):
    """The trained parts: the text encoder, and a denoiser for each way of editing."""

    def __init__(self, vocabulary: Any, options: argparse.Namespace, latent: int) -> None:
        super().__init__()
        unets: dict[str, Any]
        if options.start is None:
            self.text = text_encoder(vocabulary, options.text_width, options.text_layers)
        else:
            self.text = CLIPTextModel.from_pretrained(
                options.start / "text_encoder", dtype=torch.float32
            )
        if options.start is None or options.anew:
            widths = tuple(int(width) for width in options.widths.split("-"))
            unets = {
                mode: denoiser(
                    *(mode, latent, widths, options.groups, self.text.config.hidden_size),
                    film=options.film,
                )
                for mode in options.modes
            }
        else:
            unets = {
                mode: UNet2DConditionModel.from_pretrained(
                    options.start / unet_folder(mode), torch_dtype=torch.float32
                )
                for mode in MODES
            }
        self.unets = nn.ModuleDict(unets)
        self.latent_channels = {int(unet.config.out_channels) for unet in unets.values()}.pop()


def unet_folder(mode: str) -> str:
    """Folder of a denoiser. Pipelines load ``unet``; they are given the other two."""
    return "unet" if mode == "img2img" else f"unet_{mode}"


def model_index(*, tiny: bool) -> dict[str, Any]:
    """The ``model_index.json`` of diffusers: the class that loads each folder.

    Args:
        tiny: Whether the autoencoder is one of the TAESD family.
    """
    parts: list[tuple[str, Any]] = [
        ("scheduler", DDIMScheduler),
        ("text_encoder", CLIPTextModel),
        ("tokenizer", CLIPTokenizer),
        ("unet", UNet2DConditionModel),
        ("vae", AutoencoderTiny if tiny else AutoencoderKL),
    ]
    unused = ("feature_extractor", "image_encoder", "safety_checker")
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "requires_safety_checker": False,
        **{name: [None, None] for name in unused},
        **{name: [kind.__module__.split(".")[0], kind.__name__] for name, kind in parts},
    }
