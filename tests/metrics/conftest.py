"""Fixtures of metrics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from photovax.metrics.backbones import LPIPS_FILE
from tests.metrics.samples import ALEXNET, sample


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return sample(192, 192)


@pytest.fixture(scope="session")
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
