"""Pair metrics in features of trained networks, and features for distances of sets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from photovax.errors import MetricUnavailable
from photovax.extras import package
from photovax.metrics.backbones import LPIPS_FILE, EfficientNetLite0, Lpips
from photovax.metrics.contracts import PAIR_METRICS
from photovax.models.views import resize
from photovax.tensors import tensor

__all__ = ["Backbone", "Dists", "Lite0", "LpipsDistance", "load_backbone"]

_LARGEST = 1024  # pixels, since networks need about a hundred floats per pixel
_SMALLEST = 32  # pixels, since the networks halve sides five times


class Backbone(Protocol):
    """A network whose features represent pictures in distances of sets."""

    label: str
    """Name in tables."""

    def features(self, pictures: Iterable[np.ndarray]) -> np.ndarray:
        """Float32 features (N, D) of uint8 pictures (H, W, 3), which may differ in shape."""
        ...


def load_backbone() -> tuple[Backbone | None, MetricUnavailable | None]:
    """The network for distances of sets; or None, and the error that makes it unavailable."""
    try:
        return Lite0(), None
    except MetricUnavailable as error:
        return None, error


@PAIR_METRICS.register("lite0")
class Lite0:
    """Perceptual distance in EfficientNet-Lite0's features, without learned weights.

    The unweighted form of Zhang et al. 2018: features are normalised over channels, their squared
    differences summed over channels, then averaged over places and five stages; in [0, 4].
    Pictures with a side above 1024 pixels are shrunk to that. Figures are not comparable with those
    of other networks.

    Raises:
        MetricUnavailable: If the network's packages are missing or damaged.
    """

    label = "EfficientNet-Lite0 distance (unweighted)"
    higher_is_closer = False
    compares_edits = True

    def __init__(self) -> None:
        self._network = EfficientNetLite0()

    @torch.inference_mode()
    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape; None below 32 pixels a side."""
        if min(first.shape[:2]) < _SMALLEST:
            return None
        stages = zip(*(self._network.stages(_fed(p)) for p in (first, second)), strict=True)
        distances = [(_unit(one) - _unit(other)).square().sum(1).mean() for one, other in stages]
        return float(torch.stack(distances).mean())

    @torch.inference_mode()
    def features(self, pictures: Iterable[np.ndarray]) -> np.ndarray:
        """Float32 features (N, 1280) of uint8 pictures (H, W, 3), each resized to 224 x 224."""
        found = [self._network.pooled(resize(tensor(picture), 224, 224)) for picture in pictures]
        return torch.cat(found).numpy() if found else np.empty((0, 1280), dtype=np.float32)


@PAIR_METRICS.register("lpips")
class LpipsDistance:
    """LPIPS of two pictures, which are shrunk where a side has more than 1024 pixels.

    Args:
        weights: Folder of ``lpips-alex.safetensors``.

    Raises:
        MetricUnavailable: If the file is missing or damaged.
    """

    label = "LPIPS (AlexNet)"
    higher_is_closer = False
    compares_edits = True

    def __init__(self, weights: Path | None = None) -> None:
        if weights is None:
            raise MetricUnavailable(
                f"metric lpips needs the folder of its weights, {LPIPS_FILE}",
                hint="name it with --weights FOLDER",
            )
        self._network = Lpips(weights / LPIPS_FILE).eval()

    @torch.inference_mode()
    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape; None below 32 pixels a side."""
        if min(first.shape[:2]) < _SMALLEST:
            return None
        return float(self._network(_fed(first), _fed(second)))


@PAIR_METRICS.register("dists")
class Dists:
    """DISTS (Ding et al. 2020) by torchmetrics, at a short side of 256 pixels as its authors do.

    Nothing is downloaded: the weights of torchvision's VGG16 must be in torch's cache.

    Raises:
        MetricUnavailable: If torchvision or its VGG16 is missing.
    """

    label = "DISTS (VGG16)"
    higher_is_closer = False
    compares_edits = True

    def __init__(self) -> None:
        vision = package(
            "torchvision.models",
            install="torchvision",
            user="metric dists",
            error=MetricUnavailable,
        )
        address = vision.VGG16_Weights.DEFAULT.url
        file = Path(torch.hub.get_dir(), "checkpoints", address.rsplit("/", 1)[1])
        if not file.exists():
            raise MetricUnavailable(
                f"metric dists needs the file {file}",
                hint=f"type: curl --create-dirs -o {file} {address}",
            )
        from torchmetrics.image.dists import DeepImageStructureAndTextureSimilarity

        self._network: Any = DeepImageStructureAndTextureSimilarity()

    @torch.inference_mode()
    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape; None below 32 pixels a side."""
        height, width = first.shape[:2]
        if min(height, width) < _SMALLEST:
            return None
        scale = min(1.0, 256 / min(height, width))
        sides = round(height * scale), round(width * scale)
        value: Tensor = self._network(*(resize(tensor(p), *sides) for p in (first, second)))
        self._network.reset()
        return float(value)


def _fed(picture: np.ndarray) -> Tensor:
    """Float32 (1, 3, H, W) in [0, 1], with no side above ``_LARGEST`` pixels."""
    scale = min(1.0, _LARGEST / max(picture.shape))
    height, width = (max(_SMALLEST, round(side * scale)) for side in picture.shape[:2])
    return resize(tensor(picture), height, width)


def _unit(features: Tensor) -> Tensor:
    return features / features.square().sum(1, keepdim=True).sqrt().add(1e-10)
