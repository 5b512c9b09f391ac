"""Names of colours, to name the mean colour of a region as a person would."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["COLOURS", "lab", "name_colour"]

# Several 8-bit sRGB examples per name, since a name covers a region of CIELAB.
COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((10, 10, 10), (35, 35, 35)),
    "grey": ((80, 80, 80), (128, 128, 128), (175, 175, 175)),
    "white": ((245, 245, 245), (220, 220, 220)),
    "red": ((200, 30, 30), (150, 40, 40), (220, 70, 60)),
    "orange": ((240, 140, 40), (220, 120, 60)),
    "yellow": ((240, 220, 60), (220, 200, 100), (200, 180, 40)),
    "green": ((40, 140, 50), (90, 140, 70), (60, 90, 50), (130, 190, 110)),
    "turquoise": ((60, 190, 190), (100, 190, 180), (40, 120, 120)),
    "blue": ((40, 70, 180), (80, 130, 200), (50, 70, 110), (140, 180, 225)),
    "purple": ((120, 50, 150), (150, 110, 180), (80, 50, 100)),
    "pink": ((240, 130, 180), (230, 170, 190), (210, 90, 150)),
    "brown": ((110, 70, 40), (140, 100, 70), (70, 50, 35), (170, 135, 100)),
}

_WHITE = (0.95047, 1.0, 1.08883)  # D65, 2 degrees
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)


def lab(rgb: Tensor) -> Tensor:
    """Convert sRGB colours (..., 3) in [0, 1] to CIELAB (D65), with lightness in [0, 100]."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = linear @ rgb.new_tensor(_TO_XYZ).T / rgb.new_tensor(_WHITE)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-9) ** (1 / 3), xyz * 841 / 108 + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-1)


def name_colour(rgb: Tensor) -> str:
    """The name of a colour (3,) in [0, 1]: that of the nearest example in CIELAB."""
    distances = (_EXAMPLES.to(rgb) - lab(rgb)).square().sum(-1)
    return _NAMES[int(distances.argmin())]


_NAMES = [name for name, examples in COLOURS.items() for _ in examples]
_EXAMPLES = lab(
    torch.tensor([example for examples in COLOURS.values() for example in examples]) / 255
)
