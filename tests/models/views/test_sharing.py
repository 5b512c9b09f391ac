"""What views do is what sending, posting and retouching do, as Pillow does it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Generator

from photovax.adversary.purify import load_purifier
from photovax.adversary.purify.retouching import Rotate as RotateFile
from photovax.errors import UnknownName, UsageError
from photovax.models.views import VIEWS, ShortSide
from photovax.models.views.retouching import Rotate
from photovax.registry import Part
from photovax.tensors import pixels_of, tensor

RANDOM = Generator().manual_seed(0)


def seen(name, pixels, **options):
    return pixels_of(VIEWS.create(Part(name, options))(tensor(pixels), RANDOM))


def difference(first, second):
    return np.abs(first.astype(int) - second)


@pytest.mark.parametrize(("name", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("avif", "AVIF")])
def test_lossy_views_are_the_codec(pixels, name, kind):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=70)
    assert np.array_equal(seen(name, pixels, quality=70), np.asarray(Image.open(file)))
    assert np.array_equal(seen("jpeg", pixels, quality=75), load_purifier("jpeg75")(pixels, 0))


@pytest.mark.parametrize(
    ("kernel", "same"),
    [
        ("bicubic", Image.Resampling.BICUBIC),
        ("bilinear", Image.Resampling.BILINEAR),
        ("area", Image.Resampling.BOX),
    ],
)
def test_resize_is_that_of_pillow(pixels, kernel, same):
    pixels = pixels[:40, :52]
    shown = np.asarray(Image.fromarray(pixels).resize((26, 20), same))
    # Pillow rounds to 8 bits after the first axis, too.
    assert difference(seen("resize", pixels, share=0.5, kernel=kernel), shown).max() <= 2


def test_a_screenshot_is_that_of_the_purifier(pixels):
    soft = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
    given = load_purifier("screenshot")(soft, 0)
    assert seen("screenshot", soft).shape == given.shape
    # JPEG of a picture that is off by a level here and there.
    assert difference(seen("screenshot", soft), given).mean() < 1


def test_blur_median_and_bits_are_those_of_pillow(pixels):
    picture = Image.fromarray(pixels)
    inner = slice(4, -4), slice(4, -4)
    median = np.asarray(picture.filter(ImageFilter.MedianFilter(3)))
    assert np.array_equal(seen("median", pixels)[inner], median[inner])
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(1)))  # three boxes, almost a Gaussian
    assert difference(seen("blur", pixels, sigma=1)[inner], soft[inner]).mean() < 2
    assert len(np.unique(seen("bits", pixels, bits=2))) <= 4


def test_a_rotation_is_that_of_the_purifier():
    rows, columns = np.mgrid[:60, :90]
    smooth = (120 + 100 * np.sin(rows / 9) * np.cos(columns / 13)).astype(np.uint8)
    pixels = np.dstack([smooth, smooth.T[:60, :60].repeat(2, 1)[:, :90], smooth[::-1]])
    generator = Generator().manual_seed(0)
    drawn = float(torch.rand((), generator=generator.clone_state()))
    turned = pixels_of(Rotate(10.0)(tensor(pixels), generator))
    expected = RotateFile(10.0 * (2 * drawn - 1))(pixels, 0)
    inner = slice(6, -6), slice(6, -6), 0
    assert difference(turned[inner], expected[inner]).max() <= 3


def test_a_chain_applies_its_views_in_turn(pixels):
    half = {"name": "resize", "options": {"share": 0.5}}
    chain = VIEWS.create(Part("chain", {"views": [half, {"name": "jpeg"}, {"name": "short_side"}]}))
    fitted = chain.fitted(64)
    small = seen("jpeg", seen("resize", pixels, share=0.5))
    expected = pixels_of(ShortSide(64)(tensor(small), RANDOM))
    assert np.array_equal(pixels_of(fitted(tensor(pixels), RANDOM)), expected)
    # Halving a short side of 100 leaves 50: finer frequencies do not reach the model.
    assert fitted.fed_side(100) == 50
    assert fitted.fed_side(1000) == 64
    assert not chain.random
    assert VIEWS.create(Part("chain", {"views": [{"name": "noise"}]})).random


@pytest.mark.parametrize(
    ("views", "error", "match"),
    [
        ([], UsageError, "at least one view, got none"),
        ([{"options": {}}], UsageError, "tables with a name"),
        (
            [{"name": "jpeg", "quality": 3}],
            UnknownName,
            "of a chain's view named 'quality'",
        ),
        ([{"name": "jpg"}], UnknownName, "did you mean 'jpeg'"),
        (5, UsageError, "needs a list of views, got 5"),
        ([{"name": 5}], UsageError, "tables with a name"),
        ([{"name": "jpeg", "options": 5}], UsageError, "options must be a table, got 5"),
    ],
)
def test_a_wrong_chain_is_refused(views, error, match):
    with pytest.raises(error, match=match):
        VIEWS.create(Part("chain", {"views": views}))


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("jpeg", {"quality": 0}, "from 1 to 100, got 0"),
        ("jpeg", {"quality": 75.5}, "quality must be a whole number, got 75.5"),
        ("jpeg", {"subsampling": "4:1:1"}, "4:4:4 or 4:2:2 or 4:2:0, got '4:1:1'"),
        ("short_side", {"times": float("nan")}, "finite times above 0, got nan"),
        ("short_side", {"times": float("inf")}, "finite times above 0, got inf"),
        ("tiles", {"down": 1.5}, "down must be a whole number, got 1.5"),
        ("resize", {"share": 0}, "above 0 and up to 4, got 0"),
        ("fit", {"width": 0, "height": 9}, "1 x 1 pixel or more, got 0 x 9"),
        ("resize", {"kernel": "cubic"}, "bicubic, bilinear, area, got 'cubic'"),
        ("crop_resize", {"share": 1.5}, "up to 1, got 1.5"),
        ("rotate", {"degrees": 60.0}, "below 45, got 60"),
        ("blur", {"sigma": 0}, "above 0 and up to 50, got 0"),
        ("noise", {"levels": -1}, "above 0 and up to 255, got -1"),
        ("bits", {"bits": 9}, "1 to 8 bits, got 9"),
        ("gamma", {"exponent": 0.1}, "from 0.2 to 5, got 0.1"),
    ],
)
def test_options_out_of_range_are_refused(name, options, match):
    with pytest.raises(UsageError, match=match):
        VIEWS.create(Part(name, options))


@pytest.mark.parametrize("name", ["crop_resize", "rotate"])
def test_a_mask_is_cut_as_its_photo_after_noise(name):
    """Though noise takes more random numbers for three channels than for one."""
    chain = VIEWS.create(Part("chain", {"views": [{"name": "noise"}, {"name": name}]}))
    mask = torch.zeros(1, 1, 64, 80)
    mask[..., 20:40, 30:60] = 1
    cut = chain(mask, torch.Generator().manual_seed(3)) > 0.5
    photo = chain(mask.expand(-1, 3, -1, -1), torch.Generator().manual_seed(3)) > 0.5
    assert cut.any()
    assert not torch.equal(cut, mask > 0.5)
    assert (photo == cut).float().mean() > 0.99
