"""Pair metrics that are formulas on pixels: similarity, without any trained network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.metrics import distortion as visible
from photovax.metrics.contracts import PAIR_METRICS
from photovax.tensors import planes

__all__ = ["Formula", "fsim", "ms_ssim", "vifp"]

_Compare: TypeAlias = Callable[[np.ndarray, np.ndarray], float | None]


@dataclass
class Formula:
    """A pair metric that is a function of the two pictures.

    Attributes:
        label: Name in tables.
        compare: The function.
        higher_is_closer: Whether it measures similarity rather than distance.
        compares_edits: Whether it also compares edits.
    """

    label: str
    compare: _Compare
    higher_is_closer: bool = True
    compares_edits: bool = True

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape, the reference first."""
        return self.compare(first, second)


def _register(name: str, label: str, compare: _Compare) -> None:
    @PAIR_METRICS.register(name)
    def make() -> Formula:
        return Formula(label, compare)


def ms_ssim(first: np.ndarray, second: np.ndarray) -> float | None:
    """Multi-scale structural similarity (Wang et al. 2003: five scales) of uint8 pictures.

    The result is the mean over channels. It is None where a side has fewer than 176 pixels, since
    the coarsest scale, 1/16, is then smaller than the window of SSIM.
    """
    if min(first.shape[:2]) < 176:
        return None
    # Imported late here and below: it imports transformers, and few runs need it.
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    # One channel at a time, since each needs about a hundred floats per pixel.
    one, other = (planes(picture).float().transpose(0, 1)[:, None] for picture in (first, second))
    found = [
        float(multiscale_structural_similarity_index_measure(changed, reference, data_range=255.0))
        for reference, changed in zip(one, other, strict=True)
    ]
    return sum(found) / len(found)


def vifp(first: np.ndarray, second: np.ndarray) -> float | None:
    """Visual information fidelity in the pixel domain (Sheikh and Bovik 2006) of uint8 pictures.

    Measured on luma (ITU-R BT.601) in 0 .. 255 with a noise variance of 2, as ``piq.vif_p``. It is
    not symmetric: the first picture is the reference, and more contrast in the second can give
    values above 1. None where a side has fewer than 41 pixels or the reference is flat.
    """
    if min(first.shape[:2]) < 41:
        return None
    from torchmetrics.functional.image import visual_information_fidelity

    reference, changed = (_yiq(picture)[:, :1].float() for picture in (first, second))
    if reference.min() == reference.max():
        return None
    return float(visual_information_fidelity(changed, reference))


def fsim(first: np.ndarray, second: np.ndarray) -> float | None:
    """Feature similarity of uint8 pictures: FSIMc, the variant for colour.

    Zhang, Zhang, Mou and Zhang 2011 with their constants, as ``piq.fsim``. None where a side has
    fewer than 48 pixels, the longest wavelength, or where neither picture has any structure.
    """
    short = min(first.shape[:2])
    if short < _WAVELENGTHS[-1]:
        return None
    side = max(1, round(short / 256))
    one, other = (F.avg_pool2d(_yiq(picture), side)[0] for picture in (first, second))
    phase, other_phase = _phase_congruency(one[0]), _phase_congruency(other[0])
    alike = _alike(phase, other_phase, 0.85) * _alike(_slope(one[0]), _slope(other[0]), 160)
    colours = _alike(one[1], other[1], 200) * _alike(one[2], other[2], 200)
    importance = torch.maximum(phase, other_phase)
    if not importance.any():
        return None
    return float((alike * colours.abs() ** 0.03 * importance).sum() / importance.sum())


_register("psnr", "PSNR (dB)", visible.psnr)
_register("ssim", "SSIM", visible.ssim)
_register("ms_ssim", "MS-SSIM", ms_ssim)
_register("vifp", "VIFp", vifp)
_register("fsim", "FSIMc", fsim)

