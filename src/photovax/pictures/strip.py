"""Strips of pictures with captions, for demos and reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from photovax.pictures.channels import as_image

__all__ = ["stacked", "strip"]

_GAP = 8


def strip(pictures: Sequence[tuple[str, np.ndarray]], *, side: int = 384) -> Image.Image:
    """Put pictures side by side, with a caption under each.

    Args:
        pictures: Captions, which may have several lines, and pixels, uint8 (H, W, 1 or 3).
        side: Height of every picture in the strip, in pixels.
    """
    font = ImageFont.load_default(size=side / 20)
    shown = [_scaled(pixels, side) for _, pixels in pictures]
    lines = max(caption.count("\n") + 1 for caption, _ in pictures)
    height = side + round(lines * side / 14) + 2 * _GAP
    sheet = Image.new("RGB", (sum(p.width + _GAP for p in shown) + _GAP, height), "white")
    pen = ImageDraw.Draw(sheet)
    left = _GAP
    for picture, (caption, _) in zip(shown, pictures, strict=True):
        sheet.paste(picture, (left, _GAP))
        pen.multiline_text((left, side + 2 * _GAP), caption, fill="black", font=font)
        left += picture.width + _GAP
    return sheet


def stacked(strips: Sequence[Image.Image]) -> Image.Image:
    """Put strips one below the other."""
    width = max(sheet.width for sheet in strips)
    whole = Image.new("RGB", (width, sum(sheet.height for sheet in strips)), "white")
    top = 0
    for sheet in strips:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole


def _scaled(pixels: np.ndarray, side: int) -> Image.Image:
    picture = as_image(pixels).convert("RGB")
    width = max(1, round(picture.width * side / picture.height))
    return picture.resize((width, side), Image.Resampling.LANCZOS)
