"""How visible is the change to people? FLIP and ColorVideoVDP, under a stated viewing condition.

A photo is seen as a whole on a display: a larger one is shrunk to fit the display, turned as the
photo is, and a smaller one is shown pixel for pixel. The displays are two of ColorVideoVDP's
models, both of 200 cd/m² under office light, seen from twice their height.

FLIP: Andersson et al. 2020, doi 10.1145/3406183. ColorVideoVDP: Mantiuk et al. 2024, arXiv
2401.11485.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from photovax.errors import MetricUnavailable
from photovax.extras import package
from photovax.machine.memory import LIBRARIES, available_bytes, resident_bytes
from photovax.metrics.contracts import PAIR_METRICS
from photovax.metrics.cvvdp import load_cvvdp, predict_jod
from photovax.metrics.distortion import check_comparable
from photovax.models.views import resize
from photovax.pictures.display import FULL_HD, UHD_4K, Display

__all__ = [
    "VIEWING",
    "Flip",
    "Jod",
    "VisibleDifference",
    "flip",
    "flip_picture",
    "jod",
    "shown",
    "visible_difference",
    "words",
]

_LEAST_SIDE = 8  # pixels; with fewer, ColorVideoVDP's pyramid has not three bands
_JOD_BYTES, _FLIP_BYTES = 520, 120  # of memory for each pixel that is shown, measured

_WORDS = (
    (9.5, "not seen by most people"),
    (9.0, "seen only beside the original"),
    (8.0, "seen by a close look"),
    (-math.inf, "plainly seen"),
)


_MOST_PIXELS = FULL_HD.width * FULL_HD.height  # that ColorVideoVDP is shown at once: a GiB

VIEWING = "; ".join(
    f"{label}: {display.width} x {display.height} pixels, {display.inches} inches from "
    f"{display.distance:.2f} m, {display.pixels_per_degree:.1f} pixels per degree"
    for label, display in (("full HD", FULL_HD), ("4K", UHD_4K))
)
"""The viewing conditions in words; FLIP is measured under the first."""


@dataclass(frozen=True)
class VisibleDifference:
    """How visible a change is.

    Attributes:
        jod_4k: ColorVideoVDP on a 4K display, in just-objectionable differences: 10 is no visible
            difference, and 9 is told by 75 of 100 people who say which of two pictures is the
            original, 50 of whom would be right by guessing. None where there would be more pixels
            to see than a full-HD display has, which takes too much memory, and where the next is.
        jod_fhd: The same on a full-HD display, where a pixel is twice as large to the eye. Of 17
            immunized photos it was the lower one each time: by 0.3 to 1.4 up to 1.5 megapixels, by
            0.04 at four and six. None where it is not defined or could not be measured.
        flip: Mean of FLIP's map on the full-HD display, in [0, 1]: 0 is no visible difference.
        left_out: Why figures are missing that might be there, in a line; None where none is.
    """

    jod_4k: float | None
    jod_fhd: float | None
    flip: float | None
    left_out: str | None = None

    @property
    def jod(self) -> float | None:
        """The lower of the two, which is the one that counts; None where neither is known."""
        return min((v for v in (self.jod_fhd, self.jod_4k) if v is not None), default=None)

    @property
    def by_metric(self) -> dict[str, float]:
        """The pair metrics of these names, where they were measured."""
        known = {"jod": self.jod_fhd, "flip": self.flip}
        return {name: value for name, value in known.items() if value is not None}

    def figures(self) -> dict[str, float | None]:
        """The three figures, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "left_out"}

    @property
    def line(self) -> str:
        """All of it in a line for people."""
        known = []
        if self.jod_fhd is not None:
            also = "" if self.jod_4k is None else f"; {self.jod_4k:.1f} on 4K"
            known.append(f"JOD {self.jod_fhd:.1f} (full HD{also})")
        if self.flip is not None:
            known.append(f"FLIP {self.flip:.2f}")
        parts = [", ".join(known) + ("" if self.jod is None else f": {words(self.jod)}")]
        if self.left_out is not None:
            parts.append(f"not {'all ' if known else ''}measured: {self.left_out}")
        return "; ".join(part for part in parts if part) or "not measured: too small"


