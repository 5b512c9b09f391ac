"""The contract of views, and their registry."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Protocol, Self

from torch import Generator, Tensor

from photovax.registry import Registry

__all__ = ["VIEWS", "View", "Window"]


@dataclass(frozen=True)
class Window:
    """A rectangle of a photo that a model is fed, and its core.

    The gradient of a pixel comes from the window whose core contains it. The margin around the core
    is the halo. All numbers are in pixels of the photo.

    Attributes:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
        core_top: First row of the core.
        core_left: First column of the core.
        core_height: Number of rows of the core.
        core_width: Number of columns of the core.
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
        """The window whose core is a whole photo of this size."""
        return cls(0, 0, height, width, 0, 0, height, width)

    def scaled(self, factor: int) -> Window:
        """The same window of a picture whose sides are so many times as long."""
        return Window(*(factor * each for each in astuple(self)))

    def cut(self, images: Tensor) -> Tensor:
        """The window of images (..., H, W), not copied."""
        bottom, right = self.top + self.height, self.left + self.width
        return images[..., self.top : bottom, self.left : right]

    def core_of(self, images: Tensor) -> Tensor:
        """The core of images (..., H, W), not copied."""
        bottom, right = self.core_top + self.core_height, self.core_left + self.core_width
        return images[..., self.core_top : bottom, self.core_left : right]

    def core_in(self, piece: Tensor) -> Tensor:
        """The core of a result of ``cut``, not copied."""
        top, left = self.core_top - self.top, self.core_left - self.left
        return piece[..., top : top + self.core_height, left : left + self.core_width]


class View(Protocol):
    """A differentiable transformation of images before a model is fed them.

    Views are hashable and compare equal if their options are equal, as frozen dataclasses do.
    """

    @property
    def random(self) -> bool:
        """Whether two calls with the same images may return different ones."""
        return False

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transform images.

        Args:
            images: Images, float32 (N, C, H, W) in [0, 1], or a mask of this shape and type.
            generator: Source of all randomness.

        Returns:
            Images (N, C, h, w) in [0, 1], as the model is fed them. They may share memory with the
            input, which is not modified.
        """
        ...

    def fitted(self, size: int) -> Self:
        """The view for a model whose input has a short side of ``size`` pixels."""
        return self

    def fed_side(self, short: int) -> int:
        """The short side, in pixels, to which the view resizes a photo with this short side."""
        return short

    def windows(self, height: int, width: int) -> list[Window]:
        """The windows of a photo of this size over which the loss is averaged, one at a time.

        A single whole window means that the photo goes through ``__call__``. Otherwise the model is
        fed each window at its own size, and ``__call__`` returns one of the largest.
        """
        return [Window.whole(height, width)]


VIEWS: Registry[View] = Registry("view")
