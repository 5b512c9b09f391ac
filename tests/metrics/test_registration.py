import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from photovax.checks.noise import noisy
from photovax.errors import MetricUnavailable, UsageError
from photovax.metrics.registration import alike, find_box
from tests.metrics.samples import sample

WHOLE = (0, 0, 320, 240)


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    pytest.importorskip("cv2")
    return sample(320, 240)


def copied(pixels, box, size, quality=70):
    """A noisy, resized, compressed part of a picture."""
    picture = Image.fromarray(noisy(pixels, 16, 1))
    file = BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC, box=box).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (WHOLE, (160, 120)),
        (WHOLE, (480, 360)),
        (WHOLE, (200, 120)),  # not in proportion
        ((32, 24, 288, 216), (205, 154)),
        ((32, 24, 288, 216), (256, 192)),
        ((80.3, 20.6, 260.45, 200.1), (150, 149)),
        ((6, 5, 312, 233), (320, 240)),  # enlarged again to the size of the original
    ],
)
def test_the_part_is_found_to_a_fraction_of_a_pixel(original, box, size):
    found = find_box(copied(original, box, size), original)
    assert found is not None
    scales = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
    for got, wanted, scale in zip(found, box, 2 * scales, strict=True):
        assert abs(got - wanted) * scale < 0.2


def test_a_small_copy_of_a_large_photo_is_found():
    pytest.importorskip("cv2")
    original = sample(2000, 1500)
    box = (400, 300, 1000, 750)
    found = find_box(copied(original, box, (300, 225)), original)
    assert found == pytest.approx(box, abs=0.5)


def test_grey_pictures_are_found(original):
    grey = np.asarray(Image.fromarray(original).convert("L"))[..., None]
    copy = np.asarray(Image.fromarray(grey[..., 0]).resize((160, 120)))[..., None]
    assert find_box(copy, grey) == pytest.approx(WHOLE, abs=0.2)


def test_other_photos_are_not_found(original):
    with Image.open("src/photovax/data/target.jpg") as target:
        other = np.array(target.convert("RGB").resize((320, 240)))
    assert find_box(other, original) is None
    assert find_box(original[:, ::-1], original) is None
    random = np.random.default_rng(0).integers(0, 256, original.shape, dtype=np.uint8)
    assert find_box(random, original) is None
    assert find_box(np.full((100, 100, 3), 128, np.uint8), original) is None


@pytest.mark.parametrize(("turns", "angle"), [(1, "90.0|-90.0"), (2, "180.0|-180.0")])
def test_turned_copies_are_refused(original, turns, angle):
    with pytest.raises(UsageError, match=f"turned or sheared, by ({angle}) degrees"):
        find_box(np.rot90(original, turns), original)


def test_slightly_turned_copies_are_refused(original):
    turned = Image.fromarray(original).rotate(2, Image.Resampling.BICUBIC)
    with pytest.raises(UsageError, match="turned or sheared"):
        find_box(np.array(turned)[30:-30, 30:-30], original)


def test_without_opencv_the_extra_is_named(original, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MetricUnavailable, match="resized or cropped needs the package cv2") as got:
        find_box(original, original)
    assert got.value.hint == 'type: pip install "photovax[evaluate]"'


def test_what_is_alike():
    original = sample(192, 192)
    assert alike(noisy(original, 32, 0), original)
    assert alike(np.clip(original * 0.8, 0, 255).astype(np.uint8), original)
    assert not alike(original[:, ::-1], original)
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert alike(noisy(flat, 16, 0), flat)
    assert not alike(flat + 100, flat)
