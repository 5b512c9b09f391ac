"""What tests of transformers share."""

import pytest
import torch
from torch import Generator

from tests.models.transformer.pipelines import take_small_pictures
from tests.models.transformer.untrained import (
    KINDS,
    SIZE,
    flow,
)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def denoiser(kind, folders):
    return flow(folders[kind])


@pytest.fixture(scope="module")
def image():
    levels = torch.randint(256, (1, 3, *SIZE), generator=Generator().manual_seed(1))
    return levels / 255


@pytest.fixture(scope="module")
def repaint():
    mask = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    mask[..., 5:25, 10:35] = True
    return mask


@pytest.fixture
def small_pictures(monkeypatch):
    """Pipelines that would refuse or enlarge pictures as small as these take them as they are."""
    take_small_pictures(monkeypatch)
