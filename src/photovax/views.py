"""What happens to a picture on its way to a model, differentiably.

A view takes and gives float32 (N, C, H, W) in [0, 1]; its output may have another size. The
loss of an immunization sees the photo through views, so that the change, which lives at the
photo's own size, survives what an editor does before it encodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.registry import Registry

__all__ = ["VIEWS", "Crop", "Identity", "ShortSide", "View", "fitted", "resize"]


class View(Protocol):
    """A change that an image may meet before a model sees it."""

    random: bool
    """Whether two calls with the same image may differ."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The images as the model will see them; random choices come from the generator."""
        ...


VIEWS: Registry[View] = Registry("view")


@VIEWS.register("identity")
@dataclass(frozen=True)
class Identity:
    """The photo at its own size."""

    random = False

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The images themselves."""
        return images


@VIEWS.register("short_side")
@dataclass(frozen=True)
class ShortSide:
    """The whole photo resized so that its short side has ``pixels``, as editors load photos.

    Both sides are rounded to multiples of 8, as latents demand. The long side is at most
    ``ratio`` times the short: a panorama is fed squeezed, as it must be to fit a model at all,
    and a photo one pixel wide does not become a million high.

    Attributes:
        pixels: The short side. None: that of the model, times ``times``; see ``fitted``.
        times: For models that are fed photos larger or smaller than they are used to.
        ratio: Largest long side, in short sides.
    """

    pixels: int | None = None
    times: float = 1.0
    ratio: float = 4.0
    random = False

    def __post_init__(self) -> None:
        if self.pixels is not None and (self.pixels < 8 or self.pixels % 8):
            raise UsageError(f"view short_side needs a multiple of 8 pixels, got {self.pixels}")
        if self.times <= 0:
            raise UsageError(f"view short_side needs times above 0, got {self.times:g}")

    def fitted(self, size: int) -> ShortSide:
        """The view for a model that is fed photos with a short side of ``size`` pixels."""
        if self.pixels is not None:
            return self
        return replace(self, pixels=max(8, round(size * self.times / 8) * 8))

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The resized images."""
        if self.pixels is None:
            raise UsageError("view short_side has no size yet: give pixels, or fit it to a model")
        height, width = images.shape[-2:]
        scale = self.pixels / min(height, width)
        longest = self.pixels * self.ratio
        sides = (round(min(side * scale, longest) / 8) * 8 for side in (height, width))
        return resize(images, *sides)


@VIEWS.register("crop")
@dataclass(frozen=True)
class Crop:
    """A random rectangle with ``share`` of each side, at the photo's own size."""

    share: float = 0.8
    random = True

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"view crop needs a share above 0 and up to 1, got {self.share}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The cut-out."""
        sizes = [max(1, round(side * self.share)) for side in images.shape[-2:]]
        corners = [
            int(torch.randint(side - size + 1, (), generator=generator, device=generator.device))
            for side, size in zip(images.shape[-2:], sizes, strict=True)
        ]
        (top, left), (height, width) = corners, sizes
        return images[..., top : top + height, left : left + width]


def fitted(view: View, size: int) -> View:
    """The view for a model that is fed photos with a short side of ``size`` pixels."""
    return view.fitted(size) if isinstance(view, ShortSide) else view


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resize with antialiasing (Keys kernel, a = -0.5), clipped to [0, 1].

    The same definition as Pillow's BICUBIC before its rounding to 8 bits.
    """
    if images.shape[-2:] == (height, width):
        return images
    resized = F.interpolate(images, size=(height, width), mode="bicubic", antialias=True)
    # Overshoot at edges is clipped by whatever hands the picture on as 8 bits. Clamping only
    # what lies outside keeps the gradient of everything that lies inside.
    return resized.clamp(0, 1)
