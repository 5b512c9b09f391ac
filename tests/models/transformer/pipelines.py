"""Diffusers' own pipelines of untrained folders."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.flux2.image_processor import Flux2ImageProcessor
from diffusers.pipelines.qwenimage import (
    pipeline_qwenimage_edit,
    pipeline_qwenimage_edit_plus,
)
from PIL import Image
from torch import Generator, Tensor
from transformers import AutoTokenizer

from photovax.models.edit import Edit
from tests.models.transformer.untrained import PIPELINES, PROCESSORS, SIZE, parts


def take_small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pipelines that would refuse or enlarge pictures of ``SIZE`` take them as they are."""
    height, width = SIZE
    for module, size in (
        (pipeline_qwenimage_edit, (width, height, None)),
        (pipeline_qwenimage_edit_plus, (width, height)),
    ):
        monkeypatch.setattr(module, "calculate_dimensions", lambda *_, size=size: size)
    monkeypatch.setattr(Flux2ImageProcessor, "check_image_input", staticmethod(lambda image: image))


def picture_of(image: Tensor) -> Image.Image:
    """The picture of a batch of one, as Pillow has it."""
    return Image.fromarray((image[0] * 255).round().byte().movedim(0, -1).numpy())


def pipeline_of(kind: str, folder: Path) -> Any:
    """The pipeline that edits, with all parts of the folder."""
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
    return pipeline


def asked(kind: str, pipeline: Any, prompt: str, image: Tensor, repaint: Tensor) -> dict[str, Any]:
    """Options of a pipeline's call for pictures of ``SIZE``."""
    options: dict[str, Any] = {"prompt": prompt, "image": image}
    if kind == "qwen-edit":
        # Ours does not let the text encoder see the picture.
        options = {"prompt_embeds": blind(pipeline, prompt)}
    if kind in ("flux2", "klein", "qwen-edit"):
        options["image"] = picture_of(image)
    if kind == "kontext":
        options |= {"_auto_resize": False, "max_area": SIZE[0] * SIZE[1]}
    if kind == "fill":
        options["mask_image"] = repaint.float()
    return {**options, "height": SIZE[0], "width": SIZE[1]}


def blind(pipeline: Any, prompt: str) -> Tensor:
    """The embeddings of a prompt by a text encoder that does not see the picture."""
    found: Tensor = parts.QwenImageEditPlusPipeline(**pipeline.components).encode_prompt(prompt)[0]
    return found


def edited(kind: str, folder: Path, edit: Edit, image: Tensor, repaint: Tensor) -> Tensor:
    """What the pipeline makes of a picture on a seed."""
    pipeline = pipeline_of(kind, folder)
    options = asked(kind, pipeline, edit.prompt, image, repaint)
    qwen = kind.startswith("qwen")
    options["true_cfg_scale" if qwen else "guidance_scale"] = edit.guidance
    if edit.mode != "instruct":
        options["strength"] = edit.strength
    if kind == "sd3":
        options["negative_prompt"] = edit.negative_prompt
    elif kind == "qwen":
        options["negative_prompt"] = edit.negative_prompt or " "
    elif kind == "qwen-edit":
        options["negative_prompt_embeds"] = blind(pipeline, edit.negative_prompt or " ")
    made = pipeline(
        **options,
        num_inference_steps=edit.steps,
        generator=Generator().manual_seed(5),
        output_type="pt",
    ).images
    assert isinstance(made, torch.Tensor)
    return made
