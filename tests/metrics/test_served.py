import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from photovax.checks.noise import noisy
from photovax.errors import MetricUnavailable, UsageError
from photovax.functions import immunize
from photovax.metrics.served import find_step
from photovax.metrics.tones import find_tone
from photovax.pictures.photo import read_photo
from tests.metrics.samples import as_jpeg, opened, sample


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    return sample(240, 200)


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box"])
@pytest.mark.parametrize(
    ("box", "size"),
    [((0, 0, 240, 200), (120, 100)), ((24, 20, 216, 180), (154, 128))],
)
def test_what_was_done_to_a_clean_copy_is_found_exactly(original, name, box, size):
    pytest.importorskip("cv2")
    how = Image.Resampling[name.upper()]
    data = as_jpeg(Image.fromarray(original).resize(size, how, box=box), quality=80)
    step = find_step(opened(data), original, read_photo(data).compression)
    assert (step.box, step.size, step.resampling) == (box, size, name)
    assert step.compression is not None
    assert step.compression.quality == 80
    assert np.array_equal(step(original), opened(data))


def test_a_crop_is_found_under_noise(original):
    pytest.importorskip("cv2")
    copy = noisy(original, 16, 0)[20:180, 24:216]
    step = find_step(copy, original)
    assert (step.box, step.resampling) == ((24, 20, 216, 180), None)
    assert np.array_equal(step(original), original[20:180, 24:216])
    assert step.line == "cropped to columns 24 to 216 and rows 20 to 180"


def test_the_step_in_words_and_figures(original):
    pytest.importorskip("cv2")
    picture = Image.fromarray(original).resize((154, 128), box=(24, 20, 216, 180))
    data = as_jpeg(picture, quality=80)
    step = find_step(opened(data), original, read_photo(data).compression)
    assert step.line == (
        "cropped to columns 24 to 216 and rows 20 to 180, resized to 80.2% by 80.0% (bicubic), "
        "JPEG, quality 80, 4:2:0"
    )
    assert step.figures() == {
        "box": [24, 20, 216, 180],
        "size": [154, 128],
        "scale": [0.80208, 0.8],
        "resampling": "bicubic",
        "converted": False,
        "jpeg": {"kind": "JPEG", "quality": 80, "exact": True, "subsampling": "4:2:0"},
    }


def test_a_photo_of_the_same_size_is_compared_as_it_is(original):
    step = find_step(noisy(original, 24, 0), original)
    assert not step.changes
    assert step.line == "none"
    assert step(original) is original


def test_the_original_itself_is_not_compressed_twice(original):
    data = as_jpeg(original, quality=70)
    photo = opened(data)
    assert not find_step(photo, photo, read_photo(data).compression).changes


def test_a_sky_without_features_is_compared_as_it_is():
    sky = np.full((96, 96, 3), (120, 160, 220), np.uint8)
    assert not find_step(noisy(sky, 8, 0), sky).changes


@pytest.mark.parametrize("power", [4, 6])
def test_what_looks_the_same_turned_is_not_taken_for_turned(power):
    """A glow: correlation turns it, to fit what an immunization has added to it."""
    down, right = np.mgrid[:256, :256] / 256 - 0.5
    glow = np.exp(-(down**2 + right**2) * power)[..., None] * [230, 102, 77]
    glow = glow.round().astype(np.uint8)
    changed = immunize(glow, recipe="instant", device="cpu")
    assert not find_step(changed, glow).changes


def test_another_photo_is_refused(original):
    pytest.importorskip("cv2")
    for other in (original[:, ::-1], original[:100, ::-1]):
        with pytest.raises(UsageError, match="shows another photo than the original"):
            find_step(other, original)


def test_without_opencv_copies_of_the_same_size_are_compared(original, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    data = as_jpeg(noisy(original, 16, 0), quality=80)
    step = find_step(opened(data), original, read_photo(data).compression)
    assert step.whole
    assert step.compression is not None
    for copy in (original[20:180], original[:, ::-1]):
        with pytest.raises(MetricUnavailable, match="needs the package cv2"):
            find_step(copy, original)


@pytest.mark.parametrize(
    "change", [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
)
def test_a_filter_is_told_from_other_changes(original, change):
    data = as_jpeg(change(Image.fromarray(original)).enhance(1.3), quality=85)
    jpeg = read_photo(data).compression
    assert jpeg is not None
    plain = find_step(opened(data), original, jpeg)
    tone = find_tone(original, opened(data))
    assert tone is not None
    step = replace(plain, tone=tone)
    assert step.changes
    assert step.line == f"filtered in all colours, {jpeg.label}"
    left, before = (
        np.square(it(original).astype(float) - opened(data)).mean() for it in (step, plain)
    )
    assert left < 0.2 * before
    for changed in (original, noisy(original, 24, 0), jpeg.decoded(original)):
        assert find_tone(original, changed) is None


@pytest.mark.parametrize(("width", "height"), [(7, 5), (12, 9), (16, 16), (300, 12)])
def test_an_immunized_icon_is_not_taken_for_a_turned_one(width, height):
    icon = sample(width, height)
    for seed in range(10):
        assert not find_step(noisy(icon, 24, seed), icon).changes