_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_WAVELENGTHS = (6, 12, 24, 48)  # pixels
_ANGLES = tuple(index * math.pi / 4 for index in range(4))
_LENGTH_SPREAD = 0.55  # relative spread of the log-Gaussian filters over frequencies
_ANGLE_SPREAD = math.pi / 4 / 1.2  # radians


def _yiq(picture: np.ndarray) -> Tensor:
    """Luma and two colour differences, float64 (1, 3, H, W) in 8-bit levels."""
    weights = torch.tensor(_TO_YIQ, dtype=torch.float64)
    return torch.einsum("dc,nchw->ndhw", weights, planes(picture).double())


def _alike(one: Tensor, other: Tensor, constant: float) -> Tensor:
    return (2 * one * other + constant) / (one**2 + other**2 + constant)


def _slope(luma: Tensor) -> Tensor:
    """Gradient magnitude (H, W) by the Scharr operator."""
    across = luma.new_tensor(((-3, 0, 3), (-10, 0, 10), (-3, 0, 3))) / 16
    kernels = torch.stack((across, across.T))[:, None]
    return F.conv2d(luma[None, None], kernels, padding=1)[0].square().sum(0).sqrt()


def _phase_congruency(luma: Tensor) -> Tensor:
    """Phase congruency at each pixel (H, W), in [0, 1] (PC2 of Kovesi 1999).

    The energy of the filter responses along their common phase, minus the expected energy of noise,
    relative to the sum of their amplitudes.
    """
    # No filter passes the mean. Without it, flat pictures give exactly zero.
    spectrum = torch.fft.fft2(luma - luma[0, 0])
    energy, amplitude = torch.zeros_like(luma), torch.full_like(luma, 1e-12)
    for filters in _log_gabor(*luma.shape):
        responses = torch.fft.ifft2(spectrum * filters)
        common = responses.sum(0)
        turned = responses * (common / (common.abs() + 1e-12)).conj()
        aligned = (turned.real - turned.imag.abs()).sum(0)
        energy += (aligned - _noise(responses[0], filters)).clamp_min(0)
        amplitude += responses.abs().sum(0)
    return energy / amplitude


def _noise(finest: Tensor, filters: Tensor) -> Tensor:
    """Noise threshold of the energy of one direction: mean plus two standard deviations.

    The power of the noise is estimated from the finest responses, whose squares are then
    exponentially distributed. The energy of the sum of all responses is Rayleigh distributed. 1.7
    is Kovesi's empirical correction for PC2.
    """
    power = finest.abs().square().median() / math.log(2) / filters[0].square().sum()
    kernel = torch.fft.ifft2(filters.sum(0)).real
    scale: Tensor = (power * kernel.square().sum() * kernel.numel()).sqrt()
    return scale * ((math.sqrt(math.pi / 2) + 2 * math.sqrt(2 - math.pi / 2)) / 1.7)


@lru_cache(maxsize=4)
def _log_gabor(height: int, width: int) -> Tensor:
    """Filters over frequencies, float64 (angles, wavelengths, H, W), zero frequency first."""
    down, across = torch.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius = torch.hypot(down, across)
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    lengths = torch.stack(
        [
            low_pass
            * torch.exp(-(((radius * wavelength).log() / math.log(_LENGTH_SPREAD)) ** 2) / 2)
            for wavelength in _WAVELENGTHS
        ]
    )
    lengths[:, 0, 0] = 0
    direction = torch.atan2(-down, across)
    turns = torch.stack([direction - angle for angle in _ANGLES])
    turns = torch.atan2(turns.sin(), turns.cos())
    return lengths * torch.exp(-(turns / _ANGLE_SPREAD).square() / 2)[:, None]


def _frequencies(count: int) -> Tensor:
    """Cycles per pixel, zero first. Odd counts are stretched to ± 1/2, as in Kovesi's code."""
    steps: Tensor = torch.fft.fftfreq(count, dtype=torch.float64) * count
    return steps / (count - count % 2)
