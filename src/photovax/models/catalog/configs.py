"""Configurations of known autoencoders, for weights that come without one.

They are those of the models' repositories, without fields that do not affect the shape. Imports
nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["DC", "FLUX1", "FLUX2", "MOVQ", "QWEN", "SD", "SD3", "SDXL", "TAESD", "TAESD16", "WAN"]

_KL: Mapping[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
_NO_QUANT = {"use_quant_conv": False, "use_post_quant_conv": False}


def _frozen(*parts: Mapping[str, Any], **more: Any) -> Mapping[str, Any]:
    joined: dict[str, Any] = {}
    for part in (*parts, more):
        joined.update(part)
    return MappingProxyType(joined)


SD = _frozen(_KL, scaling_factor=0.18215, sample_size=512)
SDXL = _frozen(_KL, scaling_factor=0.13025, sample_size=1024)
SD3 = _frozen(
    _KL,
    _NO_QUANT,
    latent_channels=16,
    scaling_factor=1.5305,
    shift_factor=0.0609,
    sample_size=1024,
)
FLUX1 = _frozen(
    _KL,
    _NO_QUANT,
    latent_channels=16,
    scaling_factor=0.3611,
    shift_factor=0.1159,
    sample_size=1024,
)
FLUX2 = _frozen(
    {key: value for key, value in _KL.items() if key != "latent_channels"},
    _class_name="AutoencoderKLFlux2",
    latent_channels=32,
    patch_size=[2, 2],
    batch_norm_eps=1e-4,
    sample_size=1024,
)
_DC_TYPES = ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3
_DC_WIDTHS = [128, 256, 512, 512, 1024, 1024]
_DC_SCALES: list[list[int]] = [[], [], [], [5], [5], [5]]
DC = _frozen(
    _class_name="AutoencoderDC",
    latent_channels=32,
    attention_head_dim=32,
    encoder_block_types=_DC_TYPES,
    decoder_block_types=_DC_TYPES,
    encoder_block_out_channels=_DC_WIDTHS,
    decoder_block_out_channels=_DC_WIDTHS,
    encoder_layers_per_block=[2, 2, 2, 3, 3, 3],
    decoder_layers_per_block=[3] * 6,
    encoder_qkv_multiscales=_DC_SCALES,
    decoder_qkv_multiscales=_DC_SCALES,
    decoder_norm_types="rms_norm",
    decoder_act_fns="silu",
    downsample_block_type="Conv",
    upsample_block_type="interpolate",
    scaling_factor=0.41407,
)
# These two are the defaults of diffusers' classes.
WAN = _frozen(_class_name="AutoencoderKLWan")
QWEN = _frozen(_class_name="AutoencoderKLQwenImage")
MOVQ = _frozen(
    _class_name="VQModel",
    block_out_channels=[128, 256, 256, 512],
    down_block_types=["DownEncoderBlock2D"] * 3 + ["AttnDownEncoderBlock2D"],
    up_block_types=["AttnUpDecoderBlock2D"] + ["UpDecoderBlock2D"] * 3,
    layers_per_block=2,
    latent_channels=4,
    num_vq_embeddings=16384,
    vq_embed_dim=4,
    norm_type="spatial",
)
TAESD = _frozen(_class_name="AutoencoderTiny", latent_channels=4)
TAESD16 = _frozen(_class_name="AutoencoderTiny", latent_channels=16)
