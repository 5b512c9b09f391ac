"""Files that are no model, or of another one, wherever the command line takes weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from photovax.cli import main

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 334643276\n"
FILES: dict[str, tuple[bytes | dict[str, tuple[int, ...]], str]] = {
    "pointer.safetensors": (LFS, "is a git-LFS pointer"),
    "page.safetensors": (b"<!doctype html><title>Sign in</title>", "is a web page (HTML)"),
    "model.ckpt": (b"PK\x03\x04" + bytes(99), "is pickled weights (.ckpt, .pt, .bin)"),
    "model.gguf": (b"GGUF" + bytes(99), "is a GGUF file"),
    "lora.safetensors": ({"lora_unet_mid.lora_up.weight": (4, 4)}, "is a LoRA"),
    "word.safetensors": ({"emb_params": (2, 768)}, "is a textual-inversion embedding"),
}
PHOTO = "photo.jpg"
# {} stands for the file.
PLACES = [
    f"immunize {PHOTO} --model {{}}",
    f"immunize {PHOTO} --model sd15 --weights {{}}",
    f"immunize {PHOTO} --model sd15 --recipe advdm --weights {{}}",
    f"immunize {PHOTO} --weights {{}}",
    f"check {PHOTO} --original {PHOTO} --model {{}}",
    f"check {PHOTO} --original {PHOTO} --model sdxl --weights {{}}",
    f"check {PHOTO} --original {PHOTO} --weights {{}}",
    f"edit {PHOTO} --prompt x --mode img2img -o o.png --model {{}}",
    f"edit {PHOTO} --prompt x --mode img2img -o o.png --model sd15 --weights {{}}",
    f"evaluate {PHOTO} -o out --recipes fast --model {{}}",
    f"evaluate {PHOTO} -o out --recipes fast --editor {{}}",
    f"evaluate {PHOTO} -o out --recipes fast --edits e.toml --editor sd15 --weights {{}}",
    f"evaluate {PHOTO} -o out --recipes fast --model sd15 --weights {{}}",
    "models show {}",
    "models pull {}",
    "register add {} --version 1",
    "register add sd15 --version 1 --weights {}",
    f"certificate issue {PHOTO} --original {PHOTO} --weights {{}}",
]


@pytest.fixture
def said(photo_file, tmp_path, monkeypatch, capsys):
    """The one line that the command line ends with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "e.toml").write_text('[[edit]]\nmode = "img2img"\nprompts = ["x"]')

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["photovax", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        _, err = capsys.readouterr()
        assert ended.value.code == 6, err
        (line,) = err.splitlines()
        return str(line)

    return run


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_is_no_model_says_what_it_is(place, said, cache, tmp_path):
    for name, (contents, says) in FILES.items():
        if isinstance(contents, bytes):
            (tmp_path / name).write_bytes(contents)
        else:
            tensors = {key: np.zeros(shape, np.float16) for key, shape in contents.items()}
            save_file(tensors, tmp_path / name)
        line = said(*(each.format(name) for each in place.split()))
        assert says in line, line
        assert name in line
    left = {path.name for path in tmp_path.iterdir()} - {*FILES, "photovax-data"}
    assert left <= {PHOTO, "e.toml", "hub", "out"}


def test_a_checkpoint_of_another_model_is_refused_everywhere(said, cache, tmp_path):
    attends = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"
    shapes = {
        attends: (4, 2048),
        "conditioner.embedders.1.model.ln_final.bias": (4,),
        "first_stage_model.encoder.conv_in.weight": (4, 3, 3, 3),
    }
    save_file({k: np.zeros(v, np.float16) for k, v in shapes.items()}, tmp_path / "xl.safetensors")
    for place in PLACES:
        if "sd15" in place:
            line = said(*(each.format("xl.safetensors") for each in place.split()))
            assert "a whole checkpoint of SDXL" in line
            assert "--model" in line
            assert "sdxl" in line.partition("--model")[2]
            # Of the editor's weights nothing is said before those of the attacked model.
            assert "of another model" in line or "--editor sd15" in place


def test_weights_of_a_model_that_is_not_named_are_not_passed_over(said, cache, tmp_path):
    save_file({"first_stage_model.encoder.x": np.zeros(1)}, tmp_path / "a.safetensors")
    for command in (["immunize", PHOTO], ["check", PHOTO, "--original", PHOTO]):
        line = said(*command, "--weights", "a.safetensors")
        assert "model embedded ships with photovax: a.safetensors, which is a whole check" in line


def test_pipelines_of_another_model_are_refused_everywhere(said, cache, editor_folder, tmp_path):
    folder = shutil.copytree(editor_folder, tmp_path / "pipeline")
    for part, changed in (
        ("vae", {"scaling_factor": 0.18215}),
        ("unet", {"cross_attention_dim": 1024}),
    ):
        file = folder / part / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))
    for place in PLACES:
        if "sd15" in place:
            line = said(*(each.format("pipeline") for each in place.split()))
            assert "of another model: it holds Stable Diffusion 2 with 4 input channels" in line
            assert "--model sd2" in line
