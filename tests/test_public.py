import importlib
import inspect
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

import photovax
from photovax.adversary.edits import Adversary
from photovax.attack.networks.files import write_network
from photovax.attack.networks.network import PerturbationNetwork
from photovax.attack.presets import PRESETS
from photovax.checks.check import check as check_photo
from photovax.errors import UnreadablePhoto, UsageError
from photovax.models.load import load_autoencoder
from tests.places import ROOT


@pytest.fixture
def picture(photo_file: Path) -> Image.Image:
    return Image.open(photo_file)


@pytest.fixture
def settings(quick) -> dict[str, Any]:
    return {"recipe": quick, "device": "cpu"}


def test_every_name_is_what_it_says():
    assert list(photovax.__all__) == sorted(
        photovax.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    for submodule in ("immunizer", "checks.check", "functions", "adversary.edits"):
        importlib.import_module(f"photovax.{submodule}")
    classes = {"Check", "Immunized", "Immunizer", "Photo", "PhotovaxError", "Recipe", "Saved"}
    for name in photovax.__all__:
        found = getattr(photovax, name)
        if name in classes:
            assert inspect.isclass(found)
            assert found.__name__ == name
        elif name != "PRESETS":
            assert inspect.isfunction(found)
    assert "fast" in photovax.PRESETS
    with pytest.raises(AttributeError, match="has no attribute 'imunize'"):
        photovax.imunize  # noqa: B018


def test_importing_imports_nothing_heavy():
    code = "import sys, photovax; sys.exit(bool({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603


def test_an_image_gives_an_image(picture, settings):
    safe = photovax.immunize(picture, **settings)
    assert isinstance(safe, Image.Image)
    assert (safe.size, safe.mode) == (picture.size, picture.mode)
    change = np.abs(np.asarray(safe).astype(int) - np.asarray(picture))
    assert 0 < change.max() <= 8


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
def test_an_array_gives_an_array_of_its_shape_and_type(picture, settings, kind, alpha):
    given = np.asarray(picture.convert("RGBA") if alpha else picture)
    if kind is not np.uint8:
        given = (given / 255).astype(kind)
    safe = photovax.immunize(given, **settings)
    assert (safe.shape, safe.dtype) == (given.shape, given.dtype)
    unit = 1 if kind is np.uint8 else 255
    assert 0 < np.abs(safe.astype(float) - given).max() * unit <= 8 + 1e-3


@pytest.mark.parametrize("kind", [str, Path, bytes, photovax.Photo])
def test_files_and_photos_give_an_answer_that_saves_itself(photo_file, settings, kind, tmp_path):
    given = {
        str: str(photo_file),
        Path: photo_file,
        bytes: photo_file.read_bytes(),
        photovax.Photo: photovax.read_photo(photo_file),
    }[kind]
    result = photovax.immunize(given, **settings)
    saved = result.save(tmp_path / "safe.png")
    assert np.array_equal(np.asarray(Image.open(saved.path)), np.asarray(result.image))
    found = photovax.check(str(saved.path), photo_file, size=64, device="cpu")
    assert found.visible.linf == result.largest


def test_the_file_itself_is_never_replaced(photo_file, settings):
    result = photovax.immunize(photo_file, **settings)
    before = photo_file.read_bytes()
    with pytest.raises(UsageError, match="never replaced"):
        result.save(photo_file, overwrite=True)
    assert photo_file.read_bytes() == before


def test_a_string_is_one_model_and_a_folder_of_weights(picture, tmp_path):
    photo = photovax.Photo.from_image(picture)
    found = check_photo(photo, photo, models="embedded", weights=str(tmp_path), device="cpu")
    assert list(found.models) == ["embedded"]
    Adversary("embedded", weights=str(tmp_path), device="cpu")


def test_no_model_is_refused():
    with pytest.raises(UsageError, match="at least one model"):
        photovax.Immunizer([], device="cpu")


def test_models_stay_loaded_for_the_next_call(picture, settings, monkeypatch):
    photovax.immunize(picture, **settings)
    monkeypatch.setattr("photovax.models.surrogates.load_autoencoder", None)
    photovax.immunize(picture, models=["embedded"], **settings)


def test_a_network_that_is_written_anew_is_read_anew(picture, settings, tmp_path):
    file, results = tmp_path / "own.safetensors", []
    digest = load_autoencoder("embedded", device=torch.device("cpu")).digest
    options = settings | {"recipe": PRESETS["instant"], "size": 64, "networks": [file]}
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = PerturbationNetwork((8, 8, 8), 1).eval()
        write_network(network, file, model="embedded", model_digest=digest, overwrite=True)
        results.append(np.asarray(photovax.immunize(picture, **options)))
    assert not np.array_equal(results[0], results[1])


def test_recipes_and_models_may_be_paths(picture, settings, tmp_path, editor_folder):
    (tmp_path / "mine.toml").write_text('preset = "fast-linf"\nsteps = 1\n')
    options = {"size": 64, "device": "cpu", "models": editor_folder}
    made = photovax.immunize(picture, recipe=tmp_path / "mine.toml", **options)
    assert photovax.check(made, picture, **options).models.keys() == {editor_folder.name}
    same = photovax.immunize(picture, recipe=str(tmp_path / "mine.toml"), **options)
    assert np.array_equal(np.asarray(made), np.asarray(same))


def test_a_suffix_needs_no_dot_and_must_be_known(picture, settings):
    dotted, bare = (
        np.asarray(photovax.immunize(picture, suffix=suffix, quality=30, **settings))
        for suffix in (".jpg", "JPG")
    )
    assert np.array_equal(dotted, bare)
    assert not np.array_equal(dotted, np.asarray(photovax.immunize(picture, **settings)))
    with pytest.raises(UsageError, match=r"suffix must be one of .*\.png.*, got 'gif'"):
        photovax.immunize(picture, suffix="gif", **settings)


@pytest.mark.parametrize("around", [torch.inference_mode, torch.no_grad])
def test_it_works_inside_hosts_that_turn_gradients_off(picture, settings, around):
    before = photovax.immunize(picture, **settings)
    torch.set_default_dtype(torch.float64)
    try:
        with around():
            inside = photovax.immunize(picture, **settings)
            photovax.check(inside, picture, size=64, device="cpu")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(np.asarray(inside), np.asarray(before))
    with around():
        fresh = photovax.Immunizer("embedded", device="cpu")
    photo = photovax.Photo.from_image(picture)
    again = fresh.immunize(photo, settings["recipe"])
    assert np.array_equal(again.photo.pixels, np.asarray(before))


def test_strengths_and_seeds_are_those_of_the_command_line(picture):
    options: dict[str, Any] = {"size": 64, "device": "cpu"}
    loud, seeded = (
        photovax.immunize(np.asarray(picture), budget=3, seed=seed, **options) for seed in (0, 1)
    )
    assert np.abs(loud.astype(int) - np.asarray(picture)).max() <= 3
    assert not np.array_equal(loud, seeded)
    with pytest.raises(UsageError, match="give one"):
        photovax.immunize(picture, budget=3, visibility="low")
    lossy: dict[str, Any] = options | {"visibility": 9.9, "suffix": "jpg", "quality": 10}
    missed = "no strength keeps 9.9 JOD after JPEG, quality 10"
    with pytest.warns(UserWarning, match=missed) as said:
        photovax.immunize(picture, **lossy)
    assert said[0].filename == __file__
    assert missed in photovax.immunize(photovax.Photo.from_image(picture), **lossy).missed
    with pytest.raises(UsageError, match="low"):
        photovax.immunize(picture, visibility="lowest")
    with pytest.raises(UsageError, match="above 0 and up to 255 levels, got '8'"):
        photovax.immunize(picture, budget=cast("float", "8"))


def test_ctrl_c_ends_a_loop_over_pictures(picture, settings):
    """It would have gone on with the next, and given back one that is hardly changed."""

    def interrupt(_step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        photovax.immunize(picture, callback=interrupt, **settings)
    with pytest.raises(KeyboardInterrupt):  # after the first step, which has a result
        photovax.immunize(
            picture, callback=lambda _: signal.raise_signal(signal.SIGINT), **settings
        )


def test_a_mask_may_be_an_array_an_image_or_a_file(picture, settings, tmp_path):
    mask = np.zeros((picture.height, picture.width), bool)
    mask[30:80, 40:90] = True
    drawn = Image.fromarray(mask.astype(np.uint8) * 255)
    drawn.save(tmp_path / "mask.png")
    results = [
        np.asarray(photovax.immunize(picture, mask=each, **settings))
        for each in (mask, drawn, tmp_path / "mask.png")
    ]
    changed = (results[0] != np.asarray(picture)).any(axis=2)
    assert changed.any()
    assert not changed[~mask].any()
    assert all(np.array_equal(each, results[0]) for each in results)


def test_edits_are_pictures_too(picture, editor_folder):
    options: dict[str, Any] = {"model": str(editor_folder), "size": 64, "steps": 2, "device": "cpu"}
    made = photovax.edit(picture, "make it night", **options)
    assert isinstance(made, Image.Image)
    array = photovax.edit(np.asarray(picture), "make it night", **options)
    assert np.array_equal(array, np.asarray(made))
    mask = np.zeros((picture.height, picture.width), bool)
    mask[30:80, 40:90] = True
    inpainted = photovax.edit(picture, "a beach", mode="inpaint", mask=mask, **options)
    assert inpainted.size == made.size
    same = photovax.edit(picture, "a beach", mask=mask, **options)
    assert np.array_equal(np.asarray(same), np.asarray(inpainted))
    for seed in (2**64, -1, 1.5):
        with pytest.raises(UsageError, match="a seed must be a whole number from 0"):
            photovax.edit(picture, "make it night", seed=cast("int", seed), **options)
    with pytest.raises(UsageError, match="a mask is for inpainting, not for instruct"):
        photovax.edit(picture, "make it night", mode="instruct", mask=mask, **options)


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), UsageError, r"uint8 \(4, 4, 5\)"),
        (np.zeros((4, 4, 3), np.int64), UsageError, "int64"),
        (np.full((4, 4, 3), 128.0), UsageError, "0 to 255 as uint8"),
        (np.zeros((0, 4, 3), np.uint8), UsageError, r"\(0, 4, 3\)"),
        (b"not a picture", UnreadablePhoto, "not a picture"),
        (7, UsageError, "got int"),
    ],
)
def test_what_is_no_picture_is_refused(picture, error, message):
    with pytest.raises(error, match=message):
        photovax.immunize(picture)


def test_pillow_images_keep_what_belongs_to_them(photo_file, tmp_path):
    image = Image.open(photo_file)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, icc_profile=None)
    turned = photovax.Photo.from_image(Image.open(tmp_path / "turned.jpg"))
    assert (turned.width, turned.height) == (image.height, image.width)
    assert np.array_equal(turned.pixels, photovax.read_photo(tmp_path / "turned.jpg").pixels)
    loaded = Image.open(tmp_path / "turned.jpg")
    loaded.load()
    assert np.array_equal(photovax.Photo.from_image(loaded).pixels, turned.pixels)
    palette = image.convert("P")
    assert photovax.Photo.from_image(palette).to_image().mode == "RGB"


def test_the_readme_is_right(photo_file, tmp_path, monkeypatch):
    few = {"fast": replace(photovax.PRESETS["fast"], steps=2, size=64)}
    monkeypatch.setattr("photovax.attack.presets.PRESETS", few)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    Image.open(photo_file).save(tmp_path / "me.jpg")
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102
    assert (tmp_path / "me.safe.png").exists()
