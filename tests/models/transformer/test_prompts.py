"""Prompts of transformers, by their pipelines' own text encoders."""

import json
import shutil

import pytest
import torch
import transformers

from photovax.errors import ModelError
from photovax.models.transformer.prompts import PromptEncoder
from tests.models.transformer.untrained import (
    CPU,
    flow,
)


def test_prompts_are_encoded_once_and_their_encoders_let_go(kind, folders, tmp_path, image):
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    denoiser = flow(folder)
    shutil.rmtree(folder / "text_encoder")
    empty = denoiser._prompts("")
    assert denoiser._prompts("") is empty
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        denoiser._prompts("a dog")
    assert len(str(caught.value).splitlines()) == 1


def test_embeddings_do_not_depend_on_the_precision_of_the_pass_that_asks_first(folders):
    plain = flow(folders["flux"])._prompts("a dog").tokens
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quick = flow(folders["flux"])._prompts("a dog").tokens
    assert torch.equal(quick, plain)


@pytest.mark.parametrize("kind", ["sd3", "flux", "qwen"])
def test_encoders_and_transformer_may_be_stored_in_different_forms(kind, folders, tmp_path):
    folder = shutil.copytree(folders[kind], tmp_path / kind)
    before = flow(folder)._prompts("")
    index = json.loads((folder / "model_index.json").read_text())
    forms = [{"variant": "fp16"}, {"max_shard_size": "8KB"}, {}]
    encoders = [part for part in index if part.startswith("text_encoder") and index[part][0]]
    for part, form in zip(encoders, forms, strict=False):
        place = folder / part
        model = getattr(transformers, index[part][1]).from_pretrained(place)
        for file in place.glob("*.safetensors"):
            file.unlink()
        model.save_pretrained(place, **form)
    (file,) = (folder / "transformer").glob("*.safetensors")
    file.rename(file.with_name("diffusion_pytorch_model.fp16.safetensors"))
    torch.testing.assert_close(flow(folder)._prompts("").tokens, before.tokens)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("model_index.json", "[]"),
        ("model_index.json", "null"),
        ("model_index.json", "{"),
        ("model_index.json", '{"_class_name": "FluxPipeline", "text_encoder": ["transformers"]}'),
        ("transformer/config.json", "[]"),
        ("transformer/config.json", ""),
        ("text_encoder/config.json", "null"),
        ("tokenizer/tokenizer_config.json", "3"),
        ("tokenizer/tokenizer_config.json", "{}"),  # its length is then without a limit
        ("transformer/diffusion_pytorch_model.safetensors", "junk"),
    ],
)
def test_a_damaged_file_is_one_line(file, text, folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "damaged")
    (folder / file).write_text(text)
    with pytest.raises(ModelError) as caught:
        flow(folder)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    # What pipelines load themselves they do not always name.
    assert str(folder if file.startswith(("text_", "token")) else (folder / file).parent) in said
    if file == "model_index.json":
        assert file in said


def test_an_index_that_is_damaged_later_is_named(folders, tmp_path):
    folder = shutil.copytree(folders["flux"], tmp_path / "damaged")
    index = folder / "model_index.json"
    for text in ("[]", "{", '{"tokenizer": []}'):
        index.write_text(text)
        with pytest.raises(ModelError, match=r"model_index\.json cannot be loaded"):
            PromptEncoder(folder, "FluxPipeline", options={}, pooled=True, name="some", device=CPU)
