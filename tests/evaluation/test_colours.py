"""Names of colours."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab

from photovax.evaluation.colours import COLOURS, lab, name_colour


def test_lab_agrees_with_scikit_image():
    rgb = np.random.default_rng(0).random((200, 3))
    np.testing.assert_allclose(lab(torch.from_numpy(rgb)).numpy(), rgb2lab(rgb[None])[0], atol=0.02)


@pytest.mark.parametrize("name", COLOURS)
def test_every_example_has_its_own_name(name):
    for example in COLOURS[name]:
        assert name_colour(torch.tensor(example) / 255) == name
