"""A model of the visibility of small changes: contrast sensitivity, masking and luminance.

A change is expressed in *visibility thresholds*. It is split into luma and two colour differences.
Each pixel is divided by the masking of its surroundings, and each frequency by the allowance of the
eye's contrast sensitivity. A mean of the thresholds measures how visible the change is. The adjoint
maps gradients to thresholds, so that a step changes most where that is least visible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.pictures.display import FULL_HD

__all__ = ["Lens", "padded", "shown_degree"]

# The logarithm of the sensitivity falls with the square of the logarithm of frequency over peak
# frequency, as in fits of castleCSF (Ashraf et al. 2024, doi 10.1167/jov.24.4.5). Below the peak
# the allowance stays that of the peak. Eyes are less sensitive there, but such changes are the
# blotches that people complain about.
_LUMA_PEAK, _LUMA_FALL = 2.4, 1.4  # cycles per degree; decades per squared decade
_COLOUR_PEAK, _COLOUR_FALL = 0.6, 0.47
_MOST = 10.0  # largest allowance, relative to that of the peak
# Photos much larger than models are fed have changes of low frequencies only, which fewer of the
# eye's channels see. At one ColorVideoVDP score their thresholds are higher by this power of the
# ratio of cut-off frequencies: a fit to large photos and training photos, fed at several sizes.
_WIDE, _NARROWER = 15.0, 0.36  # cycles per degree; exponent

_TO_YCC = torch.tensor(
    ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
)
_FROM_YCC = torch.linalg.inv(_TO_YCC.double()).float()


def shown_degree(height: int, width: int) -> float:
    """Pixels of a photo per degree of visual angle, shown whole on a full-HD display."""
    return FULL_HD.pixels_per_degree / FULL_HD.scale(height, width)


@dataclass(frozen=True, eq=False)
class Lens:
    """The visibility of changes to one photo.

    Source: the contrast sensitivity is fitted to castleCSF (Ashraf et al. 2024, doi
    10.1167/jov.24.4.5).

    Attributes:
        size: Height and width (h, w) of thresholds, padded to lengths for which FFTs are fast.
        gain: Allowance of each frequency, (1, C, h, w // 2 + 1); 1 at the peak of luma where
            changes may have frequencies up to 15 cycles per degree or more, larger otherwise.
        band: Frequencies that changes may contain, (h, w // 2 + 1); 1 for those, 0 for others.
        hidden: Allowance of each pixel, (N, 1, H, W), in units of [0, 1]. It is about one 8-bit
            level where the photo is flat and mid grey.
        mix: Matrix (C, C) from colour channels to luma and colour differences.
        unmix: Inverse of ``mix``.
    """

    size: tuple[int, int]
    gain: Tensor
    band: Tensor
    hidden: Tensor
    mix: Tensor
    unmix: Tensor

    @classmethod
    def of(
        cls,
        photo: Tensor,
        *,
        degree: float,
        finest: float,
        colour: float,
        texture: float,
        band: float = 1.0,
        size: tuple[int, int] | None = None,
    ) -> Lens:
        """The lens of photos of one shape.

        Args:
            photo: Photos, float32 (N, C, H, W) in [0, 1], with one channel or three.
            degree: Pixels of the photo per degree of visual angle.
            finest: Highest frequency that models are fed, in cycles per pixel. Changes of higher
                ones would be visible, but removed when a model's input is resized.
            colour: Allowance of colour differences at their peak, relative to that of luma.
            texture: Strength of masking by contrast nearby; 0 disables it.
            band: Highest frequency of changes, relative to ``finest``.
            size: Height and width of thresholds; ``padded`` sides of the photo when None.
        """
        channels = photo.shape[1]
        size = size or (padded(photo.shape[-2]), padded(photo.shape[-1]))
        frequencies = _frequencies(*size, device=photo.device)
        fed: Any = finest * degree  # in an exported graph it is a tensor
        cut = fed.clamp_max(_WIDE) if isinstance(fed, Tensor) else min(fed, _WIDE)
        narrow = (_WIDE / cut) ** _NARROWER
        luma = narrow * _allowance(frequencies * degree, _LUMA_PEAK, _LUMA_FALL)
        tint = narrow * colour * _allowance(frequencies * degree, _COLOUR_PEAK, _COLOUR_FALL)
        mix, unmix = (_TO_YCC, _FROM_YCC) if channels == 3 else (torch.ones(1, 1),) * 2
        return cls(
            size=size,
            gain=torch.stack([luma, tint, tint][:channels])[None],
            band=(frequencies <= finest * band).to(photo.dtype),
            hidden=_hidden(_mixed(photo, mix.to(photo))[:, :1], texture) / 255,
            mix=mix.to(photo),
            unmix=unmix.to(photo),
        )

    def thresholds(self, change: Tensor) -> Tensor:
        """The thresholds (N, C, h, w) of a change (N, C, H, W) in units of [0, 1]."""
        seen = _mixed(change / self.hidden, self.mix)
        return self._filtered(seen, 1 / self.gain)

    def change(self, thresholds: Tensor) -> Tensor:
        """The band-limited change (N, C, H, W) that has these thresholds (N, C, h, w)."""
        height, width = self.hidden.shape[-2:]
        seen = self._filtered(thresholds, self.gain * self.band)[..., :height, :width]
        return _mixed(seen, self.unmix) * self.hidden

    def pulled(self, gradient: Tensor) -> Tensor:
        """The gradient (N, C, h, w) with respect to thresholds: the adjoint of ``change``.

        Args:
            gradient: Gradient (N, C, H, W) with respect to the change.
        """
        return self._filtered(_mixed(gradient * self.hidden, self.unmix.T), self.gain * self.band)

    def _filtered(self, planes: Tensor, factors: Tensor) -> Tensor:
        # The factors are real and even, so the filter is its own adjoint.
        spectrum = torch.fft.rfft2(planes, s=self.size).mul_(factors)
        filtered: Tensor = torch.fft.irfft2(spectrum, s=self.size)
        return filtered


def _frequencies(height: int, width: int, *, device: torch.device) -> Tensor:
    """The frequency (h, w // 2 + 1), in cycles per pixel, of each term of a real FFT.

    That of ``torch.fft.fftfreq`` and ``rfftfreq``, which cannot be exported for all sizes.
    """
    tall, wide = (torch.full((1,), side, device=device) for side in (height, width))
    down = torch.arange(height, device=device)
    down = torch.minimum(down, tall - down)  # the upper half are negative frequencies
    across = torch.arange(width // 2 + 1, device=device)
    return ((down / tall).square()[:, None] + (across / wide).square()[None]).sqrt()


def _allowance(frequencies: Tensor, peak: float, fall: float) -> Tensor:
    decades = (frequencies / peak).clamp_min(1).log10()
    return torch.exp(math.log(10) * fall * decades.square()).clamp_max(_MOST)


def _hidden(luma: Tensor, texture: float) -> Tensor:
    """The masking of each pixel (N, 1, H, W), about 1 where luma is flat and mid grey.

    Contrast is the smaller of two standard deviations, in a small and in a large window. The flat
    side of an edge has none, so that no change spreads from edges into skin and sky.
    """
    contrast = torch.minimum(_deviation(luma, 2), _deviation(luma, 6))
    masked = 1 + texture * (contrast * 255 / 4) ** 0.8
    # One 8-bit level is more visible in dark areas than in bright ones: gamma encoding makes up for
    # only part of Weber's law.
    return _blurred(masked, 2) * (0.55 + 0.9 * _blurred(luma, 2))


def _deviation(plane: Tensor, radius: int) -> Tensor:
    mean = _blurred(plane, radius)
    return (_blurred(plane.square(), radius) - mean.square()).clamp_min(0).sqrt()


def _blurred(plane: Tensor, radius: int) -> Tensor:
    """The mean over a square window of 2 ``radius`` + 1 pixels, cut off at the photo's edges."""
    side = 2 * radius + 1
    # Rows, then columns: as many operations as sides, not as pixels of the window.
    for window, padding in (((1, side), (0, radius)), ((side, 1), (radius, 0))):
        plane = F.avg_pool2d(plane, window, 1, padding, count_include_pad=False)
    return plane


def _mixed(planes: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("dc,nchw->ndhw", matrix, planes)


def padded(length: int) -> int:
    """The least length from ``length`` up whose prime factors are 2, 3 and 5: FFTs are fast."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
