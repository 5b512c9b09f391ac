"""What adversaries do to photos before editing them."""

import functools
import io
import math
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.adversary.purify import PURIFICATIONS, PURIFIERS, Purifier, denoiser, load_purifier
from photovax.adversary.purify.retouching import Rotate
from photovax.attack.presets import PRESETS
from photovax.errors import ModelError, UnknownName, UsageError
from photovax.metrics.distortion import psnr
from photovax.metrics.latent import latent_effect
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part

CPU = torch.device("cpu")
LANCZOS = Image.Resampling.LANCZOS
SEEDED = {"cropresize", "noise", "gamma", "impress", "regenerate"}
SIZES = {
    "resize50": (48, 66),
    "resize75": (73, 98),
    "screenshot": (73, 98),
    "resize512": (512, 691),
}
# In dB, beside the photo; moved content and small models' pictures are far from it.
LEAST = {"cropresize": 10, "rotate2": 10, "autoencoder": 15, "regenerate": 12, "gamma": 18}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """The sample photo at odd sides."""
    with Image.open(SAMPLE) as sample:
        return np.array(sample.convert("RGB").resize((131, 97), LANCZOS))


@functools.cache
def loaded(name: str) -> Purifier:
    """Purifiers at a cost that a test can afford."""
    if name == "impress":
        return PURIFIERS.create(Part(name, {"steps": 3, "size": 64, "device": "cpu"}))
    return load_purifier(name, device="cpu")


def run(name: str, picture: np.ndarray, seed: int = 0, **options: object) -> np.ndarray:
    return PURIFIERS.create(Part(name, options))(picture, seed)


@pytest.mark.parametrize("name", list(PURIFICATIONS))
def test_contract(name, photo, monkeypatch):
    def refuse(*args: object) -> None:
        raise AssertionError("a purifier went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    given = photo.copy()
    given.setflags(write=False)
    made = loaded(name)(given, 2)
    assert made.dtype == np.uint8
    assert made.shape == (*SIZES.get(name, (97, 131)), 3)
    assert made.flags.writeable
    assert made.flags.c_contiguous
    assert not np.shares_memory(made, given)
    assert np.array_equal(given, photo)

    assert np.array_equal(loaded(name)(given, 2), made)
    assert np.array_equal(loaded(name)(given, 3), made) == (name not in SEEDED)

    back = np.array(Image.fromarray(made).resize((131, 97), LANCZOS))
    near = psnr(photo, back)
    assert near == math.inf if name == "none" else LEAST.get(name, 22) < near < 60


@pytest.mark.parametrize("name", sorted(PURIFICATIONS.keys() - {"impress", "regenerate"}))
@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 40, 3)])
def test_tiny_pictures(name, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made = loaded(name)(pixels, 0)
    assert made.dtype == np.uint8
    assert min(made.shape) >= 1


@pytest.mark.parametrize("quality", [95, 85, 75, 60])
def test_jpeg_is_that_of_pillow(quality, photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file) as reopened:
        assert np.array_equal(loaded(f"jpeg{quality}")(photo, 0), np.asarray(reopened))


@pytest.mark.parametrize(("name", "kind"), [("webp80", "WEBP"), ("avif", "AVIF")])
def test_other_formats_are_as_pillow_saves_them(name, kind, photo):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, kind)
    with Image.open(file) as reopened:
        assert np.array_equal(loaded(name)(photo, 0), np.asarray(reopened))


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    """The middle of the sample photo, which no denoiser was trained on."""
    file = tmp_path_factory.mktemp("square") / "square.png"
    with Image.open(SAMPLE) as sample:
        sample.convert("RGB").crop((100, 20, 292, 212)).save(file)
    return read_photo(file)


@pytest.fixture
def left(immunizer, square):
    """The share of a recipe's latent shift that a purification leaves."""
    (model,) = immunizer.models

    def shift(before: np.ndarray, after: np.ndarray) -> float:
        return latent_effect(model, before, after, CPU, size=192).shift

    def share(recipe, name: str) -> float:
        pixels = square.pixels
        changed = immunizer.immunize(square, replace(recipe, size=192)).photo.visible_rgb()
        purify = loaded(name)
        clean, purified = purify(pixels, 0), purify(changed, 0)
        found = max(shift(pixels, purified), shift(clean, purified))
        return found / shift(pixels, changed)

    return share


