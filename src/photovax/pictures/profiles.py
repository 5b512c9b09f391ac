"""ICC profiles made of primaries and a curve."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

__all__ = ["ADOBE_RGB", "BT2020", "DISPLAY_P3", "SRGB_CURVE", "SRGB_PRIMARIES", "ColourSpace"]

_D65 = (0.3127, 0.3290)
SRGB_PRIMARIES = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
"""Primaries of sRGB and BT.709 (IEC 61966-2-1): CIE 1931 x and y of white, red, green and blue."""
DISPLAY_P3 = (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
"""Primaries of Display P3 (SMPTE EG 432-1)."""
BT2020 = (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
"""Primaries of ITU-R BT.2020."""
ADOBE_RGB = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
"""Primaries of Adobe RGB (1998)."""
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""Curve of sRGB (IEC 61966-2-1), as ``ColourSpace.curve``."""

_NAMES = {DISPLAY_P3: "Display P3", BT2020: "BT.2020", ADOBE_RGB: "Adobe RGB"}
_CLOSE = 0.001  # as primaries are rounded in files
_LINEAR = 1.2  # curves up to this gamma have no more steps in shadows than in lights
# XYZ of the connection space's white, D50 (ICC.1:2022, section 7.2.16), and Bradford's cone
# responses (annex E.3).
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


@dataclass(frozen=True)
class ColourSpace:
    """An RGB colour space.

    Attributes:
        primaries: CIE 1931 x and y of white, red, green and blue, in this order: eight numbers.
        curve: Parameters of the curve from values in [0, 1] to light: a gamma alone, or g, a, b, c
            and d of ``para`` type 3 in ICC.1:2022, section 10.18.
    """

    primaries: tuple[float, ...] = SRGB_PRIMARIES
    curve: tuple[float, ...] = SRGB_CURVE

    @property
    def is_srgb(self) -> bool:
        """Whether it is sRGB, or PNG's way of saying so with gAMA 0.45455 (section 11.3.2.5)."""
        near = len(self.curve) == 1 and abs(self.curve[0] / 2.2 - 1) < 0.0101  # 0.45 is near, too
        return self._has(SRGB_PRIMARIES) and (near or self.curve == SRGB_CURVE)

    @property
    def is_linear(self) -> bool:
        """Whether equal steps are about equal amounts of light."""
        return len(self.curve) == 1 and self.curve[0] <= _LINEAR

    def profile(self, *, grey: bool) -> bytes:
        """An ICC profile, version 4: matrix and curve, or for grey the curve alone.

        Raises:
            ValueError: If the primaries or the curve describe no colours.
        """
        white, to_xyz = _light(self.primaries)
        if not (0.1 <= self.curve[0] <= 10):
            raise ValueError(f"gamma {self.curve[0]:g}")
        cones = _BRADFORD @ _D50 / (_BRADFORD @ white)
        adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
        curve = struct.pack(">4s4xHxx", b"para", 0 if len(self.curve) == 1 else 3)
        curve += _fixed(*self.curve)
        tags = {
            b"desc": _text(self._name(grey=grey)),
            b"cprt": _text("CC0"),
            b"wtpt": _xyz(_D50),
            b"chad": b"sf32\0\0\0\0" + _fixed(*adapted.ravel()),
        }
        if grey:
            tags[b"kTRC"] = curve
        else:
            columns = (adapted @ to_xyz).T
            for name, column in zip(b"rgb", columns, strict=True):
                tags[b"%cXYZ" % name], tags[b"%cTRC" % name] = _xyz(column), curve
        return _profile(b"GRAY" if grey else b"RGB ", tags)

    def _has(self, primaries: tuple[float, ...]) -> bool:
        return np.allclose(self.primaries, primaries, rtol=0, atol=_CLOSE)

    def _name(self, *, grey: bool) -> str:
        names = ["Grey"] if grey else [name for each, name in _NAMES.items() if self._has(each)]
        curve = "sRGB curve" if len(self.curve) > 1 else f"gamma {self.curve[0]:.4g}"
        return ", ".join([*(names or ["RGB"]), curve])


def _light(primaries: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """XYZ of white, and the matrix from RGB light to XYZ; ValueError if there is none."""
    values = np.array(primaries, dtype=np.float64)
    if values.shape != (8,) or not np.isfinite(values).all() or np.abs(values).max() > 2:
        raise ValueError("chromaticities out of range")
    x, y = values.reshape(4, 2).T
    if (y[0] <= 0) or (np.abs(y) < 1e-6).any():
        raise ValueError("chromaticities of no colour")
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    white, columns = xyz[:, 0], xyz[:, 1:]
    if abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("primaries on one line")
    shares = np.linalg.solve(columns, white)
    if (shares <= 0).any() or (_BRADFORD @ white <= 0).any():
        raise ValueError("white outside the primaries")
    return white, columns * shares


def _fixed(*values: float) -> bytes:
    """Numbers with 16 bits after the point."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return struct.pack(">4s4xII2s2sII", b"mluc", 1, 12, b"en", b"US", len(data), 28) + data


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """The file of a display's profile; the same tags give the same bytes."""
    table, body, places = b"", b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        if data not in places:  # equal curves are stored once
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, places[data], len(data))
    size = start + len(body)
    header = struct.pack(">I4xI4s4s4s", size, 0x04300000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(*_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
