"""Random regions to repaint: boxes, ellipses, strokes, the outside of an ellipse, everything."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

SHAPES = ("box", "ellipse", "stroke", "background", "everything")
SHARES = (0.35, 0.2, 0.15, 0.25, 0.05)


def random_hole(side: int, random: np.random.Generator) -> Tensor:
    """A mask (1, side, side), one where the picture is to be repainted."""
    shape = str(random.choice(SHAPES, p=SHARES))
    if shape == "everything":
        return torch.ones(1, side, side)
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    if shape == "stroke":
        points = [tuple(random.uniform(0, side, 2)) for _ in range(random.integers(2, 6))]
        draw.line(points, fill=255, width=int(random.integers(side // 10, side // 4)))
    else:
        width, height = random.uniform(0.2, 0.8, 2) * side
        left, top = random.uniform(0, side - width), random.uniform(0, side - height)
        corners = (left, top, left + width, top + height)
        if shape == "box":
            draw.rectangle(corners, fill=255)
        else:
            draw.ellipse(corners, fill=255)
    mask = torch.from_numpy(np.array(canvas)).float()[None] / 255
    return 1 - mask if shape == "background" else mask
