"""What happens to a picture on its way to a model, differentiably.

A view takes and gives float32 (N, C, H, W) in [0, 1]; its output may have another size. The
loss of an immunization sees the photo through views, so that the change, which lives at the
photo's own size, survives what an editor does before it encodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.pictures.resize import fed_sides
from photovax.registry import Registry

__all__ = [
    "VIEWS",
    "Crop",
    "Identity",
    "ShortSide",
    "Tiles",
    "View",
    "Window",
    "interpolated",
    "resize",
]


@dataclass(frozen=True)
class Window:
    """A rectangle of a photo that a model is fed at once, and the core of it that is its own.

    All in pixels of the photo. What is not core is halo: seen, but another window's.
    """

    top: int
    left: int
    height: int
    width: int
    core_top: int
    core_left: int
    core_height: int
    core_width: int

    @classmethod
    def whole(cls, height: int, width: int) -> Window:
        """The window that is all of a photo with these sides, and all core."""
        return cls(0, 0, height, width, 0, 0, height, width)

    def cut(self, images: Tensor) -> Tensor:
        """What it sees of images (..., H, W); no copy."""
        bottom, right = self.top + self.height, self.left + self.width
        return images[..., self.top : bottom, self.left : right]

    def core_of(self, images: Tensor) -> Tensor:
        """Its core of images (..., H, W); no copy."""
        bottom, right = self.core_top + self.core_height, self.core_left + self.core_width
        return images[..., self.core_top : bottom, self.core_left : right]

    def core_in(self, piece: Tensor) -> Tensor:
        """Its core of what ``cut`` gave; no copy."""
        top, left = self.core_top - self.top, self.core_left - self.left
        return piece[..., top : top + self.core_height, left : left + self.core_width]


class View(Protocol):
    """A change that an image may meet before a model sees it."""

    random: ClassVar[bool] = False
    """Whether two calls with the same image may give different pictures."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The images as the model will see them; random choices come from the generator."""
        ...

    def fitted(self, size: int) -> Self:
        """The view for a model that is fed photos with a short side of ``size`` pixels."""
        return self

    def fed_side(self, short: int) -> int:
        """The short side, in pixels, that a photo with this one is fed at, before it is cut."""
        return short

    def windows(self, height: int, width: int) -> list[Window]:
        """The pieces of a photo with these sides that the loss is taken over, one at a time.

        One whole window means that the photo goes through the view at once; pieces are seen at
        their own size.
        """
        return [Window.whole(height, width)]


VIEWS: Registry[View] = Registry("view")


@VIEWS.register("identity")
@dataclass(frozen=True)
class Identity(View):
    """The photo at its own size."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The images themselves."""
        return images


@VIEWS.register("short_side")
@dataclass(frozen=True)
class ShortSide(View):
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

    def fed_side(self, short: int) -> int:
        """The same for all photos."""
        if self.pixels is None:
            raise UsageError("view short_side has no size yet: give pixels, or fit it to a model")
        return self.pixels

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The resized images."""
        height, width = images.shape[-2:]
        pixels = self.fed_side(min(height, width))
        return resize(images, *fed_sides(height, width, pixels, ratio=self.ratio))


@VIEWS.register("crop")
@dataclass(frozen=True)
class Crop(View):
    """A random rectangle with ``share`` of each side, at the photo's own size."""

    share: float = 0.8
    random: ClassVar[bool] = True

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


