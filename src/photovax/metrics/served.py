"""What a platform did to a photo: the part that it kept, the size, and the JPEG it wrote.

The same is done to the original, so that a copy is compared with what the platform would have made
of the photo without immunization.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from photovax.errors import MetricUnavailable, UsageError
from photovax.metrics.registration import Box, alike, find_box
from photovax.pictures.channels import as_image
from photovax.pictures.pillow import MAX_PIXELS, decoding, strict_pillow

__all__ = ["Jpeg", "Step", "find_step", "jpeg_of"]

_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
# The likelier come first, and stay where another explains the copy no better.
_FILTERS = ("lanczos", "bicubic", "bilinear", "hamming", "box")
_NEAR = 0.5  # pixels; a box with edges that near to whole pixels is tried there, too
# The squared error that is allowed, in units of the least. Immunization is an error that no step
# explains. A JPEG is not compressed twice: as the original itself, if that is the copy.
_AS_GOOD, _TWICE = 1.05, 2.0


@dataclass(frozen=True)
class Jpeg:
    """How a JPEG was compressed.

    Attributes:
        tables: Quantisation tables, each of 64 divisors in rows (ISO/IEC 10918-1, B.2.4.1).
        sampling: Pillow's number of the chroma subsampling, 0 to 2; -1 is another, or grey.
    """

    tables: tuple[tuple[int, ...], ...]
    sampling: int

    @property
    def quality(self) -> int:
        """The quality of libjpeg, 1 to 100, whose tables are the nearest."""
        return min(range(1, 101), key=self._off)

    @property
    def exact(self) -> bool:
        """Whether the tables are those of libjpeg at that quality."""
        return self._off(self.quality) == 0

    @property
    def line(self) -> str:
        """The compression in words."""
        about = "" if self.exact else "about "
        chroma = f", {_SAMPLINGS[self.sampling]}" if self.sampling in _SAMPLINGS else ""
        return f"JPEG quality {about}{self.quality}{chroma}"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """A uint8 picture (H, W, 1 or 3) compressed so, and reopened."""
        file = BytesIO()
        tables = [list(table) for table in self.tables]
        as_image(pixels).save(file, "JPEG", qtables=tables, subsampling=self.sampling)
        with strict_pillow(pixels.size), Image.open(file) as image:
            return np.asarray(image).reshape(pixels.shape)

    def figures(self) -> dict[str, object]:
        """The compression for JSON."""
        sampling = _SAMPLINGS.get(self.sampling)
        return {"quality": self.quality, "exact": self.exact, "sampling": sampling}

    def _off(self, quality: int) -> int:
        pairs = zip(self.tables, _libjpeg(quality), strict=False)
        return sum(abs(a - b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


@dataclass(frozen=True)
class Step:
    """What was done to a photo before a copy of it was served.

    Attributes:
        original: Width and height of the original, in pixels.
        box: Part of the original that the copy shows.
        size: Width and height of the copy, in pixels.
        resampling: Pillow's filter, by name, that explains the copy best; None if the pixels are
            those of the box, not resized.
        jpeg: Compression of the copy; None if it is no JPEG, or that of the original.
    """

    original: tuple[int, int]
    box: Box
    size: tuple[int, int]
    resampling: str | None
    jpeg: Jpeg | None

    @property
    def whole(self) -> bool:
        """Whether the copy shows the whole original."""
        return self.box == (0, 0, *self.original)

    @property
    def changes(self) -> bool:
        """Whether anything was done."""
        return not self.whole or self.resampling is not None or self.jpeg is not None

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the copy for each pixel of the original, across and down."""
        return (
            self.size[0] / (self.box.right - self.box.left),
            self.size[1] / (self.box.bottom - self.box.top),
        )

    @property
    def line(self) -> str:
        """The step in one line of text."""
        done = []
        if not self.whole:
            left, top, right, bottom = (f"{round(edge, 1):g}" for edge in self.box)
            done.append(f"cropped to columns {left} to {right} and rows {top} to {bottom}")
        if self.resampling is not None:
            across, down = (f"{scale:.1%}" for scale in self.scale)
            by = across if across == down else f"{across} by {down}"
            done.append(f"resized to {by} ({self.resampling})")
        if self.jpeg is not None:
            done.append(self.jpeg.line)
        return ", ".join(done) or "none"

    def figures(self) -> dict[str, object]:
        """The step for JSON."""
        return {
            "box": [round(edge, 3) for edge in self.box],
            "size": list(self.size),
            "scale": [round(scale, 5) for scale in self.scale],
            "resampling": self.resampling,
            "jpeg": None if self.jpeg is None else self.jpeg.figures(),
        }

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Do the same to a picture of the original's size, uint8 (H, W, C): (h, w, C)."""
        made = pixels
        if self.resampling is not None:
            how = Image.Resampling[self.resampling.upper()]
            resized = as_image(pixels).resize(self.size, how, box=self.box)
            made = np.asarray(resized).reshape(*reversed(self.size), pixels.shape[2])
        elif not self.whole:
            left, top, right, bottom = map(int, self.box)
            made = pixels[top:bottom, left:right]
        return made if self.jpeg is None else self.jpeg(made)


