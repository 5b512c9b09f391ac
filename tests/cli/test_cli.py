import json
import shutil
import subprocess
import sys
from typing import Any

import pytest
from PIL import Image

from photovax.immunizer import Immunizer

EDIT = ["edit", "photo.jpg", "--prompt", "x", "-o", "o.png"]
RECIPE = """
preset = "fast"
steps = 4
views = [{name = "short_side", options = {pixels = 256}}]
"""


def interrupted(*_args, **_options):
    raise KeyboardInterrupt


def test_immunize_then_check(photo_file, tmp_path, photovax):
    (tmp_path / "quick.toml").write_text(RECIPE)
    (tmp_path / "bad.jpg").write_text("no picture")
    # In a process of its own, as people start it.
    command = [
        *(sys.executable, "-c", "from photovax.cli import main; main()"),
        *("immunize", photo_file, "bad.jpg", "--recipe", "quick.toml", "--budget", "6", "--json"),
        *("--device", "cpu", "--forbid-ai"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 3, done.stderr
    good, bad = json.loads(done.stdout)
    assert good["record"]["realised"]["linf"] == 6
    assert "bad.jpg" in bad["error"]
    assert "1 of 2 photos immunized" in done.stderr
    with Image.open(tmp_path / "photo.immunized.png") as picture:
        assert b"DMI-PROHIBITED-AIMLTRAINING" in picture.info["xmp"]
    assert not (tmp_path / "bad.immunized.png").exists()
    code, out, err = photovax("check", "photo.immunized.png", "--original", "photo.jpg", "--json")
    assert code in (0, 10), err
    assert json.loads(out)["models"]["embedded"]["effect"]["shift"] > 0


def test_edit_writes_a_seeded_picture_of_the_editors_size(
    editor_folder, photo_file, tmp_path, photovax
):
    made = []
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.png", 2)):
        code, _, err = photovax(
            *("edit", "photo.jpg", "--prompt", "make it night", "--model", editor_folder),
            *("--steps", 2, "--seed", seed, "-o", name, "--device", "cpu"),
        )
        assert (code, err) == (0, "")
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (80, 64)
            made.append(picture.tobytes())
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([*EDIT, "--mode", "paint"], 2, "no mode"),
        (["edit", "photo.jpg", "--prompt", "x", "-o", "o.gif"], 4, "not a type that is written"),
        ([*EDIT, "--mode", "inpaint"], 2, "needs a mask"),
        ([*EDIT, "--guidance", "0.5"], 2, "guidance must be 1"),
        (["edit", "photo.jpg", "--prompt", "x", "-o", "photo.jpg", "--overwrite"], 2, "itself"),
        ([*EDIT, "--size", "100"], 2, "multiple of 8"),
        ([*EDIT, "--strength", "1"], 2, "img2img and"),
        ([*EDIT, "--model", "taef2"], 6, "cannot edit"),
        (["check", "photo.jpg", "--original", "photo.jpg", "--size", "0"], 2, "multiple of 8"),
        (
            ["immunize", "photo.jpg", "--recipe", "photoguard-diffusion-l2", "--budget", "8"],
            2,
            "a length of 8",
        ),
        (["immunize", "photo.jpg", "--mode", "inpaint"], 2, "goes through no edit"),
        (["immunize", "photo.jpg", "--size", "100"], 2, "multiple of 8 from 64 up, got 100"),
        (["immunize", "photo.jpg", "--memory", "4"], 2, "such as 4GiB or 800MiB, got 4"),
        (["immunize", "photo.jpg", "--memory", "1 MiB"], 2, "0.00 GiB of memory are too little"),
        (["immunize", "photo.jpg", "--recipe", "fats"], 2, "did you mean 'fast'"),
        (["immunize", "photo.jpg", "--model", "embeded"], 2, "did you mean 'embedded'"),
        (["immunize", "photo.jpg", "-o", f"{'x' * 300}.png"], 4, "File name too long"),
        (["immunize", "photo.jpg", "-o", "out.gif"], 4, "not a type that is written; use .png"),
        (["immunize", "photo.jpg", "-o", "o.png", "--type", "jpg"], 2, "leave out --type"),
        (
            ["immunize", "photo.jpg", "--quality", "80"],
            2,
            "only JPEG, WebP, AVIF and HEIC files have a quality; give --type jpg",
        ),
        (
            ["immunize", "photo.jpg", "-o", "o.jpg", "--quality", "101"],
            2,
            "from 1 to 100, or same, got 101",
        ),
        (["immunize", "photo.jpg", "-o", "o.jpg", "--quality", "best"], 2, "or same, got 'best'"),
        (
            ["immunize", "photo.jpg", "--type", "jpg", "--quality", "80", "--lossless"],
            2,
            "--lossless and --quality 80 exclude each other",
        ),
        (["check", "photo.jpg", "--original", "gone.jpg"], 3, "gone.jpg"),
    ],
)
def test_mistakes_give_one_line_and_a_code(photo_file, arguments, code, message, photovax):
    ended, _, err = photovax(*arguments)
    assert ended == code
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in photo_file.parent.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize(
    ("photos", "lines"),
    [
        (["photo.jpg"], ["photovax: interrupted before there was a result"]),
        (
            ["bad.jpg", "photo.jpg", "more.jpg"],
            [
                "not done: bad.jpg: not a picture that can be read",
                "not done: photo.jpg: interrupted",
                "not done: more.jpg: interrupted",
                "0 of 3 photos immunized",
            ],
        ),
    ],
)
def test_an_interruption_says_what_was_not_done(
    photos, lines, photo_file, tmp_path, monkeypatch, photovax
):
    (tmp_path / "bad.jpg").write_text("no picture")
    shutil.copy(photo_file, tmp_path / "more.jpg")
    monkeypatch.setattr(Immunizer, "immunize", interrupted)
    code, out, err = photovax("immunize", *photos, "--json")
    assert code == 130
    assert len(json.loads(out)) == len(photos) // 2
    assert [line.split(";")[0] for line in err.splitlines()] == lines


