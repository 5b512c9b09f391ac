"""FLIP and ColorVideoVDP's JOD, against the packages that they come from."""

import importlib
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate1d
from typer.testing import CliRunner

from photovax.checks.noise import noisy
from photovax.cli import app
from photovax.errors import MetricUnavailable, UsageError
from photovax.metrics import cvvdp, visibility
from photovax.metrics.distortion import psnr
from photovax.metrics.visibility import (
    VIEWING,
    Flip,
    Jod,
    VisibleDifference,
    flip,
    flip_picture,
    jod,
    shown,
    visible_difference,
    words,
)
from photovax.pictures.display import FULL_HD, UHD_4K
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE

needs_flip = pytest.mark.skipif(
    find_spec("flip_evaluator") is None, reason="needs pip install flip-evaluator"
)
needs_cvvdp = pytest.mark.skipif(find_spec("pycvvdp") is None, reason="needs pip install cvvdp")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    with Image.open(SAMPLE) as sample:
        pixels = np.array(sample.convert("RGB").resize((150, 100), Image.Resampling.LANCZOS))
    pixels.setflags(write=False)
    return pixels


@pytest.fixture
def anew() -> Any:
    """The package is imported anew, and again after the test."""

    def forget() -> None:
        cvvdp._loaded.cache_clear()
        cvvdp._meter.cache_clear()
        for name in [name for name in sys.modules if name.split(".")[0] == "pycvvdp"]:
            del sys.modules[name]

    forget()
    yield
    forget()


@needs_flip
def test_flip_is_that_of_its_package(photo):
    import flip_evaluator

    changed = noisy(photo, 16, 1)
    pair = [picture.astype(np.float32) / 255 for picture in (photo, changed)]
    parameters = {"ppd": FULL_HD.pixels_per_degree}
    found, mean, _ = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, parameters=parameters)
    assert flip(photo, changed) == Flip()(photo, changed) == pytest.approx(mean, abs=1e-7)
    assert mean == pytest.approx(found.mean(), abs=1e-5)
    coloured, *_ = flip_evaluator.evaluate(*pair, "LDR", parameters=parameters)
    picture = flip_picture(photo, changed)
    assert picture.dtype == np.uint8
    assert np.abs(picture / 255 - coloured).max() <= 0.5 / 255 + 1e-6


@needs_cvvdp
@pytest.mark.parametrize("display", [FULL_HD, UHD_4K])
def test_jod_is_that_of_its_package(photo, display):
    changed = noisy(photo, 16, 1)
    metric = cvvdp.load_cvvdp().cvvdp(display_name=display.name, device=torch.device("cpu"))
    expected, _ = metric.predict(changed, photo.copy(), dim_order="HWC")
    assert jod(photo, changed, display) == pytest.approx(float(expected), abs=1e-5)


@needs_cvvdp
@pytest.mark.parametrize("display", [FULL_HD, UHD_4K])
def test_displays_are_those_of_the_package(display):
    model = cvvdp.load_cvvdp().vvdp_display_geometry.load(display.name)
    assert model.resolution == (display.width, display.height)
    assert model.distance_m == display.distance
    assert model.get_ppd() == pytest.approx(display.pixels_per_degree)


