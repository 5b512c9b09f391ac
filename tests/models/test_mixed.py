"""Pipeline folders whose parts have plain, half-precision and sharded weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers

from photovax.adversary.edits import Adversary
from photovax.errors import ModelError
from photovax.immunizer import Immunizer
from photovax.models.edit import Edit
from photovax.models.load import load_editor
from photovax.models.unet.editor import LatentEditor
from photovax.pictures.photo import read_photo

CPU = torch.device("cpu")
HALF, CUT = {"variant": "fp16"}, {"max_shard_size": "8KB"}
# How each part is stored: in half precision, cut into shards, or both; others stay plain.
MIXES: list[dict[str, dict[str, Any]]] = [
    {"unet": HALF},
    {"vae": HALF},
    {"text_encoder": HALF},
    {"unet": CUT, "vae": HALF},
    {"unet": HALF | CUT, "text_encoder": CUT},
    {"vae": HALF | CUT, "text_encoder": HALF | CUT, "unet": CUT},
]


def mixed(folder: Path, mix: dict[str, dict[str, Any]]) -> None:
    """Store parts of a folder again, in other forms."""
    for part, form in mix.items():
        place = folder / part
        if part.startswith("text_encoder"):
            kind = "CLIPTextModel" + "WithProjection" * part.endswith("_2")
            model: Any = getattr(transformers, kind).from_pretrained(place)
        else:
            kind = {"vae": "AutoencoderKL", "unet": "UNet2DConditionModel"}[part]
            model = getattr(diffusers, kind).from_pretrained(place, low_cpu_mem_usage=False)
        shutil.rmtree(place)
        model.save_pretrained(place, **form)
        names = [file.name for file in place.glob("*.safetensors")]
        assert (len(names) > 1) == ("max_shard_size" in form), names
        assert all(("fp16" in name) == ("variant" in form) for name in names)


@pytest.fixture(params=["sd", "sdxl"])
def plain(request, editor_folder, sdxl_folder, tmp_path):
    folder = shutil.copytree(
        editor_folder if request.param == "sd" else sdxl_folder, tmp_path / "mixed"
    )
    for other in ("unet_inpaint", "unet_instruct"):
        shutil.rmtree(folder / other)
    return folder


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_parts_load_alike_for_the_attack_and_the_adversary(mix, plain, pixels):
    edit = Edit("img2img", "x", steps=2, strength=0.5)
    before = Adversary(str(plain), device="cpu").edit(pixels, edit, seed=1)
    mixed(plain, mix)
    assert np.array_equal(Adversary(str(plain), device="cpu").edit(pixels, edit, seed=1), before)
    editor = load_editor(str(plain), device=CPU)
    assert isinstance(editor, LatentEditor)
    assert set(editor.unets) == {"img2img"}


def test_a_mixed_folder_is_immunized_against(plain, photo_file, quick, tmp_path):
    mixed(plain, {"vae": HALF | CUT, "unet": HALF})
    result = Immunizer([str(plain)], device="cpu").immunize(read_photo(photo_file), quick)
    assert (result.photo.pixels != result.original.pixels).any()


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_missing_shard_is_one_line(part, plain):
    mixed(plain, {part: CUT})
    next((plain / part).glob("*-00002-of-*.safetensors")).unlink()
    for load in (
        lambda: load_editor(str(plain), device=CPU),
        lambda: Adversary(str(plain), device="cpu").load(["img2img"]),
    ):
        with pytest.raises(ModelError, match=part) as caught:
            load()
        assert "\n" not in caught.value.line