def words(jod: float) -> str:
    """What a JOD means, in plain words."""
    return next(text for least, text in _WORDS if jod >= least)


def visible_difference(
    original: np.ndarray, changed: np.ndarray, *, memory: int | None = None
) -> VisibleDifference:
    """How visible the change is from one uint8 picture (H, W, 1 or 3) to another of its shape.

    On one core this takes 10 s for a view of full HD, 0.7 s for 480 x 320 pixels; see ``jod`` for
    the memory.

    Args:
        original: What people compare with.
        changed: The changed picture.
        memory: Bytes that the process may hold; all that the system has left when None, where it
            tells. What would take more is left out.

    Raises:
        UsageError: If the shapes differ.
    """
    check_comparable(original, changed)
    pair = shown(original, FULL_HD), shown(changed, FULL_HD)
    reasons: list[str] = []

    def known(measure: Callable[[], float | None]) -> float | None:
        try:
            return measure()
        except MetricUnavailable as error:
            reasons.append((error.hint or str(error)).removeprefix("type: "))
            return None

    # FLIP comes first: it takes the least memory.
    mean = known(lambda: flip(*pair, memory=memory))
    full_hd = known(lambda: jod(*pair, FULL_HD, memory=memory))
    uhd = None
    if full_hd is not None:
        uhd = known(lambda: jod(original, changed, UHD_4K, memory=memory))
    return VisibleDifference(uhd, full_hd, mean, "; ".join(dict.fromkeys(reasons)) or None)


def jod(
    original: np.ndarray,
    changed: np.ndarray,
    display: Display = FULL_HD,
    *,
    memory: int | None = None,
) -> float | None:
    """ColorVideoVDP of two uint8 pictures (H, W, 1 or 3) of one shape: 10 is no visible difference.

    Measured on what a display shows, in just-objectionable differences. Takes half a KiB of
    memory for each pixel of that, 1 GiB on full HD.

    Args:
        original: The reference.
        changed: The changed picture.
        display: Where they are seen.
        memory: As for ``visible_difference``.

    Returns:
        At most 10; None where the display shows below 8 pixels a side, or more pixels of the photo
        than a full-HD display has (4K).

    Raises:
        UsageError: If the shapes differ.
        MetricUnavailable: If the package is missing, or memory is too little.
    """
    check_comparable(original, changed)
    height, width = _sides(original, display)
    if min(height, width) < _LEAST_SIDE or height * width > _MOST_PIXELS:
        return None
    _check_room("jod", _JOD_BYTES * height * width, memory)
    return predict_jod(shown(original, display), shown(changed, display), display.name)


def flip(original: np.ndarray, changed: np.ndarray, *, memory: int | None = None) -> float:
    """Mean FLIP of two uint8 pictures (H, W, 1 or 3) of one shape: 0 is no visible difference.

    Measured on what a full-HD display shows, at that display's 37.8 pixels per degree, so that it
    says the same thing as JOD; FLIP's own default of 67 is a 4K display of 0.7 m, at 0.7 m.

    Args:
        original: The reference.
        changed: The changed picture.
        memory: As for ``visible_difference``.

    Returns:
        In [0, 1].

    Raises:
        UsageError: If the shapes differ.
        MetricUnavailable: If the package is missing, or memory is too little.
    """
    return float(_flip(original, changed, memory, coloured=False)[1])