@pytest.mark.parametrize(("taps", "sigma"), [(13, 3), (5, 0.7)])
def test_the_blur_is_a_gaussian_with_a_mirrored_border(taps, sigma):
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    weights = np.exp(-0.5 * (np.linspace(-(taps // 2), taps // 2, taps) / sigma) ** 2)
    weights /= weights.sum()
    expected = images.double().numpy()
    for axis in (2, 3):
        expected = correlate1d(expected, weights, axis=axis, mode="mirror")
    found = cvvdp.GaussianBlur(taps, sigma).forward(images)
    assert found.shape == images.shape
    assert np.abs(found.numpy() - expected).max() < 1e-6


def test_the_blur_is_that_of_torchvision():
    try:
        transforms = importlib.import_module("torchvision.transforms")
    except (ImportError, RuntimeError, OSError) as error:  # beside a torch of another build
        pytest.skip(str(error))
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    found = cvvdp.GaussianBlur(13, 3).forward(images)
    assert torch.allclose(transforms.GaussianBlur(13, 3)(images), found, atol=1e-6)


@needs_cvvdp
@needs_flip
def test_more_noise_is_seen_more_and_equal_pictures_are_not(photo):
    found = [visible_difference(photo, noisy(photo, levels, 1)) for levels in (0, 4, 16, 48)]
    assert (found[0].jod_4k, found[0].jod_fhd, found[0].flip) == (10, 10, 0)
    for one, other in pairwise(found):
        assert one.jod_fhd is not None
        assert other.jod_fhd is not None
        assert one.flip is not None
        assert other.flip is not None
        assert one.jod_fhd > other.jod_fhd
        assert one.flip < other.flip


@pytest.mark.parametrize(
    ("size", "full_hd", "uhd"),
    [
        ((1920, 1080), (1920, 1080), (1920, 1080)),
        ((1080, 1920), (1080, 1920), (1080, 1920)),
        ((1500, 1000), (1500, 1000), (1500, 1000)),
        ((4000, 3000), (1440, 1080), (2880, 2160)),
        ((3000, 4000), (1080, 1440), (2160, 2880)),
        ((9600, 10), (1920, 2), (3840, 4)),
        ((1, 9600), (1, 1920), (1, 3840)),
    ],
)
def test_photos_are_shrunk_to_the_display_turned_as_they_are(size, full_hd, uhd):
    picture = np.zeros((size[1], size[0], 1), np.uint8)
    for display, (width, height) in ((FULL_HD, full_hd), (UHD_4K, uhd)):
        assert shown(picture, display).shape == (height, width, 3)


@needs_cvvdp
@needs_flip
def test_a_large_photo_is_measured_as_a_display_shows_it():
    small = np.random.default_rng(0).integers(0, 256, (13, 250, 3), np.uint8)
    large = np.array(Image.fromarray(small).resize((2000, 104), Image.Resampling.BICUBIC))
    changed = noisy(large, 24, 1)
    one, other = (
        np.array(Image.fromarray(picture).resize((1920, 100), Image.Resampling.BICUBIC))
        for picture in (large, changed)
    )
    # Pillow rounds to 8 bits after each direction, so levels differ by one here and there.
    assert psnr(shown(large, FULL_HD), one) > 50
    shrunk = shown(large, FULL_HD), shown(changed, FULL_HD)
    found = visible_difference(large, changed)
    assert (found.jod_fhd, found.flip) == (jod(*shrunk), flip(*shrunk))
    assert found.jod_fhd == pytest.approx(jod(one, other), abs=0.01)
    assert found.flip == pytest.approx(flip(one, other), abs=1e-3)
    assert found.jod_4k == jod(large, changed, UHD_4K)


def test_4k_is_left_out_where_it_would_show_too_many_pixels():
    picture = np.zeros((1600, 2000, 1), np.uint8)
    assert jod(picture, picture, UHD_4K) is None


@needs_cvvdp
@needs_flip
def test_grey_photos_are_seen_as_grey_in_colour(photo):
    grey = np.ascontiguousarray(photo[..., 1:2])
    changed = noisy(grey, 16, 1)
    found = visible_difference(grey, changed)
    assert found == visible_difference(*(picture.repeat(3, axis=2) for picture in (grey, changed)))
    assert found.jod is not None


@needs_cvvdp
@needs_flip
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (3, 500, 3), (500, 1, 1)])
def test_tiny_pictures_have_no_jod(shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = visible_difference(picture, noisy(picture, 16, 1))
    assert (found.jod_4k, found.jod_fhd, found.jod, found.left_out) == (None, None, None, None)
    assert found.flip is not None
    assert 0 <= found.flip <= 1
    assert found.line == f"FLIP {found.flip:.2f}"


def test_pictures_of_two_shapes_are_refused(photo):
    for measure in (visible_difference, jod, flip, flip_picture):
        with pytest.raises(UsageError, match="cannot compare"):
            measure(photo, photo[1:])


@pytest.mark.parametrize(
    ("module", "metric", "measure"), [("pycvvdp", Jod, jod), ("flip_evaluator", Flip, flip)]
)
def test_without_the_package_one_line_says_what_to_type(
    module, metric, measure, photo, monkeypatch, anew
):
    monkeypatch.setitem(sys.modules, module, None)
    for refused in (metric, lambda: measure(photo, photo)):
        with pytest.raises(MetricUnavailable, match=f"needs the package {module}") as caught:
            refused()
        assert caught.value.hint == 'type: pip install "photovax[visibility]"'


def test_without_packages_all_else_works(photo_file, monkeypatch, anew):
    for module in ("pycvvdp", "flip_evaluator"):
        monkeypatch.setitem(sys.modules, module, None)
    pixels = read_photo(photo_file).pixels
    found = visible_difference(pixels, pixels)
    assert found == VisibleDifference(None, None, None, 'pip install "photovax[visibility]"')
    asked = ["check", str(photo_file), "--original", str(photo_file), "--size", "64"]
    said = CliRunner().invoke(app, asked).stdout.splitlines()
    assert 'seen: not measured: pip install "photovax[visibility]"' in said
    data = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert data["visible"].items() >= {"jod_4k": None, "jod_fhd": None, "flip": None}.items()


def test_a_saved_photo_is_measured_as_it_is_read_again(immunizer, quick, photo_file, tmp_path):
    result = immunizer.immunize(read_photo(photo_file), quick)
    saved = immunizer.save(result, tmp_path / "out.jpg")
    files = photo_file, saved.path
    found = visible_difference(*(read_photo(file).visible() for file in files))
    assert saved.seen == found
    realised = json.loads(saved.record.read_text())["realised"]
    assert realised.items() >= (found.figures() | {"viewing": VIEWING}).items()
    asked = ["check", str(saved.path), "--original", str(photo_file), "--size", "64"]
    assert f"seen: {found.line}" in CliRunner().invoke(app, asked).stdout.splitlines()
    visible = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["visible"]
    assert visible.items() >= found.figures().items()
    asked = ["immunize", str(photo_file), "-o", str(tmp_path / "o.png"), "--time", "0.001"]
    (line,) = [
        line
        for line in CliRunner().invoke(app, asked).stdout.splitlines()
        if line.startswith("  seen        ")
    ]
    assert line.partition("seen        ")[2].startswith(("JOD ", "FLIP ", "not measured: "))


@needs_cvvdp
@needs_flip
def test_what_would_take_too_much_memory_is_left_out(photo, monkeypatch):
    found = visible_difference(photo, noisy(photo, 16, 1), memory=1)
    assert found.figures() == {"jod_4k": None, "jod_fhd": None, "flip": None}
    assert "0.1 GiB" in found.line
    monkeypatch.setattr(visibility, "available_bytes", lambda: 2**20)
    for metric in (Jod(), Flip()):
        with pytest.raises(MetricUnavailable, match=r"0\.1 GiB of memory"):
            metric(photo, photo)


@needs_cvvdp
def test_nothing_is_left_that_looks_like_torchvision(anew, monkeypatch, photo, capfd):
    """Not in sys.modules, nor in sys.path; and nothing is printed, not even of a dark photo."""
    monkeypatch.setitem(sys.modules, "torchvision", None)  # as good as not installed
    before, path = {name for name in sys.modules if "torchvision" in name}, list(sys.path)
    handlers = list(logging.getLogger().handlers)
    assert Jod()(photo, noisy(photo, 16, 1)) == pytest.approx(jod(photo, noisy(photo, 16, 1)))
    assert jod(np.zeros_like(photo), np.zeros_like(photo)) == 10
    assert {name for name in sys.modules if "torchvision" in name} == before
    assert not sys.modules["torchvision"]
    assert sys.path == path
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


@needs_cvvdp
def test_a_torchvision_that_does_not_import_is_as_good_as_none(anew, monkeypatch, photo, tmp_path):
    (tmp_path / "torchvision").mkdir()
    broken = "import torchvision.extension\nraise RuntimeError('no operator torchvision::nms')"
    (tmp_path / "torchvision/__init__.py").write_text(broken)
    (tmp_path / "torchvision/extension.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert jod(photo, photo) == 10
    assert "torchvision" not in sys.modules
    assert "torchvision.extension" not in sys.modules


@needs_cvvdp
def test_threads_do_not_disturb_each_other(photo):
    pairs = [(photo[:side], noisy(photo[:side], 16, 1)) for side in (40, 60, 80, 100)] * 2
    expected = [jod(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda pair: jod(*pair), pairs)) == expected


@needs_cvvdp
def test_a_real_torchvision_is_used_and_stays(anew, monkeypatch, photo):
    class Blur(cvvdp.GaussianBlur):
        """Not ours."""

    vision, ops, transforms = (
        ModuleType(name) for name in ("torchvision", "torchvision.ops", "torchvision.transforms")
    )
    vars(transforms)["GaussianBlur"], vars(ops)["MLP"] = Blur, object
    vars(vision).update(__path__=[], ops=ops, transforms=transforms)
    for module in (vision, ops, transforms):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    cvvdp.load_cvvdp()
    assert importlib.import_module("pycvvdp.cvvdp_metric").GaussianBlur is Blur
    assert sys.modules["torchvision"] is vision


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (10, "not seen by most people"),
        (9.5, "not seen by most people"),
        (9.4, "seen only beside the original"),
        (8.9, "seen by a close look"),
        (7.9, "plainly seen"),
        (-3, "plainly seen"),
    ],
)
def test_words(value, said):
    assert words(value) == said


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (
            VisibleDifference(9.84, 9.41, 0.081),
            "JOD 9.4 (full HD; 9.8 on 4K), FLIP 0.08: seen only beside the original",
        ),
        (VisibleDifference(None, 7.0, 0.2), "JOD 7.0 (full HD), FLIP 0.20: plainly seen"),
        (
            VisibleDifference(9.9, 9.6, None, "do this"),
            "JOD 9.6 (full HD; 9.9 on 4K): not seen by most people; not all measured: do this",
        ),
        (VisibleDifference(None, None, None, "do this"), "not measured: do this"),
    ],
)
def test_the_line_for_people(found, line):
    assert found.line == line


def test_the_viewing_conditions_are_said():
    assert "full HD: 1920 x 1080 pixels, 24 inches from 0.60 m, 37.8 pixels per degree" in VIEWING


def test_a_faulty_package_costs_its_figures_only(photo, monkeypatch):
    def faulty(*_args, **_options):
        raise AttributeError("no such attribute\nand more")

    monkeypatch.setattr("photovax.metrics.visibility.flip", faulty)
    monkeypatch.setattr("photovax.metrics.visibility.jod", faulty)
    found = visible_difference(photo, photo)
    assert (found.jod, found.flip) == (None, None)
    assert found.left_out == "AttributeError: no such attribute"
