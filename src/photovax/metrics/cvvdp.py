"""ColorVideoVDP's package made usable without torchvision, without output, and from threads."""

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

_LOCK = RLock()  # a meter has state: the pyramid of the current size
_BORROWED = ("torchvision", "torchvision.ops", "torchvision.transforms")
_LOGGING = ("cvvdp_metric", "display_model", "utils", "video_source")


class GaussianBlur:
    """The blur that ColorVideoVDP uses of torchvision, for machines where that does not import.

    Equal to ``torchvision.transforms.GaussianBlur`` with one sigma: the taps of a Gaussian add up
    to 1, and borders mirror the picture without repeating its edge.

    Args:
        kernel_size: Number of taps, odd.
        sigma: Standard deviation, in pixels.
    """

    def __init__(self, kernel_size: int, sigma: float) -> None:
        places = torch.arange(kernel_size) - kernel_size // 2
        taps = torch.exp(-(places**2) / (2 * sigma**2))
        self._taps = taps / taps.sum()

    def forward(self, images: Tensor) -> Tensor:
        """Blur images (..., H, W), whose sides must exceed half the number of taps."""
        taps = self._taps.to(images)
        planes = images.reshape(1, -1, *images.shape[-2:])
        count = planes.shape[1]
        planes = F.pad(planes, (len(taps) // 2,) * 4, mode="reflect")
        # Side by side in memory, planes are blurred in a sixteenth of the time on CPUs.
        planes = planes.contiguous(memory_format=torch.channels_last)
        rows = F.conv2d(planes, taps.expand(count, 1, 1, -1), groups=count)
        columns = F.conv2d(rows, taps.view(-1, 1).expand(count, 1, -1, 1), groups=count)
        return columns.reshape(images.shape)


def load_cvvdp() -> Any:
    """Import ``pycvvdp``, leaving no substitute of torchvision behind in ``sys.modules``.

    Raises:
        MetricUnavailable: If it or a package that it needs is missing.
    """
    with _LOCK:
        return _loaded()


def predict_jod(original: np.ndarray, changed: np.ndarray, display: str) -> float:
    """ColorVideoVDP of two still pictures, in just-objectionable differences (JOD); 10 means equal.

    Args:
        original: The reference, uint8 (H, W, 3), sRGB, with sides of two pixels or more.
        changed: The changed picture, of the same shape.
        display: Name of a display model of the package.

    Raises:
        MetricUnavailable: If the package or one that it needs is missing.
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
        # The package adds its own folder, which holds a utils.py.
        sys.path[:] = path
    # It logs through the root logger, which configures logging where the program has not, and
    # warns about every dark photo.
    quiet = logging.getLogger("pycvvdp")
    quiet.setLevel(logging.CRITICAL)
    for name in _LOGGING:
        vars(getattr(module, name))["logging"] = quiet
    return module


@contextmanager
def _some_torchvision() -> Iterator[None]:
    """A context in which torchvision imports: the real one, or a substitute of what is needed.

    ColorVideoVDP uses a Gaussian blur of it, and ``MLP`` for two networks that are not used here.
    With a torch of another build, importing torchvision raises RuntimeError.
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
        # Other packages look in sys.modules for torchvision.
        _restore(before)


def _restore(before: dict[str, ModuleType]) -> None:
    for name in [name for name in sys.modules if _of_torchvision(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def _of_torchvision(name: str) -> bool:
    return name.partition(".")[0] == "torchvision"
