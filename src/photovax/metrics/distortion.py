"""Distortion of a photo: norms, PSNR and SSIM of 8-bit pixels, as they are saved."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from photovax.errors import UsageError
from photovax.tensors import planes

__all__ = ["Visibility", "check_comparable", "image_psnr", "psnr", "ssim", "visibility"]

_HALO = 5  # half of SSIM's 11 x 11 window
_BAND = 2**17  # pixels at a time, since SSIM makes some twenty float copies of its input


@dataclass(frozen=True)
class Visibility:
    """The distortion between two pictures.

    Attributes:
        linf: Largest change of any channel, in 8-bit levels.
        l2: Euclidean length of the change over all pixels and channels, in units of [0, 1].
        psnr: Peak signal-to-noise ratio in dB; infinite where nothing changed.
        ssim: Structural similarity (Wang et al. 2004: Gaussian window of sigma 1.5, mean over
            channels and full windows); None for pictures with a side below 11 pixels, and where it
            is not measured.
        changed: Share of pixels that changed, in [0, 1].
    """

    linf: int
    l2: float
    psnr: float
    ssim: float | None
    changed: float

    def figures(self) -> dict[str, float | None]:
        """All figures for JSON, with null for the infinite PSNR of equal pictures."""
        return asdict(self) | {"psnr": self.psnr if math.isfinite(self.psnr) else None}


def visibility(original: np.ndarray, changed: np.ndarray, *, structure: bool = True) -> Visibility:
    """Compare two uint8 pictures (H, W, C) of one shape.

    Args:
        original: The reference.
        changed: The changed picture.
        structure: Whether to measure SSIM, which takes nearly all of the time.

    Raises:
        UsageError: If the shapes differ.
    """
    check_comparable(original, changed)
    largest = squares = touched = 0
    for rows in _bands(len(original), original.shape[1]):
        difference = changed[rows].astype(np.int16) - original[rows]
        largest = max(largest, int(np.abs(difference).max()))
        squares += int(np.square(difference, dtype=np.int64).sum())
        touched += int(difference.any(axis=2).sum())
    return Visibility(
        linf=largest,
        l2=math.sqrt(squares) / 255,
        psnr=_psnr(squares, original.size),
        ssim=ssim(original, changed) if structure else None,
        changed=touched / (original.shape[0] * original.shape[1]),
    )


def check_comparable(original: np.ndarray, changed: np.ndarray) -> None:
    """Check that two pictures (H, W, C) can be compared.

    Raises:
        UsageError: If their shapes differ.
    """
    if original.shape != changed.shape:
        raise UsageError(
            f"cannot compare a picture of {_named(changed)} with one of {_named(original)}"
        )


def psnr(original: np.ndarray, changed: np.ndarray) -> float:
    """Peak signal-to-noise ratio, in dB, of two uint8 pictures (H, W, C) of one shape.

    Infinite where they are equal.
    """
    squares = sum(
        int(np.square(changed[rows].astype(np.int64) - original[rows]).sum())
        for rows in _bands(len(original), original.shape[1])
    )
    return _psnr(squares, original.size)


def image_psnr(images: Tensor, originals: Tensor) -> Tensor:
    """PSNR, in dB, of each image of a batch (N, C, H, W) in [0, 1]: shape (N,), at most 100."""
    return -10 * (images - originals).square().flatten(1).mean(1).clamp_min(1e-10).log10()


def ssim(original: np.ndarray, changed: np.ndarray) -> float | None:
    """Structural similarity (Wang et al. 2004) of two uint8 pictures (H, W, C) of one shape.

    None where a side has fewer than 11 pixels.
    """
    height, width = original.shape[:2]
    if min(height, width) <= 2 * _HALO:
        return None
    # Here, since the import takes seconds, which are then not paid by what measures no SSIM.
    from torchmetrics.functional.image import structural_similarity_index_measure

    total = 0.0
    for rows in _bands(height - 2 * _HALO, width):
        seen = slice(rows.start, rows.stop + 2 * _HALO)
        # torchmetrics keeps this layout, in which its convolutions take a third of the time.
        first, second = (
            planes(picture[seen]).to(torch.float32, memory_format=torch.channels_last)
            for picture in (original, changed)
        )
        _, values = structural_similarity_index_measure(
            first, second, data_range=255.0, return_full_image=True
        )
        total += values[..., _HALO:-_HALO, _HALO:-_HALO].double().sum().item()
    windows = (height - 2 * _HALO) * (width - 2 * _HALO) * original.shape[2]
    return float(total / windows)


def _bands(rows: int, width: int) -> list[slice]:
    each = max(2 * _HALO, _BAND // width)  # no fewer rows than neighbouring bands share
    return [slice(top, min(top + each, rows)) for top in range(0, rows, each)]


def _psnr(squares: int, count: int) -> float:
    return math.inf if squares == 0 else 10 * math.log10(255**2 * count / squares)


def _named(picture: np.ndarray) -> str:
    height, width, channels = picture.shape
    return f"{width} x {height} pixels in {'grey' if channels == 1 else 'colour'}"