def test_photos_that_were_not_done_are_listed_with_what_to_type(photo_file, tmp_path, photovax):
    shutil.copy(photo_file, tmp_path / "more.jpg")
    for name in ("photo", "more"):
        (tmp_path / f"{name}.immunized.png").write_text("mine")
    code, _, err = photovax("immunize", "photo.jpg", "more.jpg")
    assert code == 4
    lines = [line for line in err.splitlines() if line.startswith("not done: ")]
    for line, name in zip(lines, ("photo", "more"), strict=True):
        assert f"{name}.immunized.png" in line
        assert "--overwrite" in line


def test_an_interruption_of_any_command_is_told(photo_file, monkeypatch, photovax):
    monkeypatch.setattr("photovax.checks.check.check", interrupted)
    code, _, err = photovax("check", "photo.jpg", "--original", "photo.jpg")
    assert code == 130
    assert err == "photovax: interrupted: unfinished work is not written\n"


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, contextlib\nfrom photovax.cli import app\n"
        "with contextlib.suppress(SystemExit): app(['--help'])\n"
        "print([m for m in ('torch', 'diffusers', 'PIL', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "immunize" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_models_lists_the_embedded_one(photovax):
    _, out, _ = photovax("models", "--json")
    assert 40 < json.loads(out)["embedded"]["megabytes"] < 50


@pytest.mark.parametrize(
    ("pipeline", "unet"),
    [
        ("StableDiffusionImg2ImgPipeline", None),
        ("StableDiffusionInpaintPipeline", "unet_inpaint"),
        ("StableDiffusionInstructPix2PixPipeline", "unet_instruct"),
    ],
)
def test_ordinary_diffusers_calls_load_the_embedded_editor(pipeline, unet):
    import diffusers

    from photovax.models.catalog.places import model_folder
    from photovax.models.quiet import quiet_loading

    parts: Any = diffusers  # its classes look empty to a type checker
    with quiet_loading():
        options: dict[str, Any] = {"local_files_only": True, "low_cpu_mem_usage": False}
        if unet is not None:
            kind = parts.UNet2DConditionModel
            options["unet"] = kind.from_pretrained(model_folder("embedded"), subfolder=unet)
        loaded = getattr(parts, pipeline).from_pretrained(model_folder("embedded"), **options)
    assert loaded.vae.config.latent_channels == 4
    assert loaded.unet.config.in_channels == {None: 4, "unet_inpaint": 9, "unet_instruct": 8}[unet]