FAST = replace(PRESETS["fast"], steps=8)


@pytest.mark.parametrize(
    ("name", "recipe", "most"),
    [
        ("denoiser", FAST.with_levels(8), 0.9),
        ("denoiser-perceptual", FAST, 0.5),
        ("denoiser-opposed", PRESETS["robust"], 0.9),
    ],
)
def test_denoisers_take_effect_off_a_photo_they_never_saw(left, name, recipe, most):
    assert left(recipe, name) < most


def test_robust_keeps_more_after_denoisers_than_instant(left):
    instant = left(PRESETS["instant"], "denoiser-perceptual")
    for name in ("denoiser-perceptual", "denoiser-opposed"):
        assert left(PRESETS["robust"], name) > 1.2 * instant, name


def test_max_keeps_more_of_its_effect_than_fast(left):
    most = replace(PRESETS["max"], steps=7)
    for name in ("cropresize", "blur"):
        assert left(most, name) > 1.3 * left(FAST, name), name


def test_a_denoiser_without_its_weights_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(denoiser.WEIGHTS, "levels", tmp_path / "none")
    with pytest.raises(ModelError, match=r"purifier denoiser: .*none cannot be loaded"):
        load_purifier("denoiser", device="cpu")


def test_a_denoiser_that_fails_without_a_word_is_one_line(monkeypatch):
    def fail(_file: object) -> None:
        raise OSError

    monkeypatch.setattr("safetensors.torch.load_file", fail)
    with pytest.raises(ModelError, match=r"purifier denoiser: .*cannot be loaded: OSError"):
        load_purifier("denoiser", device="cpu")


def test_five_bits_leave_32_levels():
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    made = loaded("bits5")(every, 0)
    assert len(np.unique(made)) == 32
    assert (made.min(), made.max()) == (0, 255)
    assert np.abs(made.astype(int) - every).max() <= math.ceil(255 / 31 / 2)


def test_noise_has_its_deviation():
    grey = np.full((200, 200, 3), 128, np.uint8)
    change = loaded("noise")(grey, 0).astype(float) - 128
    assert change.mean() == pytest.approx(0, abs=0.1)
    # Rounding adds a twelfth to the variance.
    assert change.std() == pytest.approx(math.sqrt(8**2 + 1 / 12), rel=0.01)


def test_gamma_stays_within_its_range_and_goes_both_ways():
    grey = np.full((1, 1, 3), 128, np.uint8)
    found = [int(loaded("gamma")(grey, seed)[0, 0, 0]) for seed in range(50)]
    darkest, brightest = (round(255 * (128 / 255) ** power) for power in (1.25, 0.8))
    assert darkest <= min(found) < 118
    assert 138 < max(found) <= brightest


def test_a_panorama_is_fed_squeezed():
    assert run("short_side", np.zeros((10, 100, 3), np.uint8), pixels=20).shape == (20, 80, 3)
    assert run("short_side", np.zeros((30, 20, 3), np.uint8), pixels=10).shape == (15, 10, 3)


@pytest.mark.parametrize("shape", [(97, 131, 3), (131, 97, 3), (40, 300, 3)])
@pytest.mark.parametrize("degrees", [2.0, -2.0, 30.0])
def test_rotation_leaves_no_corner_empty(shape, degrees):
    white = np.full(shape, 255, np.uint8)
    assert (Rotate(degrees)(white, 0) == 255).all()


def test_rotation_turns_the_way_it_says(photo):
    turned = Image.fromarray(photo).rotate(10, Image.Resampling.BICUBIC)
    height, width = photo.shape[:2]
    cos, sin = math.cos(math.radians(10)), math.sin(math.radians(10))
    kept = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
    left, top = width * (1 - kept) / 2, height * (1 - kept) / 2
    box = (left, top, width - left, height - top)
    expected = turned.resize((width, height), Image.Resampling.BICUBIC, box=box)
    assert psnr(np.array(expected), Rotate(10)(photo, 0)) > 25
    assert psnr(np.array(expected), Rotate(-10)(photo, 0)) < 20


