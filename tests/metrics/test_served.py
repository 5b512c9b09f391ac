import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from photovax.checking import noisy
from photovax.errors import MetricUnavailable, PhotoError, UsageError
from photovax.metrics.served import Jpeg, find_step, jpeg_of
from tests.metrics.samples import sample


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    return sample(240, 200)


def as_jpeg(picture, **options) -> bytes:
    file = BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(
        file, "JPEG", **options
    )
    return file.getvalue()


def opened(data: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(data)))


@pytest.mark.parametrize("quality", [30, 80, 95])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_jpeg_is_compressed_again_as_it_was(original, quality, sampling):
    data = as_jpeg(original, quality=quality, subsampling=sampling)
    jpeg = jpeg_of(data)
    assert jpeg is not None
    assert jpeg.line == f"JPEG quality {quality}, {sampling}"
    assert jpeg.exact
    assert np.array_equal(jpeg(original), opened(data))


def test_tables_of_other_programs_are_kept_and_named_by_the_nearest_quality(original):
    tables = [[min(255, 3 + each) for each in range(64)], [40] * 64]
    data = as_jpeg(original, qtables=tables, subsampling=0)
    jpeg = jpeg_of(data)
    assert jpeg is not None
    assert not jpeg.exact
    assert jpeg.line.startswith("JPEG quality about ")
    assert np.array_equal(jpeg(original), opened(data))


def test_where_a_jpeg_is_read_from(original, tmp_path):
    data = as_jpeg(original, quality=77)
    (tmp_path / "copy.jpg").write_bytes(data)
    read = [jpeg_of(tmp_path / "copy.jpg"), jpeg_of(str(tmp_path / "copy.jpg"))]
    read += [jpeg_of(data), jpeg_of(Image.open(BytesIO(data)))]
    assert [jpeg and jpeg.quality for jpeg in read] == [77] * 4
    Image.fromarray(original).save(tmp_path / "copy.png")
    assert jpeg_of(tmp_path / "copy.png") is None
    assert jpeg_of(Image.fromarray(original)) is None
    assert jpeg_of(as_jpeg(Image.fromarray(original).convert("CMYK"))) is None
    with pytest.raises(PhotoError):
        jpeg_of(tmp_path / "gone.jpg")


def test_grey_jpegs(original):
    grey = Image.fromarray(original).convert("L")
    data = as_jpeg(grey, quality=60)
    jpeg = jpeg_of(data)
    assert jpeg is not None
    assert jpeg.line == "JPEG quality 60"
    assert np.array_equal(jpeg(np.asarray(grey)[..., None])[..., 0], opened(data))


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box"])
@pytest.mark.parametrize(
    ("box", "size"),
    [((0, 0, 240, 200), (120, 100)), ((24, 20, 216, 180), (154, 128))],
)
def test_what_was_done_to_a_clean_copy_is_found_exactly(original, name, box, size):
    pytest.importorskip("cv2")
    how = Image.Resampling[name.upper()]
    data = as_jpeg(Image.fromarray(original).resize(size, how, box=box), quality=80)
    step = find_step(opened(data), original, jpeg_of(data))
    assert (step.box, step.size, step.resampling) == (box, size, name)
    assert step.jpeg is not None
    assert step.jpeg.quality == 80
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
    step = find_step(opened(data), original, jpeg_of(data))
    assert step.line == (
        "cropped to columns 24 to 216 and rows 20 to 180, resized to 80.2% by 80.0% (bicubic), "
        "JPEG quality 80, 4:2:0"
    )
    assert step.figures() == {
        "box": [24, 20, 216, 180],
        "size": [154, 128],
        "scale": [0.80208, 0.8],
        "resampling": "bicubic",
        "jpeg": {"quality": 80, "exact": True, "sampling": "4:2:0"},
    }


def test_a_photo_of_the_same_size_is_compared_as_it_is(original):
    step = find_step(noisy(original, 24, 0), original)
    assert not step.changes
    assert step.line == "none"
    assert step(original) is original


def test_the_original_itself_is_not_compressed_twice(original):
    data = as_jpeg(original, quality=70)
    photo = opened(data)
    assert not find_step(photo, photo, jpeg_of(data)).changes


def test_a_sky_without_features_is_compared_as_it_is():
    sky = np.full((96, 96, 3), (120, 160, 220), np.uint8)
    assert not find_step(noisy(sky, 8, 0), sky).changes


def test_another_photo_is_refused(original):
    pytest.importorskip("cv2")
    for other in (original[:, ::-1], original[:100, ::-1]):
        with pytest.raises(UsageError, match="shows another photo than the original"):
            find_step(other, original)


def test_without_opencv_copies_of_the_same_size_are_compared(original, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    data = as_jpeg(noisy(original, 16, 0), quality=80)
    step = find_step(opened(data), original, jpeg_of(data))
    assert step.whole
    assert isinstance(step.jpeg, Jpeg)
    for copy in (original[20:180], original[:, ::-1]):
        with pytest.raises(MetricUnavailable, match="needs the package cv2"):
            find_step(copy, original)
