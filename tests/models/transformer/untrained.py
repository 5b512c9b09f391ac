"""Pipeline folders whose denoiser is a transformer, tiny and untrained."""

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
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
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from photovax.models.edit import Mode
from photovax.models.load import load_editor
from photovax.models.transformer.editor import FlowEditor
from photovax.models.transformer.load import IN_USE

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


def save_flows(root: Path, editor_folder: Path) -> dict[str, Path]:
    """An untrained pipeline folder of each kind in ``root``, with the text encoders of its kind.

    The tokenizer and the size of the CLIP encoders are those of ``editor_folder``.
    """
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
        "scheduler": parts.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "tokenizer": tokenizer,
    }
    t5 = T5EncoderModel(
        T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    t5_tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    made = {
        "sd3": parts.StableDiffusion3Pipeline(
            **common | {"scheduler": parts.FlowMatchEulerDiscreteScheduler(shift=3.0)},
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
    for kind, pipeline in made.items():
        pipeline.save_pretrained(root / kind)
    Qwen2VLImageProcessorPil().save_pretrained(root / "qwen-edit" / "processor")
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
    stretched = {"max_image_seq_len": 8192, "max_shift": 0.9, "shift_terminal": 0.02}
    scheduler = type(scheduler).from_config(scheduler.config, **stretched)
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


def flow(folder: Path) -> FlowEditor:
    """The denoiser of a folder, whose weights no other test has changed."""
    IN_USE.clear()
    denoiser = load_editor(str(folder), device=CPU)
    assert isinstance(denoiser, FlowEditor)
    return denoiser
