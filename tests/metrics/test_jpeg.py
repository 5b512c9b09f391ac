from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from photovax.errors import PhotoError
from photovax.metrics.jpeg import jpeg_of
from tests.metrics.samples import as_jpeg, opened, sample


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    return sample(240, 200)


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
    assert jpeg_of(as_jpeg(original, quality=100, subsampling=0)) is None
    assert jpeg_of(as_jpeg(original, quality=100)) is not None
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
