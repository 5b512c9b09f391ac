"""What was done to a photo: the part that was kept, the size, the colours, and the JPEG.

The same is done to the original, so that a copy is compared with what the platform would have made
of the photo without immunization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from photovax.errors import MetricUnavailable, UsageError
from photovax.metrics.profiles import Conversion
from photovax.metrics.registration import Box, alike, find_box, unmoved
from photovax.metrics.tones import Tone
from photovax.pictures.channels import as_image
from photovax.pictures.compression import Compression, Kind

__all__ = ["Step", "find_step", "step_in_place"]

# The likelier come first, and stay where another explains the copy no better.
_FILTERS = ("lanczos", "bicubic", "bilinear", "hamming", "box")
_NEAR = 0.5  # pixels; a box with edges that near to whole pixels is tried there, too
# The squared error that is allowed, in units of the least. Immunization is an error that no step
# explains. A JPEG is not compressed twice: as the original itself, if that is the copy.
_ALIKE, _AS_GOOD, _TWICE = 1.01, 1.05, 2.0
_SMALL = 24  # pixels; in shorter sides, immunization is taken for a turn or a crop
_MIDDLE = 384  # pixels of each side
_QUALITIES = (95, 90, 85, 80, 75, 70, 60, 50, 40, 30)


@dataclass(frozen=True)
class Step:
    """What was done to a photo before a copy of it was served.

    Attributes:
        original: Width and height of the original, in pixels.
        box: Part of the original that the copy shows.
        size: Width and height of the copy, in pixels.
        resampling: Pillow's filter, by name, that explains the copy best; None if the pixels are
            those of the box, not resized.
        compression: Compression of the copy; None if it is lossless, or that of the original.
        colours: Conversion to the copy's colour profile; None if there was none.
        tone: Change of all colours by a filter; None if there was none.
    """

    original: tuple[int, int]
    box: Box
    size: tuple[int, int]
    resampling: str | None
    compression: Compression | None
    colours: Conversion | None = None
    tone: Tone | None = None

    @property
    def whole(self) -> bool:
        """Whether the copy shows the whole original."""
        return self.box == (0, 0, *self.original)

    @property
    def changes(self) -> bool:
        """Whether anything was done."""
        done = (self.resampling, self.compression, self.colours, self.tone)
        return not self.whole or any(each is not None for each in done)

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
        if self.colours is not None:
            done.append("colours converted to its profile")
        if self.tone is not None:
            done.append("filtered in all colours")
        if self.compression is not None:
            done.append(self.compression.label)
        return ", ".join(done) or "none"

    def figures(self) -> dict[str, object]:
        """The step for JSON."""
        return {
            "box": [round(edge, 3) for edge in self.box],
            "size": list(self.size),
            "scale": [round(scale, 5) for scale in self.scale],
            "resampling": self.resampling,
            "converted": self.colours is not None,
            # Of other formats, too: the name is older than they are.
            "jpeg": None if self.compression is None else self.compression.figures(),
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
        if self.colours is not None:
            made = self.colours(made)
        if self.tone is not None:
            made = self.tone(made)
        return made if self.compression is None else self.compression.decoded(made)


def find_step(
    copy: np.ndarray,
    original: np.ndarray,
    compression: Compression | None = None,
    colours: Conversion | None = None,
    *,
    kind: Kind | None = None,
) -> Step:
    """Find out what was done to a picture before a copy of it was served.

    Of the boxes and filters that are possible, those are taken that make of the original what is
    nearest to the copy.

    Args:
        copy: The copy, uint8 (h, w, C), which may be immunized.
        original: The original, uint8 (H, W, C).
        compression: Compression of the copy's file. One that only rounds does not count.
        colours: Conversion to the copy's colour profile, if that is another.
        kind: Format of the copy's file if it may be lossy and does not say how it is compressed:
            the quality is then found, too.

    Raises:
        UsageError: If the copy shows another picture, or is turned, mirrored, framed or distorted.
        MetricUnavailable: If it was resized or cropped, and OpenCV is missing.
    """
    size = _size(copy)

    def at(box: Box, step: Step) -> Step:
        return replace(step, box=box, resampling=_needed(box, size, step.resampling))

    *simple, found = _boxes(copy, original)
    how = _needed(found, size, _FILTERS[0])
    step = Step(_size(original), found, size, how, _lossy(compression))
    if colours is not None:  # platforms also drop a profile without converting anything
        tried = [step, replace(step, colours=colours)]
        step = _nearest(tried, copy, original, slack=_ALIKE)
    if step.resampling is not None:
        tried = [replace(step, resampling=name) for name in _FILTERS]
        step = _nearest(tried, copy, original)
    if simple:
        tried = [*(at(box, step) for box in simple), step]
        step = _nearest(tried, copy, original, slack=_AS_GOOD)
    plain = replace(step, compression=None)
    if kind is not None:  # which may also be lossless
        lossy = replace(step, compression=_quality(kind, plain(original), copy))
        return _nearest([plain, lossy], copy, original)
    return _nearest([step, plain], copy, original, slack=_TWICE)


def step_in_place(
    copy: np.ndarray, original: np.ndarray, compression: Compression | None = None
) -> Step:
    """What ``find_step`` finds for a copy that is known to be neither resized nor cropped.

    Args:
        copy: The copy, uint8 (H, W, C).
        original: The original, of the same shape.
        compression: Compression of the copy's file.
    """
    size = _size(original)
    step = Step(size, Box(0, 0, *size), size, None, _lossy(compression))
    if step.compression is None:  # nothing to choose from
        return step
    return _nearest([step, replace(step, compression=None)], copy, original, slack=_TWICE)


def _boxes(copy: np.ndarray, original: np.ndarray) -> list[Box]:
    """The parts of the original that the copy may show, the simplest first."""
    (width, height), (across, down) = _size(original), _size(copy)
    everything = Box(0, 0, width, height)
    same = copy.shape == original.shape
    if same and min(across, down) < _SMALL and alike(copy, original):
        return [everything]
    try:
        found = find_box(copy, original)
    except MetricUnavailable:
        if same and alike(copy, original):
            return [everything]
        raise
    except UsageError:
        # What looks the same turned, as a sun in a sky, is turned by correlation for any change.
        if same and unmoved(copy, original):
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


def _lossy(compression: Compression | None) -> Compression | None:
    """The compression, if it counts."""
    counts = compression is not None and not compression.only_rounds
    return compression if counts else None


def _quality(kind: Kind, plain: np.ndarray, copy: np.ndarray) -> Compression:
    """The compression of a copy whose file does not tell, to the nearest of some qualities.

    The middle of the picture is compressed with each. The immunization is an error in all of them.

    Args:
        kind: Format of the copy's file.
        plain: The original as the copy was before it was compressed, of the copy's shape.
        copy: The copy.
    """
    middle = tuple(
        slice(max(0, side - _MIDDLE) // 2, (side + _MIDDLE + 1) // 2) for side in copy.shape[:2]
    )
    tried = [Compression(kind, quality) for quality in _QUALITIES]
    part, shown = np.ascontiguousarray(plain[middle]), copy[middle]
    return min(tried, key=lambda each: _squared_error(each.decoded(part), shown))


def _needed(box: Box, size: tuple[int, int], resampling: str | None) -> str | None:
    """The filter; None if a copy of this size has the pixels of the box, not resized."""
    left, top, right, bottom = box
    return None if left % 1 == top % 1 == 0 and (right - left, bottom - top) == size else resampling


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