def flip_picture(original: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Where the change is seen: FLIP's map as a picture, black (0) over purple to yellow (1).

    Args:
        original: The reference, uint8 (H, W, 1 or 3).
        changed: The changed picture, of the same shape.

    Returns:
        Uint8 (h, w, 3), of the size that a full-HD display shows.

    Raises:
        UsageError: If the shapes differ.
        MetricUnavailable: If the package is missing, or memory is too little.
    """
    levels = np.rint(_flip(original, changed, None, coloured=True)[0] * 255)
    picture: np.ndarray = levels.astype(np.uint8)
    return picture


def shown(picture: np.ndarray, display: Display) -> np.ndarray:
    """A uint8 picture (H, W, 1 or 3) as a display shows it whole, uint8 (h, w, 3).

    A larger one is shrunk to fit, bicubic with antialiasing, then rounded to 8 bits; the display is
    turned where the picture is higher than wide. A smaller one keeps its pixels.
    """
    sides = _sides(picture, display)
    if sides != picture.shape[:2]:
        # One channel at a time: a large photo's floats take four times its bytes.
        planes = [
            resize(torch.from_numpy(plane.copy())[None, None].float().div_(255), *sides)
            for plane in np.moveaxis(picture, 2, 0)
        ]
        picture = torch.cat(planes).mul_(255).round_().byte()[:, 0].permute(1, 2, 0).numpy()
    whole: np.ndarray = np.broadcast_to(picture, (*sides, 3))
    return np.ascontiguousarray(whole)


def _sides(picture: np.ndarray, display: Display) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = display.scale(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _flip(
    original: np.ndarray, changed: np.ndarray, memory: int | None, *, coloured: bool
) -> tuple[np.ndarray, float]:
    """FLIP's map, (h, w, 1), or (h, w, 3) in colours, and its mean."""
    check_comparable(original, changed)
    evaluator = _load_flip()
    pair = [shown(picture, FULL_HD) for picture in (original, changed)]
    _check_room("flip", _FLIP_BYTES * pair[0].shape[0] * pair[0].shape[1], memory)
    found: tuple[np.ndarray, float, object] = evaluator.evaluate(
        *(picture / np.float32(255) for picture in pair),
        "LDR",
        applyMagma=coloured,
        parameters={"ppd": FULL_HD.pixels_per_degree},
    )
    return found[:2]


def _load_flip() -> Any:
    return package(
        "flip_evaluator",
        install="photovax[visibility]",
        user="metric flip",
        error=MetricUnavailable,
    )


def _check_room(name: str, needed: int, memory: int | None) -> None:
    left = available_bytes() if memory is None else memory - resident_bytes()
    if left is not None and LIBRARIES + needed > left:
        raise MetricUnavailable(
            f"{name} takes {(LIBRARIES + needed) / 2**30:.1f} GiB of memory, and "
            f"{max(0, left) / 2**30:.1f} are left"
        )


class _OfThePhoto:
    """What metrics have in common that compare a photo with its changed self, and no edits."""

    compares_edits = False

    def __init__(self, measure: Callable[[np.ndarray, np.ndarray], float | None]) -> None:
        self._measure = measure

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape.

        None where it is not defined, and where memory is too little.
        """
        with suppress(MetricUnavailable):
            return self._measure(first, second)
        return None


@PAIR_METRICS.register("jod")
class Jod(_OfThePhoto):
    """ColorVideoVDP of a photo and its changed self on a full-HD display; see ``jod``.

    Raises:
        MetricUnavailable: If the package is missing.
    """

    label = "JOD (ColorVideoVDP, full HD)"
    higher_is_closer = True

    def __init__(self) -> None:
        load_cvvdp()
        super().__init__(jod)


@PAIR_METRICS.register("flip")
class Flip(_OfThePhoto):
    """Mean FLIP of a photo and its changed self on a full-HD display; see ``flip``.

    Raises:
        MetricUnavailable: If the package is missing.
    """

    label = "FLIP (full HD)"
    higher_is_closer = False

    def __init__(self) -> None:
        _load_flip()
        super().__init__(flip)
