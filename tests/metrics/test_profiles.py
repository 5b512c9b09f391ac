import numpy as np
import pytest

from photovax.metrics.profiles import conversion
from photovax.metrics.served import find_step
from tests.metrics.samples import display_p3, sample
from tests.pictures.made import SRGB


@pytest.fixture(scope="module")
def original() -> np.ndarray:
    return sample(240, 200)


def test_known_colours_are_converted():
    convert = conversion(display_p3(), None)
    assert convert is not None
    greys = np.arange(0, 256, 15, dtype=np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    assert np.abs(convert(greys).astype(int) - greys).max() <= 1
    green = np.array([[[100, 200, 100]]], np.uint8)
    # By the matrix of CSS Color 4 between linear P3 and linear sRGB.
    assert convert(green)[0, 0].tolist() == pytest.approx([45, 203, 86], abs=1)


def test_nothing_to_convert():
    assert conversion(None, None) is None
    assert conversion(SRGB, SRGB) is None
    assert conversion(b"junk", None) is None


def test_a_copy_in_other_colours_is_compared_with_the_converted_original(original):
    convert = conversion(display_p3(), None)
    assert convert is not None
    step = find_step(convert(original), original, None, convert)
    assert step.colours == convert
    assert step.line == "colours converted to its profile"
    assert np.array_equal(step(original), convert(original))


def test_a_copy_whose_profile_was_dropped_is_compared_as_it_is(original):
    step = find_step(original, original, None, conversion(display_p3(), None))
    assert not step.changes
