"""Visibility of a change to people: FLIP and ColorVideoVDP under stated viewing conditions.

A display shows the whole photo. A larger photo is shrunk to fit the display, which has the photo's
orientation; a smaller one is shown pixel for pixel. The displays are two of ColorVideoVDP's models,
both with 200 cd/m² in office light, viewed from twice their height.

FLIP: Andersson et al. 2020, doi 10.1145/3406183. ColorVideoVDP: Mantiuk et al. 2024, arXiv
2401.11485.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from photovax.errors import MetricUnavailable, first_line
from photovax.extras import package
from photovax.machine.memory import LIBRARIES, available_bytes, resident_bytes
from photovax.metrics.contracts import PAIR_METRICS
from photovax.metrics.cvvdp import load_cvvdp, predict_jod
from photovax.metrics.distortion import check_comparable
from photovax.models.views import resize
from photovax.pictures.display import FULL_HD, UHD_4K, Display
from photovax.tensors import pixels_of, tensor

__all__ = [
    "VIEWING",
    "Flip",
    "Jod",
    "VisibleDifference",
    "check_jod",
    "flip",
    "flip_picture",
    "jod",
    "shown",
    "visible_difference",
    "words",
]

_LEAST_SIDE = 8  # pixels; with fewer, ColorVideoVDP's pyramid has fewer than three bands
_JOD_BYTES, _FLIP_BYTES = 520, 120  # measured memory per displayed pixel

_WORDS = (
    (9.5, "not seen by most people"),
    (9.0, "seen only beside the original"),
    (8.0, "seen by a close look"),
    (-math.inf, "plainly seen"),
)


_MOST_PIXELS = FULL_HD.width * FULL_HD.height  # for ColorVideoVDP, which then takes 1 GiB

VIEWING = "; ".join(
    f"{label}: {display.width} x {display.height} pixels, {display.inches} inches from "
    f"{display.distance:.2f} m, {display.pixels_per_degree:.1f} pixels per degree"
    for label, display in (("full HD", FULL_HD), ("4K", UHD_4K))
)
"""The viewing conditions in words; FLIP is measured under the first."""


@dataclass(frozen=True)
class VisibleDifference:
    """The visibility of a change.

    Attributes:
        jod_4k: ColorVideoVDP on a 4K display, in just-objectionable differences (JOD). 10 means no
            visible difference. At 9, 75 of 100 people recognise which of two pictures is the
            original, compared with 50 by guessing. None where more pixels would be shown than a
            full-HD display has, which takes too much memory, and where ``jod_fhd`` is None.
        jod_fhd: The same on a full-HD display, where a pixel looks twice as large. For 17 immunized
            photos it was always lower than ``jod_4k``: by 0.3 to 1.4 up to 1.5 megapixels, by 0.04
            at four and six. None where it is not defined or could not be measured.
        flip: Mean of the FLIP map on the full-HD display, in [0, 1]; 0 means no visible difference.
        left_out: Reasons for figures that could not be measured, in one line; None without any.
    """

    jod_4k: float | None
    jod_fhd: float | None
    flip: float | None
    left_out: str | None = None

    @property
    def jod(self) -> float | None:
        """The lower of the two JOD, which counts; None where neither is known."""
        return min((v for v in (self.jod_fhd, self.jod_4k) if v is not None), default=None)

    @property
    def by_metric(self) -> dict[str, float]:
        """Values of the pair metrics ``jod`` and ``flip``, as far as they were measured."""
        known = {"jod": self.jod_fhd, "flip": self.flip}
        return {name: value for name, value in known.items() if value is not None}

    def figures(self) -> dict[str, float | None]:
        """The three figures, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "left_out"}

    @property
    def line(self) -> str:
        """All figures in one line of text."""
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
    """A description of a JOD in words."""
    return next(text for least, text in _WORDS if jod >= least)


