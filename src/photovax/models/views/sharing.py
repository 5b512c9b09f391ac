"""Views of what sending and posting a photo does to it: compression and resizing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.models.views.compressed import compressed
from photovax.models.views.contract import VIEWS, View
from photovax.pictures.compression import Compression

__all__ = ["Lossy", "Resized"]


@dataclass(frozen=True)
class Lossy(View):
    """The photo as a lossy file shows it, by the real codec; see ``compressed`` for the gradient.

    Source: Shin and Song, *JPEG-resistant Adversarial Images* (NIPS workshop 2017), with a
    straight-through gradient instead of a smooth approximation of rounding.

    Attributes:
        kind: Pillow's name of the format: JPEG or WEBP.
        quality: Quality, 1 to 100.
        subsampling: Resolution of the colours: ``4:4:4``, ``4:2:2`` or ``4:2:0``.

    Raises:
        UsageError: If an option is out of range.
    """

    kind: Literal["JPEG", "WEBP"]
    quality: int = 75
    subsampling: str = "4:2:0"

    def __post_init__(self) -> None:
        _ = self._compression

    @property
    def _compression(self) -> Compression:
        return Compression(self.kind, self.quality, subsampling=self.subsampling, compact=False)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The decoded images."""
        return compressed(images, self._compression)


def _jpeg(quality: int = 75, subsampling: str = "4:2:0") -> Lossy:
    return Lossy("JPEG", quality, subsampling)


def _webp(quality: int = 80) -> Lossy:
    return Lossy("WEBP", quality)


VIEWS.register("jpeg")(_jpeg)
VIEWS.register("webp")(_webp)

_KERNELS = {
    "bicubic": partial(F.interpolate, mode="bicubic", antialias=True),
    "bilinear": partial(F.interpolate, mode="bilinear", antialias=True),
    "area": partial(F.interpolate, mode="area"),
}


@VIEWS.register("resize")
@dataclass(frozen=True)
class Resized(View):
    """The photo at a share of its size, as it is sent or shown; it keeps the new size.

    Attributes:
        share: Share of each side, above 0 and up to 4.
        kernel: Interpolation: ``bicubic`` or ``bilinear`` with antialiasing, or ``area``.

    Raises:
        UsageError: If an option is out of range.
    """

    share: float = 0.5
    kernel: str = "bicubic"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 4:
            raise UsageError(f"view resize needs a share above 0 and up to 4, got {self.share:g}")
        if self.kernel not in _KERNELS:
            raise UsageError(
                f"view resize needs a kernel of {', '.join(_KERNELS)}, got {self.kernel!r}"
            )

    def fed_side(self, short: int) -> int:
        """The share of the short side."""
        return max(1, round(short * self.share))

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The resized images."""
        size = [max(1, round(side * self.share)) for side in images.shape[-2:]]
        return _KERNELS[self.kernel](images, size=size).clamp(0, 1)
