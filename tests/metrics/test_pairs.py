"""Pair metrics that are formulas, compared with piq."""

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from photovax.checks.noise import noisy
from photovax.metrics.pairs import fsim, ms_ssim, vifp
from tests.metrics.samples import sample


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

    monkeypatch.undo()  # torchmetrics looks for torchvision, too
    yield piq
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "piq":
            del sys.modules[name]


@pytest.mark.parametrize("size", [(256, 256), (193, 181), (400, 385)])
def test_similarities_equal_those_of_piq(piq, size):
    first = sample(*size)
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