def test_a_crop_shows_a_part_of_the_photo():
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, axis=0).repeat(3, axis=2)
    made = run("crop_resize", ramp, 3, share=0.5)
    assert made.shape == ramp.shape
    assert int(made.max()) - int(made.min()) == pytest.approx(99, abs=2)


def test_adversecleaner_is_the_published_one(photo):
    import cv2
    from cv2.ximgproc import guidedFilter

    guide = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR).astype(np.float32)
    clean = guide.copy()
    for _ in range(64):
        clean = cv2.bilateralFilter(clean, 5, 8, 8)
    for _ in range(4):
        clean = guidedFilter(guide, clean, 4, 16)
    expected = cv2.cvtColor(clean.clip(0, 255).astype(np.uint8), cv2.COLOR_BGR2RGB)
    assert np.array_equal(loaded("adversecleaner")(photo, 0), expected)


@pytest.mark.parametrize("name", ["blur", "median", "adversecleaner", "tv", "nlmeans"])
def test_filters_bring_a_perturbed_photo_nearer_to_the_clean_one(name, photo):
    clean = np.array(Image.fromarray(photo[10:80, 20:110]).resize((360, 280), LANCZOS))
    signs = np.random.default_rng(0).choice([-8, 8], clean.shape)
    perturbed = (clean + signs).clip(0, 255).astype(np.uint8)
    assert psnr(clean, loaded(name)(perturbed, 0)) > psnr(clean, perturbed) + 1


