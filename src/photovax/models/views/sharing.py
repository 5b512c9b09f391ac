"""Views of what sending and posting a photo does to it: compression, resizing, named chains."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.models.views.chain import Chain
from photovax.models.views.compressed import compressed
from photovax.models.views.contract import VIEWS, View
from photovax.models.views.resampling import resampled
from photovax.pictures.chains import chain_named
from photovax.pictures.compression import Compression, Kind
from photovax.pictures.resize import fitting_sides

__all__ = ["Fit", "Lossy", "Resized"]


@dataclass(frozen=True)
class Lossy(View):
    """The photo as a lossy file shows it, by the real codec; see ``compressed`` for the gradient.

    Source: Shin and Song, *JPEG-resistant Adversarial Images* (NIPS workshop 2017), with a
    straight-through gradient instead of a smooth approximation of rounding.

    Attributes:
        kind: Pillow's name of the format: JPEG, WEBP or AVIF.
        quality: Quality, 1 to 100.
        subsampling: Resolution of the colours: ``4:4:4``, ``4:2:2`` or ``4:2:0``.

    Raises:
        UsageError: If an option is out of range.
    """

    kind: Kind
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
    """The photo as a JPEG file shows it, by libjpeg.

    Args:
        quality: Quality of libjpeg, 1 to 100.
        subsampling: Resolution of the colours: ``4:4:4``, ``4:2:2`` or ``4:2:0``.
    """
    return Lossy("JPEG", quality, subsampling)


def _webp(quality: int = 80) -> Lossy:
    """The photo as a lossy WebP file shows it.

    Args:
        quality: Quality of libwebp, 1 to 100.
    """
    return Lossy("WEBP", quality)


def _avif(quality: int = 75) -> Lossy:
    """The photo as a lossy AVIF file shows it.

    Args:
        quality: Quality as in Pillow, 1 to 100.
    """
    return Lossy("AVIF", quality)


VIEWS.register("jpeg")(_jpeg)
VIEWS.register("webp")(_webp)
VIEWS.register("avif")(_avif)

_KERNELS = ("bicubic", "bilinear", "area")


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
        height, width = (max(1, round(side * self.share)) for side in images.shape[-2:])
        return resampled(images, height, width, self.kernel).clamp(0, 1)


@VIEWS.register("fit")
@dataclass(frozen=True)
class Fit(View):
    """The photo shrunk to fit into a box, as platforms bound sizes; smaller photos keep theirs.

    The interpolation is bilinear with antialiasing.

    Attributes:
        width: Largest width in pixels, 1 or more.
        height: Largest height in pixels, 1 or more.

    Raises:
        UsageError: If a side is out of range.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise UsageError(
                f"view fit needs a box of 1 x 1 pixel or more, got {self.width} x {self.height}"
            )

    def fed_side(self, short: int) -> int:
        """The short side, at most that of the box; an elongated photo is fed less."""
        return min(short, self.width, self.height)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The shrunk images, or those that fit as they are."""
        height, width = images.shape[-2:]
        sides = fitting_sides(height, width, self.height, self.width)
        if sides == (height, width):
            return images
        return resampled(images, *sides, "bilinear").clamp(0, 1)


@VIEWS.register("screenshot")
def _screenshot(share: float = 0.75, quality: int = 85) -> Chain:
    """A photo shrunk as browsers fit it to a page, and saved as JPEG.

    Args:
        share: Share of each side, above 0 and up to 4.
        quality: Quality of libjpeg, 1 to 100.
    """
    return Chain((Resized(share, "bilinear"), _jpeg(quality)))


@VIEWS.register("shared")
def _shared(chain: str) -> Chain:
    """A photo as a named chain of ``photovax.pictures.chains`` leaves it.

    Args:
        chain: Name of the chain, such as ``telegram``.

    Raises:
        UnknownName: If there is no such chain.
    """
    return Chain(tuple(VIEWS.create(step) for step in chain_named(chain).steps))
