"""Distances and features of trained networks."""

import numpy as np
import pytest
import skimage.data
import torch

from photovax.errors import MetricUnavailable
from photovax.metrics.backbones import EfficientNetLite0
from photovax.metrics.perceptual import Lite0
from photovax.models.views import resize


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