def visible_difference(
    original: np.ndarray, changed: np.ndarray, *, memory: int | None = None
) -> VisibleDifference:
    """Measure how visible a change is between two uint8 pictures (H, W, 1 or 3) of one shape.

    On one core this takes 10 s for a full-HD picture and 0.7 s for 480 x 320 pixels. ``jod``
    documents the memory.

    Args:
        original: The reference.
        changed: The changed picture.
        memory: Memory limit of the process, in bytes; the memory that the system has available
            when None, where that is known. Figures that would take more are left out.

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
        except Exception as error:  # noqa: BLE001 - of another package: it must not cost the photo
            reasons.append(f"{type(error).__name__}: {first_line(error)}")
            return None

    # FLIP comes first, since it takes the least memory.
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
    """ColorVideoVDP of two uint8 pictures (H, W, 1 or 3) of one shape; 10 means no difference.

    The unit is just-objectionable differences (JOD) of the displayed pictures. It takes half a KiB
    of memory per displayed pixel, 1 GiB on full HD.

    Args:
        original: The reference.
        changed: The changed picture.
        display: The display that shows the pictures.
        memory: Memory limit in bytes, as in ``visible_difference``.

    Returns:
        At most 10. None where a displayed side has fewer than 8 pixels, or more pixels are
        displayed than a full-HD display has (on 4K).

    Raises:
        UsageError: If the shapes differ.
        MetricUnavailable: If the package is missing, or there is too little memory.
    """
    check_comparable(original, changed)
    if not _has_jod(original, display):
        return None
    _check_jod_room(original, display, memory)
    return predict_jod(shown(original, display), shown(changed, display), display.name)


def check_jod(original: np.ndarray, *, memory: int | None = None) -> None:
    """Find out beforehand whether ``jod`` on a full-HD display can be measured of a picture.

    Args:
        original: The reference, uint8 (H, W, 1 or 3).
        memory: Memory limit in bytes, as in ``visible_difference``.

    Raises:
        MetricUnavailable: If the package is missing, there is too little memory, or JOD is not
            defined.
    """
    load_cvvdp()
    if not _has_jod(original, FULL_HD):
        height, width = original.shape[:2]
        raise MetricUnavailable(
            f"JOD is not defined for {width} x {height} pixels: a full-HD display shows fewer than "
            f"{_LEAST_SIDE} across",
            hint="say low, medium or high instead",
        )
    _check_jod_room(original, FULL_HD, memory)


def flip(original: np.ndarray, changed: np.ndarray, *, memory: int | None = None) -> float:
    """Mean FLIP of two uint8 pictures (H, W, 1 or 3) of one shape; 0 means no visible difference.

    The pictures are shown on a full-HD display at 37.8 pixels per degree, the conditions of JOD.
    FLIP's default of 67 pixels per degree is a 4K display 0.7 m wide, viewed from 0.7 m.

    Args:
        original: The reference.
        changed: The changed picture.
        memory: Memory limit in bytes, as in ``visible_difference``.

    Returns:
        The mean of the map, in [0, 1].

    Raises:
        UsageError: If the shapes differ.
        MetricUnavailable: If the package is missing, or there is too little memory.
    """
    return float(_flip(original, changed, memory, coloured=False)[1])


def flip_picture(original: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """FLIP's map of a visible change as a picture, from black (0) over purple to yellow (1).

    Args:
        original: The reference, uint8 (H, W, 1 or 3).
        changed: The changed picture, of the same shape.

    Returns:
        uint8 (h, w, 3), of the size that a full-HD display shows.

    Raises:
        UsageError: If the shapes differ.
        MetricUnavailable: If the package is missing, or there is too little memory.
    """
    levels = np.rint(_flip(original, changed, None, coloured=True)[0] * 255)
    picture: np.ndarray = levels.astype(np.uint8)
    return picture


def shown(picture: np.ndarray, display: Display) -> np.ndarray:
    """A whole uint8 picture (H, W, 1 or 3) as a display shows it, uint8 (h, w, 3).

    A larger picture is shrunk to fit (bicubic with antialiasing), then rounded to 8 bits. The
    display is rotated for pictures that are higher than wide. A smaller picture keeps its pixels.
    """
    sides = _sides(picture, display)
    if sides != picture.shape[:2]:
        # One channel at a time, since floats of a large photo take four times its bytes.
        planes = [resize(tensor(plane[..., None]), *sides) for plane in np.moveaxis(picture, 2, 0)]
        picture = pixels_of(torch.cat(planes, dim=1))
    whole: np.ndarray = np.broadcast_to(picture, (*sides, 3))
    return np.ascontiguousarray(whole)


def _sides(picture: np.ndarray, display: Display) -> tuple[int, int]:
    height, width = picture.shape[:2]
    scale = display.scale(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _has_jod(picture: np.ndarray, display: Display) -> bool:
    height, width = _sides(picture, display)
    return min(height, width) >= _LEAST_SIDE and height * width <= _MOST_PIXELS


def _check_jod_room(picture: np.ndarray, display: Display, memory: int | None) -> None:
    height, width = _sides(picture, display)
    _check_room("jod", _JOD_BYTES * height * width, memory)


def _flip(
    original: np.ndarray, changed: np.ndarray, memory: int | None, *, coloured: bool
) -> tuple[np.ndarray, float]:
    """FLIP's map, (h, w, 1), or (h, w, 3) in false colour, and its mean."""
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
            f"{max(0, left) / 2**30:.1f} GiB are available"
        )


class _OfThePhoto:
    """A metric that compares a photo with its changed version, and no edits."""

    compares_edits = False

    def __init__(self, measure: Callable[[np.ndarray, np.ndarray], float | None]) -> None:
        self._measure = measure

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape; None where it is not defined.

        Raises:
            MetricUnavailable: If there is too little memory at present.
        """
        return self._measure(first, second)


@PAIR_METRICS.register("jod")
class Jod(_OfThePhoto):
    """ColorVideoVDP of a photo and its changed version on a full-HD display; see ``jod``.

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
    """Mean FLIP of a photo and its changed version on a full-HD display; see ``flip``.

    Raises:
        MetricUnavailable: If the package is missing.
    """

    label = "FLIP (full HD)"
    higher_is_closer = False

    def __init__(self) -> None:
        _load_flip()
        super().__init__(flip)
