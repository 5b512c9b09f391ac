"""Damaged files of a model are one line that says which, whatever libraries raise on them."""

import json
import shutil

import pytest
import torch

from photovax.adversary.edits import Adversary
from photovax.errors import ModelError
from photovax.models.catalog.objects import json_object
from photovax.models.catalog.places import fed_size, holds_sdxl
from photovax.models.damaged import loading
from photovax.models.load import load_autoencoder, load_editor
from photovax.models.unet.editor import LatentEditor

CPU = torch.device("cpu")


@pytest.fixture
def folder(editor_folder, tmp_path):
    """A pipeline folder of its own, to be damaged; only with what an img2img edit needs."""
    copy = shutil.copytree(editor_folder, tmp_path / "pipeline")
    for other in ("unet_inpaint", "unet_instruct"):
        shutil.rmtree(copy / other)
    return copy


def refused(load):
    """What a model that is not loaded is refused with."""
    with pytest.raises(ModelError) as caught:
        load()
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '"x"', '{"_class', "[" * 100_000])
def test_what_is_no_json_object_raises_one_kind_of_error(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"\w"):
        json_object(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(ValueError, match=r"\w"):
        json_object(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert json_object(tmp_path / "x.json") == {"a": 1}


@pytest.mark.parametrize("raised", [TypeError("a\nb"), StopIteration(), AssertionError()])
def test_what_loaders_raise_becomes_one_line(raised, tmp_path):
    def load():
        with loading("some", tmp_path):
            raise raised

    assert refused(load).startswith(f"model some: {tmp_path} cannot be loaded: ")


@pytest.mark.parametrize("text", ["[]", "null", "{}", ""])
@pytest.mark.parametrize(
    "file",
    [
        "vae/config.json",
        "unet/config.json",
        "text_encoder/config.json",
        "tokenizer/tokenizer_config.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_configuration_that_is_none_is_named(text, file, folder):
    (folder / file).write_text(text)
    part = file.split("/")[0]
    if (part, text) == ("tokenizer", "{}"):  # prompts are then cut to what the encoder takes
        editor = load_editor(str(folder), device=CPU)
        assert isinstance(editor, LatentEditor)
        assert editor.prompts.asked("a dog", (64, 64))
    else:
        assert f"/{part}" in refused(lambda: load_editor(str(folder), device=CPU))


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        ("vae/config.json", {"block_out_channels": []}),
        ("vae/config.json", {"_class_name": ["AutoencoderKL"]}),
        ("unet/config.json", {"in_channels": [4]}),
        ("unet/config.json", {"block_out_channels": "x"}),
        ("text_encoder/config.json", {"hidden_size": None}),
        ("scheduler/scheduler_config.json", {"_class_name": "AutoencoderKL"}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}),
    ],
)
def test_a_value_of_another_type_is_one_line(file, wrong, folder):
    given = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(given | wrong))
    assert file.split("/")[0] in refused(lambda: load_editor(str(folder), device=CPU))


@pytest.mark.parametrize("file", ["model_index.json", "text_encoder/config.json"])
def test_the_adversary_says_so_in_a_line_too(file, folder):
    (folder / file).write_text("[]")
    refused(lambda: Adversary(str(folder), device="cpu").load(["img2img"]))


@pytest.mark.parametrize("damage", ["empty", "half", "header", "junk"])
@pytest.mark.parametrize("part", ["vae", "unet", "text_encoder"])
def test_damaged_weights_are_one_line(damage, part, folder):
    (file,) = (folder / part).glob("*.safetensors")
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    cut = {"empty": b"", "half": whole[: len(whole) // 2], "header": whole[:header]}
    file.write_bytes(cut.get(damage, b"junk" * 99))
    assert part in refused(lambda: load_editor(str(folder), device=CPU))
    if part == "vae":
        refused(lambda: load_autoencoder(str(folder), device=CPU))


def test_what_only_tells_a_size_is_passed_over(folder):
    for text in ("[]", "null", '{"sample_size": Infinity}', '{"sample_size": []}'):
        (folder / "unet" / "config.json").write_text(text)
        assert fed_size(str(folder)) == 512
        assert not holds_sdxl(folder)