def find_step(copy: np.ndarray, original: np.ndarray, jpeg: Jpeg | None = None) -> Step:
    """Find out what was done to a picture before a copy of it was served.

    Of the boxes and filters that are possible, those are taken that make of the original what is
    nearest to the copy.

    Args:
        copy: The copy, uint8 (h, w, C), which may be immunized.
        original: The original, uint8 (H, W, C).
        jpeg: Compression of the copy's file, if it is a JPEG.

    Raises:
        UsageError: If the copy shows another picture, or is turned, mirrored, framed or distorted.
        MetricUnavailable: If it was resized or cropped, and OpenCV is missing.
    """
    size, whole = _size(copy), _size(original)

    def step(box: Box, resampling: str) -> Step:
        return Step(whole, box, size, None if _on_pixels(box, size) else resampling, jpeg)

    *simple, found = _boxes(copy, original)
    filters = _FILTERS if step(found, _FILTERS[0]).resampling else _FILTERS[:1]
    placed = _nearest([step(found, name) for name in filters], copy, original)
    if simple:
        how = placed.resampling or _FILTERS[0]
        tried = [step(box, how) for box in (*simple, found)]
        placed = _nearest(tried, copy, original, slack=_AS_GOOD)
    return _nearest([placed, replace(placed, jpeg=None)], copy, original, slack=_TWICE)


def jpeg_of(
    source: str | os.PathLike[str] | bytes | Image.Image, *, max_pixels: int = MAX_PIXELS
) -> Jpeg | None:
    """The compression of a picture that is a JPEG, by its path, bytes or opened image.

    None for other types of pictures, and for JPEGs in CMYK.

    Raises:
        PhotoError: If it cannot be read.
    """
    if isinstance(source, Image.Image):
        return _jpeg(source)
    with decoding("the copy", max_pixels), suppress(UnidentifiedImageError):
        file = BytesIO(source) if isinstance(source, bytes) else Path(source)
        with Image.open(file, formats=("JPEG",)) as image:
            return _jpeg(image)
    return None


def _jpeg(image: Image.Image) -> Jpeg | None:
    if not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
    return Jpeg(tables, get_sampling(image) if image.mode == "RGB" else -1) if tables else None


@cache
def _libjpeg(quality: int) -> tuple[tuple[int, ...], ...]:
    """The quantisation tables of libjpeg for luma and chroma."""
    file = BytesIO()
    Image.new("RGB", (1, 1)).save(file, "JPEG", quality=quality)
    found = _jpeg(Image.open(file))
    return () if found is None else found.tables


def _boxes(copy: np.ndarray, original: np.ndarray) -> list[Box]:
    """The parts of the original that the copy may show, the simplest first."""
    (width, height), (across, down) = _size(original), _size(copy)
    everything = Box(0, 0, width, height)
    same = copy.shape == original.shape
    try:
        found = find_box(copy, original)
    except MetricUnavailable:
        if same and alike(copy, original):
            return [everything]
        raise
    if found is None:
        if same and alike(copy, original):  # as a clear sky, in which nothing can be found
            return [everything]
        raise UsageError(
            "the copy shows another photo than the original, or too little of it is left to tell",
            hint="give the original of this copy, and a copy that is not mirrored or framed",
        )
    left, top = (
        round((start + end - side) / 2)
        for start, end, side in ((found.left, found.right, across), (found.top, found.bottom, down))
    )
    simple = [
        everything,
        Box(left, top, left + across, top + down),  # not resized
        Box(*map(round, found)),
    ]
    near = _NEAR * max(1.0, (found.right - found.left) / across)
    kept = [
        box
        for box in simple
        if max(abs(a - b) for a, b in zip(box, found, strict=True)) <= near
        and box == box.within(width, height)
    ]
    return [*dict.fromkeys(kept), found]


def _on_pixels(box: Box, size: tuple[int, int]) -> bool:
    """Whether a copy of this size has the pixels of the box, not resized."""
    left, top, right, bottom = box
    return left % 1 == top % 1 == 0 and (right - left, bottom - top) == size


def _nearest(
    steps: Sequence[Step], copy: np.ndarray, original: np.ndarray, *, slack: float = 1.0
) -> Step:
    """The first step whose result is as near to the copy as any, but for the slack."""
    errors = [_squared_error(step(original), copy) for step in steps]
    return next(
        step for step, error in zip(steps, errors, strict=True) if error <= slack * min(errors)
    )


def _squared_error(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.square(first.astype(np.float32) - second).mean())


def _size(pixels: np.ndarray) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]
