"""CLIP scores, compared with those of transformers."""

import re

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from photovax.errors import MetricUnavailable
from photovax.metrics.clip import Clip


@pytest.fixture(scope="session")
def clip_folder(editor_folder, tmp_path_factory):
    """An untrained CLIP."""
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = CLIPTokenizer.from_pretrained(editor_folder / "tokenizer")
    tokenizer.save_pretrained(folder)
    size = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = size | {"vocab_size": len(tokenizer), "max_position_embeddings": 16}
    text |= {"bos_token_id": len(tokenizer) - 2, "eos_token_id": len(tokenizer) - 1}
    vision = size | {"image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(
        folder
    )
    return folder


def test_clip_similarity_is_that_of_transformers(clip_folder, pixels):
    model = CLIPModel.from_pretrained(clip_folder).eval().requires_grad_(False)
    tokens = CLIPTokenizer.from_pretrained(clip_folder)("a cat", return_tensors="pt")
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    fed = processor(Image.fromarray(pixels), return_tensors="pt")
    found = model(**tokens, **fed)
    expected = float(found.logits_per_image / model.logit_scale.exp())
    assert Clip(clip_folder).similarity(pixels, "a cat") == pytest.approx(expected, abs=1e-5)


def test_clip_compares_directions(clip_folder, pixels):
    clip = Clip(clip_folder)
    made = 255 - pixels
    found = clip.directional(pixels, made, "a cat", "a dog")
    assert found is not None
    assert -1 <= found <= 1
    assert clip.directional(made, pixels, "a cat", "a dog") == pytest.approx(-found, abs=1e-6)
    assert clip.directional(made, pixels, "a dog", "a cat") == pytest.approx(found, abs=1e-6)
    assert clip.directional(pixels, pixels, "a cat", "a dog") is None
    assert clip.directional(pixels, made, "a cat", "a cat") is None


def test_clip_reads_no_further_than_it_was_trained(clip_folder, pixels):
    assert -1 <= Clip(clip_folder).similarity(pixels, "a cat " * 50) <= 1


def test_a_folder_without_clip_is_unavailable(tmp_path, editor_folder):
    for folder in (tmp_path, tmp_path / "absent", editor_folder / "text_encoder"):
        message = rf"{re.escape(str(folder))} cannot be loaded.*CLIPModel"
        with pytest.raises(MetricUnavailable, match=message):
            Clip(folder)
