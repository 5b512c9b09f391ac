"""Instructions with a known exact result: photographic filters and their wordings.

The edits of an editor that was trained on them can be compared with the exact result. Filters take
and return images (N, 3, H, W) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.metrics.distortion import psnr
from photovax.pictures.resize import resized_to
from photovax.tensors import pixels_of, tensor

__all__ = ["TRUE_EDITS", "TrueEdit", "find_true_edit", "lost", "truth"]


@dataclass(frozen=True)
class TrueEdit:
    """One instruction and its exact result.

    Attributes:
        name: Name in tables.
        filter: Function that makes the exact result of a photo.
        orders: Complete instructions, the canonical one first.
        looks: Descriptions of the result, as in "turn it into ..." or "... of a dog".
        unseen: Instructions that training never used.
    """

    name: str
    filter: Callable[[Tensor], Tensor]
    orders: tuple[str, ...]
    looks: tuple[str, ...]
    unseen: tuple[str, ...]


def find_true_edit(prompt: str) -> TrueEdit | None:
    """The edit with a wording equal to the prompt, ignoring case; None without one."""
    wanted = prompt.strip().lower()
    for edit in TRUE_EDITS.values():
        if wanted in (*edit.orders, *edit.looks, *edit.unseen):
            return edit
    return None


def _colour(x: Tensor, red: float, green: float, blue: float) -> Tensor:
    return x.new_tensor((red, green, blue)).view(1, 3, 1, 1)


def _grey(x: Tensor) -> Tensor:
    """Luma (ITU-R BT.601), in three equal channels."""
    return (x * _colour(x, 0.299, 0.587, 0.114)).sum(1, keepdim=True).expand_as(x)


def _blur(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (side // 2,) * 4, mode="replicate"), side, 1)


def _edges(x: Tensor) -> Tensor:
    """Strength of luminance edges (N, 1, H, W) in [0, 1], three pixels wide."""
    grey = F.pad(_blur(_grey(x)[:, :1], 3), (1, 1, 1, 1), mode="replicate")
    across = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]).abs()
    down = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]).abs()
    return (F.max_pool2d(across + down, 3, 1, 1) * 4 - 0.15).clamp(0, 1)


def _height(x: Tensor) -> Tensor:
    """Relative height of rows, from 0 at the top to 1 at the bottom: (1, 1, H, 1)."""
    return torch.linspace(0, 1, x.shape[2], device=x.device, dtype=x.dtype).view(1, 1, -1, 1)


def _night(x: Tensor) -> Tensor:
    return (x**1.4 * 0.45 * _colour(x, 0.6, 0.75, 1.2)).clamp(0, 1)


def _sepia(x: Tensor) -> Tensor:
    return (_grey(x) * _colour(x, 1.1, 0.85, 0.55)).clamp(0, 1)


def _black_and_white(x: Tensor) -> Tensor:
    return ((_grey(x) - 0.5) * 1.4 + 0.5).clamp(0, 1)


def _golden_hour(x: Tensor) -> Tensor:
    return (((x - 0.5) * 1.15 + 0.5).clamp(0, 1) * _colour(x, 1.0, 0.72, 0.35)).clamp(0, 1)


def _inverted(x: Tensor) -> Tensor:
    return 1 - x


def _posterized(x: Tensor) -> Tensor:
    return ((_blur(x, 5) * 2).round() / 2).clamp(0, 1)


def _fog(x: Tensor) -> Tensor:
    return x * 0.35 + 0.85 * 0.65


def _sketch(x: Tensor) -> Tensor:
    grey = _grey(x)
    return (grey / (_blur(grey, 9) + 1e-2)).clamp(0, 1)


def _snow(x: Tensor) -> Tensor:
    pale = 0.5 * x + 0.5 * _grey(x)
    cover = ((_height(x) - 0.3) * 3).clamp(0, 1) * 0.85
    return pale * (1 - cover) + (0.75 + 0.25 * _grey(x)) * cover


def _tinted(red: float, green: float, blue: float) -> Callable[[Tensor], Tensor]:
    def tint(x: Tensor) -> Tensor:
        return (0.25 * x + 0.75 * _grey(x) * _colour(x, red, green, blue)).clamp(0, 1)

    return tint


def _red_sky(x: Tensor) -> Tensor:
    grey = _grey(x)
    sky = ((grey - 0.3) * 4).clamp(0, 1) * ((0.7 - _height(x)) * 4).clamp(0, 1)
    return x * (1 - sky) + (grey * _colour(x, 1.1, 0.35, 0.2)).clamp(0, 1) * sky


def _night_above(x: Tensor) -> Tensor:
    above = ((0.55 - _height(x)) * 10).clamp(0, 1)
    return x * (1 - above) + _night(x) * above


def _blurred_background(x: Tensor) -> Tensor:
    rows = torch.linspace(-1, 1, x.shape[2], device=x.device, dtype=x.dtype).view(1, 1, -1, 1)
    columns = torch.linspace(-1, 1, x.shape[3], device=x.device, dtype=x.dtype).view(1, 1, 1, -1)
    away = (((rows**2 + columns**2).sqrt() - 0.45) * 3).clamp(0, 1)
    return x * (1 - away) + _blur(_blur(x, 15), 15) * away


def _outlined(x: Tensor) -> Tensor:
    return x * (1 - _edges(x))


def _neon(x: Tensor) -> Tensor:
    return (_edges(x) * (0.4 + 1.2 * x)).clamp(0, 1)


def _heat(x: Tensor) -> Tensor:
    """False colours: dark becomes blue, medium red, bright yellow."""
    grey = _grey(x)[:, :1]
    red = (grey * 2).clamp(0, 1)
    green = (grey * 2 - 0.9).clamp(0, 1)
    blue = (0.9 - grey * 2).clamp(0, 1)
    return torch.cat((red, green, blue), dim=1)


def _underwater(x: Tensor) -> Tensor:
    return (0.8 * _blur(x, 3) * _colour(x, 0.25, 0.85, 0.95) + _colour(x, 0, 0.1, 0.15)).clamp(0, 1)


TRUE_EDITS: dict[str, TrueEdit] = {
    edit.name: edit
    for edit in (
        TrueEdit(
            "night",
            _night,
            ("make it night", "make it look like night", "change day to night", "turn off the sun"),
            ("a night scene", "a photo at night", "a dark night"),
            ("let it be night", "turn the day into night"),
        ),
        TrueEdit(
            "sepia",
            _sepia,
            ("paint it in sepia", "make it sepia", "add a sepia tone", "make it look old"),
            ("a sepia photo", "an old photo", "a sepia picture"),
            ("give it a sepia look", "turn it into sepia"),
        ),
        TrueEdit(
            "black and white",
            _black_and_white,
            ("black and white", "make it black and white", "take the colours away", "remove color"),
            ("a black and white photo", "a black and white picture", "a monochrome photo"),
            ("turn it black and white", "take all colours away"),
        ),
        TrueEdit(
            "golden hour",
            _golden_hour,
            ("make it golden hour", "make it sunset", "add warm evening light", "make it warm"),
            ("a photo at golden hour", "a photo at sunset", "a golden evening"),
            ("make it a golden evening", "add golden hour light"),
        ),
        TrueEdit(
            "inverted",
            _inverted,
            ("invert the colours", "invert it", "make it a negative", "invert the colors"),
            ("a negative", "a photo negative", "an inverted photo"),
            ("make it inverted", "turn it into a film negative"),
        ),
        TrueEdit(
            "posterized",
            _posterized,
            ("posterize it", "make it a poster", "use only a few colours", "make it flat"),
            ("a poster", "a posterized picture", "a screen print"),
            ("turn it into a flat poster", "posterize the photo"),
        ),
        TrueEdit(
            "fog",
            _fog,
            ("make it a foggy morning", "add fog", "make it foggy", "cover it in mist"),
            ("a foggy morning", "a photo in the fog", "a misty day"),
            ("make it a misty morning", "put fog over it"),
        ),
        TrueEdit(
            "sketch",
            _sketch,
            (
                "turn it into a pencil sketch",
                "make it a pencil drawing",
                "draw it with a pencil",
                "sketch it",
            ),
            ("a pencil sketch", "a pencil drawing", "a sketch"),
            ("make a pencil sketch of it", "draw a sketch of it"),
        ),
        TrueEdit(
            "snow",
            _snow,
            (
                "make it snow",
                "put snow on the ground",
                "cover the ground in snow",
                "make it winter",
            ),
            ("a winter scene", "a photo with snow on the ground", "a snowy day"),
            ("add snow to the ground", "make it a snowy winter"),
        ),
        TrueEdit(
            "red tint",
            _tinted(1.25, 0.4, 0.4),
            ("give it a red tint", "tint it red", "make it red", "add a red filter"),
            ("a photo in red light", "a red photo", "a photo with a red tint"),
            ("colour it red", "put it in red light"),
        ),
        TrueEdit(
            "blue tint",
            _tinted(0.35, 0.6, 1.3),
            ("give it a blue tint", "tint it blue", "make it blue", "add a blue filter"),
            ("a photo in blue light", "a blue photo", "a photo with a blue tint"),
            ("colour it blue", "put it in blue light"),
        ),
        TrueEdit(
            "green tint",
            _tinted(0.45, 1.2, 0.4),
            ("give it a green tint", "tint it green", "make it green", "add a green filter"),
            ("a photo in green light", "a green photo", "a photo with a green tint"),
            ("colour it green", "put it in green light"),
        ),
        TrueEdit(
            "red sky",
            _red_sky,
            ("make the sky red", "a red sky", "turn the sky red", "set the sky on fire"),
            ("a photo with a red sky", "a burning red sky"),
            ("give it a red sky", "paint the sky red"),
        ),
        TrueEdit(
            "night above",
            _night_above,
            (
                "make the upper half night",
                "make it night in the upper half",
                "turn the upper half into night",
                "darken the upper half",
            ),
            ("a photo with the upper half at night",),
            ("make the upper half a dark night", "change the upper half to night"),
        ),
        TrueEdit(
            "blurred background",
            _blurred_background,
            ("blur the background", "blurred background", "make the background blurry"),
            ("a photo with a blurred background", "a photo with a soft background"),
            ("give it a blurred background", "make the background soft"),
        ),
        TrueEdit(
            "outlines",
            _outlined,
            ("make the outlines thicker", "thicker outlines", "add black outlines", "outline it"),
            ("a cartoon with thick outlines", "a photo with black outlines"),
            ("add thick outlines", "draw thicker black outlines"),
        ),
        TrueEdit(
            "neon",
            _neon,
            ("make it neon", "make the edges glow", "turn it into neon lights", "light the edges"),
            ("a neon picture", "glowing neon edges", "neon lights"),
            ("make it glow like neon", "turn the edges into neon"),
        ),
        TrueEdit(
            "heat",
            _heat,
            (
                "make it a heat map",
                "show it as a thermal camera would",
                "make it thermal",
                "use heat colours",
            ),
            ("a heat map", "a thermal picture", "a thermal photo"),
            ("turn it into a heat map", "show it in heat colours"),
        ),
        TrueEdit(
            "underwater",
            _underwater,
            ("put it under water", "make it underwater", "sink it in the sea", "flood it"),
            ("a photo under water", "an underwater photo", "an underwater scene"),
            ("make it an underwater scene", "show it under the sea"),
        ),
    )
}


def truth(edit: TrueEdit, pixels: np.ndarray) -> np.ndarray:
    """The exact result of an edit of a uint8 picture (H, W, 3), as uint8."""
    return pixels_of(edit.filter(tensor(pixels)))


def lost(prompt: str, original: np.ndarray, clean: np.ndarray, made: np.ndarray) -> float | None:
    """How much further than the edit of the original an edit is from the exact result, in dB.

    Args:
        prompt: Instruction of both edits.
        original: The picture before immunization and edit, uint8 (H, W, 3), of any size.
        clean: Edit of the original, uint8 (h, w, 3).
        made: Edit of the immunized picture, of the same shape.

    Returns:
        The loss of PSNR; None for an instruction without an exact result.
    """
    asked = find_true_edit(prompt)
    if asked is None:
        return None
    true = truth(asked, np.asarray(resized_to(original, *clean.shape[:2])))
    return psnr(true, clean) - psnr(true, made)