def images(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


def test_the_autoencoder_is_that_of_the_catalogue(photo):
    model = load_autoencoder("embedded", device=CPU)
    padded = np.pad(photo, ((0, 7), (0, 5), (0, 0)), mode="edge")
    with torch.no_grad():
        decoded = model.decode(model.encode(images(padded)))[0].permute(1, 2, 0).numpy()
    made = loaded("autoencoder")(photo, 0)
    assert np.abs(made - decoded[:97, :131] * 255).max() < 0.6
    assert psnr(photo, made) < 35


def test_impress_lowers_the_reconstruction_error(photo):
    model = load_autoencoder("embedded", device=CPU)
    pixels = np.array(Image.fromarray(photo).resize((80, 64), LANCZOS))
    made = run("impress", pixels, steps=30, size=64, device="cpu")
    with torch.no_grad():
        before, after = (
            (model.decode(model.encode(images(picture))) - images(picture)).square().mean().item()
            for picture in (pixels, made)
        )
    assert after < 0.8 * before


def test_impress_stays_near_for_the_weight_it_is_given(photo):
    pixels = np.array(Image.fromarray(photo).resize((80, 64), LANCZOS))
    free, held = (
        run("impress", pixels, steps=30, size=64, alpha=alpha, bound=0.0, device="cpu")
        for alpha in (0.0, 10.0)
    )
    assert psnr(pixels, held) > psnr(pixels, free) + 1


def test_regeneration_keeps_less_the_stronger_it_is(photo):
    weak, strong = (
        run("regenerate", photo, strength=strength, device="cpu") for strength in (0.1, 0.6)
    )
    assert psnr(photo, weak) > psnr(photo, strong)


def test_listing_names_imports_nothing_heavy():
    heavy = "{'torch', 'diffusers', 'cv2', 'skimage'}"
    code = (
        "import sys, photovax.adversary.purify as p; list(p.PURIFICATIONS); "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_part_that_is_named_exists():
    assert {part.name for part in PURIFICATIONS.values()} <= set(PURIFIERS)


def test_unknown_names_say_what_is_near():
    with pytest.raises(UnknownName, match="no purification named 'jpeg80'; did you mean 'jpeg8"):
        load_purifier("jpeg80")


def test_two_in_turn_are_one_after_the_other(photo):
    made = load_purifier("resize50+jpeg75")(photo, 0)
    assert np.array_equal(made, loaded("jpeg75")(loaded("resize50")(photo, 0), 0))
    # Each has a seed of its own, and the first is what it is alone.
    twice = load_purifier("noise+noise")(photo, 3)
    assert np.array_equal(twice, loaded("noise")(loaded("noise")(photo, 3), 4))
    with pytest.raises(UnknownName, match="no purification named 'jpg'"):
        load_purifier("blur+jpg")


def test_another_packages_purifier_goes_by_its_own_name(monkeypatch):
    class Inverted:
        def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
            return 255 - pixels

    monkeypatch.setitem(PURIFIERS._makers, "inverted", Inverted)
    grey = np.full((16, 16, 3), 100, dtype=np.uint8)
    assert (load_purifier("inverted")(grey, 0) == 155).all()


def test_another_packages_purifier_is_given_device_and_weights(monkeypatch, tmp_path):
    class Foreign:
        def __init__(self, *, device: str = "auto", weights: Path | None = None) -> None:
            self.given = (device, weights)

    monkeypatch.setitem(PURIFIERS._makers, "foreign", Foreign)
    made = load_purifier("foreign", device="cpu", weights=tmp_path)
    assert vars(made)["given"] == ("cpu", tmp_path)


@pytest.mark.parametrize("name", ["adversecleaner", "nlmeans", "tv"])
def test_a_missing_package_says_what_to_type(name, monkeypatch):
    for module in ("cv2", "cv2.ximgproc", "skimage.restoration"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"purifier {name} needs the package") as caught:
        load_purifier(name)
    assert caught.value.hint == 'type: pip install "photovax[evaluate]"'


def test_a_model_without_decoder_cannot_purify(monkeypatch):
    model = load_autoencoder("embedded", device=CPU)
    monkeypatch.setattr(type(model), "decodes", False)
    for name in ("autoencoder", "impress"):
        with pytest.raises(ModelError, match="embedded has no decoder"):
            load_purifier(name, device="cpu")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("jpeg", {"quality": 0}, "quality from 1 to 100, got 0"),
        ("webp", {"quality": 101}, "quality from 1 to 100, got 101"),
        ("avif", {"quality": -1}, "quality from 1 to 100, got -1"),
        ("screenshot", {"quality": 0}, "quality from 1 to 100, got 0"),
        ("screenshot", {"share": 2.0}, "share above 0 and up to 1, got 2"),
        ("resize", {"share": 0.0}, "share above 0 and up to 1, got 0"),
        ("fit", {"width": 8, "height": 0}, "1 x 1 pixel or more, got 8 x 0"),
        ("crop_resize", {"share": 1.1}, "share above 0 and up to 1, got 1.1"),
        ("short_side", {"pixels": 0}, "1 pixel or more, got 0"),
        ("rotate", {"degrees": 45.0}, "between -45 and 45, got 45"),
        ("noise", {"levels": 0.0}, "levels above 0, got 0"),
        ("blur", {"radius": -1.0}, "radius above 0, got -1"),
        ("median", {"side": 4}, "odd side from 3 up, got 4"),
        ("bits", {"bits": 8}, "1 to 7 bits, got 8"),
        ("gamma", {"most": 1.0}, "power above 1, got 1"),
        ("adversecleaner", {"bilateral": 0, "guided": 0}, "one filter or more, got 0"),
        ("adversecleaner", {"eps": 0.0}, "got 8, 0 and 4"),
        ("nlmeans", {"strength": 0.0}, "strength above 0, got 0"),
        ("tv", {"weight": 0.0}, "weight above 0, got 0"),
        ("impress", {"steps": 0}, "1 step or more, got 0"),
        ("impress", {"bound": 1.0}, "got 1 and 1"),
        ("impress", {"size": 65}, "multiple of 8 from 64 up, got 65"),
        ("regenerate", {"strength": 0.0}, "strength must be above 0 and up to 1, got 0"),
        ("autoencoder", {"model": "embeded"}, "did you mean 'embedded'"),
        ("blur", {"sigma": 1.0}, "does not take these options"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(UsageError, match=message):
        PURIFIERS.create(Part(name, options))
