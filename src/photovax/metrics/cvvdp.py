"""ColorVideoVDP's package as it can be used here: without torchvision, in silence, from threads."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.errors import MetricUnavailable
from photovax.extras import package
from photovax.machine.allocator import returned_memory

__all__ = ["GaussianBlur", "load_cvvdp", "predict_jod"]

_LOCK = RLock()  # a meter keeps the pyramid of the size that it is measuring
_BORROWED = ("torchvision", "torchvision.ops", "torchvision.transforms")
_LOGGING = ("cvvdp_metric", "display_model", "utils", "video_source")


class GaussianBlur:
    """What ColorVideoVDP takes of torchvision, for machines on which that does not import.

    As ``torchvision.transforms.GaussianBlur`` with one sigma: taps of a Gaussian that add up to 1,
    and a border that mirrors the picture without repeating its edge.

    Args:
        kernel_size: Number of taps, odd.
        sigma: Standard deviation, in pixels.
    """

    def __init__(self, kernel_size: int, sigma: float) -> None:
        places = torch.arange(kernel_size) - kernel_size // 2
        taps = torch.exp(-(places**2) / (2 * sigma**2))
        self._taps = taps / taps.sum()

    def forward(self, images: Tensor) -> Tensor:
        """Blurred images (..., H, W); a side must have more pixels than half the taps."""
        taps = self._taps.to(images)
        planes = images.reshape(-1, 1, *images.shape[-2:])
        planes = F.pad(planes, (len(taps) // 2,) * 4, mode="reflect")
        rows = F.conv2d(planes, taps.view(1, 1, 1, -1))
        return F.conv2d(rows, taps.view(1, 1, -1, 1)).reshape(images.shape)


def load_cvvdp() -> Any:
    """The module ``pycvvdp``, with nothing left behind that others might take for torchvision.

    Raises:
        MetricUnavailable: If it, or a package that it needs, is missing.
    """
    with _LOCK:
        return _loaded()


def predict_jod(original: np.ndarray, changed: np.ndarray, display: str) -> float:
    """ColorVideoVDP of two still pictures, in just-objectionable differences (JOD); 10 is equal.

    Args:
        original: uint8 (H, W, 3), sRGB, from two pixels a side on.
        changed: The same.
        display: The name of one of the package's display models.

    Raises:
        MetricUnavailable: If the package, or one that it needs, is missing.
    """
    test, reference = (torch.from_numpy(picture.copy()) for picture in (changed, original))
    with _LOCK, torch.no_grad(), returned_memory():
        return float(_meter(display).predict(test, reference, dim_order="HWC")[0])


@cache
def _meter(display: str) -> Any:
    return load_cvvdp().cvvdp(display_name=display, device=torch.device("cpu"), quiet=True)


@cache
def _loaded() -> Any:
    path = list(sys.path)
    try:
        with _some_torchvision():
            module = package(
                "pycvvdp",
                install="photovax[visibility]",
                user="metric jod",
                error=MetricUnavailable,
            )
    finally:
        # It adds its own folder, in which there is a utils.py.
        sys.path[:] = path
    # It logs through the root logger, which sets that up where the program has not, and warns of
    # every dark photo.
    quiet = logging.getLogger("pycvvdp")
    quiet.setLevel(logging.CRITICAL)
    for name in _LOGGING:
        vars(getattr(module, name))["logging"] = quiet
    return module


@contextmanager
def _some_torchvision() -> Iterator[None]:
    """Inside, torchvision imports: the real one, or one with no more than is needed here.

    ColorVideoVDP takes one Gaussian blur from it, and for two networks that are not used here
    ``MLP``. Beside a torch of another build, torchvision raises RuntimeError.
    """
    before = {name: module for name, module in sys.modules.items() if _of_torchvision(name)}
    try:
        for name in _BORROWED:
            importlib.import_module(name)
    except (ImportError, RuntimeError, OSError):
        _restore(before)
    else:
        yield
        return
    vision, ops, transforms = modules = [ModuleType(name) for name in _BORROWED]
    vars(ops)["MLP"] = torch.nn.Module
    vars(transforms)["GaussianBlur"] = GaussianBlur
    vars(vision).update(ops=ops, transforms=transforms)
    sys.modules.update(zip(_BORROWED, modules, strict=True))
    try:
        yield
    finally:
        # Others ask sys.modules whether torchvision is there.
        _restore(before)


def _restore(before: dict[str, ModuleType]) -> None:
    for name in [name for name in sys.modules if _of_torchvision(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def _of_torchvision(name: str) -> bool:
    return name.partition(".")[0] == "torchvision"
