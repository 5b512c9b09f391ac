"""Views of a photo at its own size, resized, cropped, or in tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.models.views.contract import VIEWS, View, Window
from photovax.models.views.resampling import resize
from photovax.pictures.resize import fed_sides

__all__ = ["Crop", "Identity", "ShortSide", "Tiles"]


@VIEWS.register("identity")
@dataclass(frozen=True)
class Identity(View):
    """The photo at its own size, unchanged."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The images unchanged."""
        return images


@VIEWS.register("short_side")
@dataclass(frozen=True)
class ShortSide(View):
    """The whole photo resized to a short side of ``pixels``, as editors load photos.

    Both sides are rounded to multiples of 8, as latents require. The long side is at most ``ratio``
    times the short side; longer photos are squeezed, so that they fit into memory.

    Attributes:
        pixels: Short side, a multiple of 8; that of the model times ``times`` when None.
        times: Factor of the model's short side, above 0.
        ratio: Largest ratio of the long side to the short side.

    Raises:
        UsageError: If an option is out of range.
    """

    pixels: int | None = None
    times: float = 1.0
    ratio: float = 4.0

    def __post_init__(self) -> None:
        if self.pixels is not None and (self.pixels < 8 or self.pixels % 8):
            raise UsageError(f"view short_side needs a multiple of 8 pixels, got {self.pixels}")
        if not 0 < self.times < math.inf:
            raise UsageError(f"view short_side needs finite times above 0, got {self.times:g}")

    def fitted(self, size: int) -> ShortSide:
        """The view for a model whose input has a short side of ``size`` pixels."""
        if self.pixels is not None:
            return self
        return replace(self, pixels=max(8, round(size * self.times / 8) * 8))

    def fed_side(self, short: int) -> int:
        """``pixels``, for all photos.

        Raises:
            UsageError: If the view has neither ``pixels`` nor been fitted to a model.
        """
        if self.pixels is None:
            raise UsageError("view short_side has no size: give pixels, or fit it to a model")
        return self.pixels

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The resized images."""
        height, width = images.shape[-2:]
        pixels = self.fed_side(min(height, width))
        return resize(images, *fed_sides(height, width, pixels, ratio=self.ratio))


@VIEWS.register("crop")
@dataclass(frozen=True)
class Crop(View):
    """A random crop, not resized.

    Attributes:
        share: Share of the photo's height and width, above 0 and up to 1.

    Raises:
        UsageError: If the share is out of range.
    """

    share: float = 0.8
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"view crop needs a share above 0 and up to 1, got {self.share}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The crop; the generator draws its position."""
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
    """The photo at its own size in overlapping tiles, as editors that crop are fed it.

    The loss is the mean over all tiles, computed one tile at a time: see ``photovax.attack.sweep``.
    A step takes as many passes as there are tiles. Tiles are aligned to multiples of 8 pixels, as
    latents are, counted from ``down`` and ``right``. An encoder returns different latents for a
    different alignment, and that of an adversary's crop is unknown: a recipe should use several
    alignments in turn.

    Attributes:
        side: Side of a tile with its halo, in pixels, a multiple of 8; the model's own when None.
            The last tile of a row or column may be up to 7 pixels larger. A smaller photo is one
            tile.
        halo: Least width of the margin around a tile's core, in pixels; there is none at the edge
            of the photo. 32 pixels contain most of the influence on a latent. The receptive field
            of the embedded model's convolutions is larger (78 pixels) with small weights; group
            norms and attention depend on the whole tile.
        down: Number of rows left out at the top, 0 to 7.
        right: Number of columns left out at the left, 0 to 7.

    Raises:
        UsageError: If an option is out of range.
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
        """The view for a model whose input has a short side of ``size`` pixels.

        Tiles are larger than ``size`` if the halo would leave no core otherwise.
        """
        least = 8 * math.ceil((2 * self.halo + 8) / 8)
        return self if self.side is not None else replace(self, side=max(size, least))

    def windows(self, height: int, width: int) -> list[Window]:
        """The tiles of a photo of this size, row by row.

        Their cores contain each pixel once, except the rows and columns that are left out.
        """
        return [
            Window(top, left, tall, wide, core_top, core_left, core_height, core_width)
            for top, tall, core_top, core_height in self._spans(height, self.down)
            for left, wide, core_left, core_width in self._spans(width, self.right)
        ]

    def _spans(self, length: int, shift: int) -> list[tuple[int, int, int, int]]:
        """Start and length of the tiles along one axis, then of their cores."""
        if self.side is None:
            raise UsageError("view tiles has no size: give side, or fit it to a model")
        shift = min(shift, length - 1)
        # Counted in blocks of 8 pixels, so that every tile starts on the same grid.
        room = max(0, length - shift - self.side) // 8
        gaps = math.ceil(room / ((self.side - 2 * self.halo) // 8))
        starts = [shift + 8 * (k * room // max(1, gaps)) for k in range(gaps + 1)]
        ends = [start + self.side for start in starts[:-1]] + [length]
        # Cores meet in the middle of the overlap of two tiles.
        meets = [(end + start) // 2 for end, start in zip(ends, starts[1:], strict=False)]
        cores = pairwise([shift, *meets, length])
        return [
            (start, end - start, core, core_end - core)
            for start, end, (core, core_end) in zip(starts, ends, cores, strict=True)
        ]

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The last tile, which is as large as any; ``photovax.attack.sweep`` uses all tiles."""
        return self.windows(*images.shape[-2:])[-1].cut(images)
