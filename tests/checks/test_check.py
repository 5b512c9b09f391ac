"""A copy that a platform made of a photo is judged by what is left of the immunization."""

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from photovax.attack.recipe import Recipe
from photovax.checks.check import Check, check
from photovax.checks.noise import noisy, with_noise
from photovax.checks.verdicts import ModelCheck, Verdict, judge
from photovax.errors import UsageError
from photovax.immunizer import Immunizer
from photovax.metrics.latent import LatentEffect
from photovax.metrics.profiles import conversion
from photovax.pictures.photo import Metadata, Photo, read_photo
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part
from tests.metrics.samples import display_p3

LEVELS = 12
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def original() -> Photo:
    with Image.open(SAMPLE) as sample:
        return Photo.from_image(sample.convert("RGB").crop((130, 20, 370, 220)))


@pytest.fixture(scope="module")
def immunized(immunizer: Immunizer, original: Photo) -> Photo:
    recipe = Recipe(
        objective=Part("latent_drift"),
        budget=Part("linf", {"radius": LEVELS / 255}),
        views=(Part("short_side", {"pixels": 128}),),
        steps=12,
        step_size=4 / 255,
        schedule="cosine",
        draws=1,
    )
    return immunizer.immunize(original, recipe).photo


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


COPIES = {
    "saved": lambda it: saved(it, "PNG"),
    "jpeg80": lambda it: saved(it, "JPEG", quality=80),
    "webp": lambda it: saved(it, "WEBP", lossless=True),
    "webp70": lambda it: saved(it, "WEBP", quality=70),
    "avif70": lambda it: saved(it, "AVIF", quality=70),
    "heic50": lambda it: saved(it, "HEIF", quality=50),
    "half": lambda it: saved(it.resize((120, 100), Image.Resampling.LANCZOS), "PNG"),
    "crop": lambda it: saved(it.resize((154, 128), box=(24, 20, 216, 180)), "JPEG", quality=80),
}


def checked(data: bytes, original: Photo) -> Check:
    return check(read_photo(data), original, device="cpu", size=128)


@pytest.mark.parametrize(
    ("copy", "verdict"),
    [
        *((copy, "PASS") for copy in ("saved", "webp", "jpeg80", "webp70", "avif70", "half")),
        ("heic50", "PASS"),
        ("crop", "WEAK"),
    ],
)
def test_a_copy_is_judged_by_the_immunization_that_is_left(immunized, original, copy, verdict):
    if copy in ("half", "crop"):
        pytest.importorskip("cv2")
    found = checked(COPIES[copy](immunized.to_image()), original)
    assert found.verdict.value == verdict
    assert (found.step is None) == (copy in ("saved", "webp"))
    model = found.models["embedded"]
    assert model.effect.shift > 2.5 * model.floor.shift


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_a_clean_photo_fails(original, copy):
    if copy in ("half", "crop"):
        pytest.importorskip("cv2")
    found = checked(COPIES[copy](original.to_image()), original)
    assert found.verdict is Verdict.FAIL
    assert found.models["embedded"].effect.shift < 0.02


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_a_noisy_photo_fails(original, copy):
    if copy in ("half", "crop"):
        pytest.importorskip("cv2")
    noise = original.with_pixels(noisy(original.pixels, LEVELS, 7))
    found = checked(COPIES[copy](noise.to_image()), original)
    assert found.verdict is Verdict.FAIL
    # The floor is noise of the budget: neither of the JPEG's error nor of what a resize leaves.
    model = found.models["embedded"]
    assert model.effect.shift == pytest.approx(model.floor.shift, rel=0.35)


FILTERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brightness": lambda it: ImageEnhance.Brightness(it).enhance(1.3),
    "contrast": lambda it: ImageEnhance.Contrast(it).enhance(1.5),
    "saturation": lambda it: ImageEnhance.Color(it).enhance(1.8),
    "grey": lambda it: it.convert("L").convert("RGB"),
    "gamma": lambda it: it.point(lambda level: 255 * (level / 255) ** 0.6),
    "warmth": lambda it: it.point([min(255, level * (110 - 10 * c) // 100) for c in range(3)
                                   for level in range(256)]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_is_no_immunization_and_hides_none(original, immunized, name):
    """Latents of a clean photo move as far under a filter as under an immunization."""
    clean, safe = (
        checked(saved(FILTERS[name](it.to_image()), "JPEG", quality=90), original)
        for it in (original, immunized)
    )
    assert clean.verdict is Verdict.FAIL
    assert clean.models["embedded"].effect.shift < 0.03
    assert clean.filtered
    assert clean.step is not None
    assert clean.step.line == "filtered in all colours, JPEG, quality 90, 4:2:0"
    assert safe.verdict is not Verdict.FAIL


def test_an_immunization_is_no_filter(original, immunized):
    assert not checked(COPIES["jpeg80"](immunized.to_image()), original).filtered


def test_a_clean_copy_by_an_unknown_resize_does_not_pass(original):
    cv2 = pytest.importorskip("cv2")
    small = cv2.resize(original.pixels, (168, 140), interpolation=cv2.INTER_LINEAR)  # aliased
    found = checked(saved(Image.fromarray(small), "JPEG", quality=82), original)
    assert found.verdict is Verdict.FAIL


def test_a_copy_converted_to_srgb_is_compared_with_the_converted_original(original, immunized):
    p3 = display_p3()
    tagged = Photo(original.pixels, None, Metadata(icc=p3), "PNG", ())
    convert = conversion(p3, None)
    assert convert is not None
    for photo, verdict in ((original, Verdict.FAIL), (immunized, Verdict.PASS)):
        served = Image.fromarray(convert(photo.pixels))
        found = checked(saved(served, "JPEG", quality=90), tagged)
        assert found.verdict is verdict
        assert found.step is not None
        assert found.step.line == "colours converted to its profile, JPEG, quality 90, 4:2:0"


def test_a_changed_pixel_in_a_clean_copy_is_no_immunization(original):
    pytest.importorskip("cv2")
    crop = original.pixels[20:180, 24:216].copy()
    crop[80, 90] ^= 128
    assert checked(saved(Image.fromarray(crop), "PNG"), original).verdict is Verdict.FAIL


def test_a_grey_photo_may_come_back_in_three_channels(original):
    grey = Photo.from_image(original.to_image().convert("L"))
    found = checked(saved(grey.to_image().convert("RGB"), "JPEG", quality=80), grey)
    assert found.visible.linf == 0


def test_a_copy_without_colours_is_refused(original):
    copy = saved(original.to_image().convert("L"), "PNG")
    with pytest.raises(UsageError, match="copy is grey and the original in colour"):
        checked(copy, original)


def test_another_photo_is_refused(original):
    pytest.importorskip("cv2")
    mirrored = Image.fromarray(np.ascontiguousarray(original.pixels[:, ::-1]))
    with pytest.raises(UsageError, match="shows another photo"):
        checked(saved(mirrored, "PNG"), original)


def test_every_verdict_says_what_it_means(original, immunized):
    assert len({verdict.meaning for verdict in Verdict}) == 3
    assert "no change was found" in checked(COPIES["saved"](original.to_image()), original).meaning
    found = checked(COPIES["saved"](immunized.to_image()), original)
    assert found.meaning == Verdict.PASS.meaning


def test_a_shift_that_is_no_number_fails():
    faulty = ModelCheck(LatentEffect(64, math.nan, None), LatentEffect(64, 0.01, None))
    assert faulty.verdict is Verdict.FAIL
    unknown = ModelCheck(LatentEffect(64, 0.5, None), LatentEffect(64, math.nan, None))
    assert unknown.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("effect", "floor", "verdict"),
    [
        ((0.73, 10.0), (0.48, 2.1), "PASS"),  # many channels: noise moves the latent, too
        ((0.73, 3.9), (0.48, 1.0), "WEAK"),
        ((0.73, 6.2), (0.48, 2.1), "WEAK"),
        ((0.73, 4.1), (0.48, 2.1), "FAIL"),
        ((0.73, 0.9), (0.48, 0.1), "FAIL"),
        ((0.73, math.nan), (0.48, 0.1), "FAIL"),
        ((0.45, 0.1), (0.06, 0.2), "PASS"),
        ((0.29, 10.0), (0.20, 2.1), "FAIL"),
        ((0.73, 10.0), (0.48, None), "FAIL"),
    ],
)
def test_a_reconstruction_decides_as_well_as_a_latent(effect, floor, verdict):
    found = ModelCheck(LatentEffect(64, *effect), LatentEffect(64, *floor))
    assert found.verdict.value == verdict


class Channels:
    """A model whose latent moves under noise as far as under a change that its decoder shows."""

    name, size, decodes = "channels", 32, True

    def __init__(self) -> None:
        self.decoded = 0

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        # The mean of all pixels, which the decoder shows, between channels that it ignores.
        mean = images.mean((1, 2, 3), keepdim=True).expand(-1, 1, *images.shape[-2:])
        return torch.cat((images, 20 * (images - images.mean((2, 3), keepdim=True)), mean), dim=1)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        self.decoded += 1
        return latents[:, :3] * 0.98 + 0.2 * (latents[:, -1:] - 0.5)


@pytest.mark.parametrize("decide", [False, True])
def test_what_is_decoded_is_measured_only_where_it_decides(decide):
    random = np.random.default_rng(0)
    before = random.integers(100, 150, (32, 32, 3), dtype=np.uint8)
    model: Any = Channels()
    seeds = with_noise(before, 40)
    found = judge([(model, 32)], before, before + 100, seeds, CPU, decoded=0, decide=decide)[
        "channels"
    ]
    assert (found.effect.damage is not None) is decide
    assert model.decoded == (5 if decide else 0)
    model.decoded = 0
    moved = np.roll(before, 7, axis=1)  # which moves the latent alone far enough
    spoilt = with_noise(before, 1)
    found = judge([(model, 32)], before, moved, spoilt, CPU, decoded=0, decide=decide)["channels"]
    assert found.verdict is Verdict.PASS
    assert model.decoded == 0


@pytest.mark.parametrize(
    ("share", "noise", "used", "verdict"),
    [
        (1, 1, 1, "PASS"),
        (1, 6, 3, "PASS"),  # 5.5 times as far as noise: under another draw it could be below five
        (1, 9, 3, "WEAK"),  # 3.7 times, and far: what is decoded may decide
        (0.15, 1, 1, "WEAK"),
        (0.15, 2, 3, "WEAK"),  # 2.2 times: under another draw it could be below two
        (0.15, 4, 1, "FAIL"),
    ],
)
def test_noise_is_drawn_until_the_verdict_is_known(share, noise, used, verdict):
    random = np.random.default_rng(0)
    before = random.integers(100, 150, (32, 32, 3), dtype=np.uint8)
    moved = before * (1 - share) + np.roll(before, 7, axis=1) * share
    moved = moved.round().astype(np.uint8)
    drawn = []

    def spoilt(seed: int) -> np.ndarray:
        drawn.append(seed)
        return with_noise(before, noise)(seed)

    model: Any = Channels()
    fed = [(model, 32)]
    found = judge(fed, before, moved, spoilt, CPU, decoded=0, decide=True)["channels"]
    assert (len(drawn), found.verdict.value) == (used, verdict)
    whole = judge(fed, before, moved, with_noise(before, noise), CPU)["channels"]
    assert whole.verdict is found.verdict