@VIEWS.register("tiles")
@dataclass(frozen=True)
class Tiles(View):
    """All of the photo at its own size, in overlapping tiles, as editors that crop feed it.

    It stands for many views at once: the loss is their mean, taken one tile at a time (see
    ``photovax.attack.sweep``), so a step costs as many passes as there are tiles, and moves every
    pixel. Tiles are aligned to multiples of 8 pixels, as latents are, counted from ``down`` and
    ``right``. An encoder answers otherwise where its own grid lies otherwise, and nobody knows
    where it will lie in an adversary's crop: a recipe takes several alignments in turn.

    Attributes:
        side: Of a tile, halo and all, in pixels; the last of a row or column may be up to 7
            larger, and a photo that is smaller is one tile. None: the model's, see ``fitted``.
        halo: Pixels, at least, that a tile sees beyond what it decides about, save at the
            photo's edge. 32 holds what autoencoders see of a place in truth; convolutions alone
            reach further (78 pixels in the embedded one) with next to no weight, and group norms
            and attention see the whole tile, whatever the halo.
        down: Rows at the top that are left out, 0 to 7.
        right: Columns at the left that are left out, 0 to 7.
    """

    side: int | None = None
    halo: int = 32
    down: int = 0
    right: int = 0

    def __post_init__(self) -> None:
        if self.halo < 0:
            raise UsageError(f"view tiles needs a halo of 0 pixels or more, got {self.halo}")
        if self.side is not None and (self.side % 8 or self.side < 2 * self.halo + 8):
            raise UsageError(
                f"view tiles needs a side that is a multiple of 8 and at least 8 above twice the "
                f"halo of {self.halo} pixels, got {self.side}"
            )
        for name, pixels in (("down", self.down), ("right", self.right)):
            if not 0 <= pixels < 8:
                raise UsageError(f"view tiles needs {name} from 0 to 7, got {pixels}")

    def fitted(self, size: int) -> Tiles:
        """The view for a model that is fed photos with a short side of ``size`` pixels.

        Tiles are larger than that where the halo would leave nothing of one.
        """
        least = 8 * math.ceil((2 * self.halo + 8) / 8)
        return self if self.side is not None else replace(self, side=max(size, least))

    def windows(self, height: int, width: int) -> list[Window]:
        """The tiles of a photo with these sides, row by row.

        Their cores cover it once, save for what is left out at the top and left.
        """
        return [
            Window(top, left, tall, wide, core_top, core_left, core_height, core_width)
            for top, tall, core_top, core_height in self._spans(height, self.down)
            for left, wide, core_left, core_width in self._spans(width, self.right)
        ]

    def _spans(self, length: int, shift: int) -> list[tuple[int, int, int, int]]:
        """Start and length of the tiles along one axis, and of their cores."""
        if self.side is None:
            raise UsageError("view tiles has no size yet: give side, or fit it to a model")
        shift = min(shift, length - 1)
        # In blocks of 8 pixels, so that every tile starts on the same grid.
        room = max(0, length - shift - self.side) // 8
        gaps = math.ceil(room / ((self.side - 2 * self.halo) // 8))
        starts = [shift + 8 * (k * room // max(1, gaps)) for k in range(gaps + 1)]
        ends = [start + self.side for start in starts[:-1]] + [length]
        # Cores meet in the middle of what two tiles both see.
        meets = [(end + start) // 2 for end, start in zip(ends, starts[1:], strict=False)]
        cores = pairwise([shift, *meets, length])
        return [
            (start, end - start, core, core_end - core)
            for start, end, (core, core_end) in zip(starts, ends, cores, strict=True)
        ]

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The last tile, as large as any; ``photovax.attack.sweep`` takes the loss through all."""
        return self.windows(*images.shape[-2:])[-1].cut(images)


def interpolated(planes: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resize with antialiasing (Keys kernel, a = -0.5) of values that are no picture's.

    Made smaller as well where the sides are smaller; the planes themselves where they are the same.
    """
    if planes.shape[-2:] == (height, width):
        return planes
    return F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resize with antialiasing (Keys kernel, a = -0.5), clipped to [0, 1].

    The same definition as Pillow's BICUBIC before its rounding to 8 bits.
    """
    if images.shape[-2:] == (height, width):
        return images
    resized = interpolated(images, height, width)
    # Overshoot at edges is clipped by whatever hands the picture on as 8 bits. Clamping only
    # what lies outside keeps the gradient of everything that lies inside.
    return resized.clamp(0, 1)
