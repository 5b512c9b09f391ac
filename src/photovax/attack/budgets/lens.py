"""What eyes make of a small change to a photo: contrast sensitivity, masking, luminance.

A change is taken apart into *thresholds*: luma and two colour differences, every frequency divided
by what eyes let pass there, every place by what its surroundings hide. The root mean square of
what comes out says how visible the change is, and what gradients are weighed by says where a
change pays most for what is seen of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from photovax.pictures.display import FULL_HD

__all__ = ["Lens", "shown_degree"]

# Sensitivity falls with the square of the decades beyond its peak, as in fits of castleCSF
# (Ashraf et al. 2024, doi 10.1167/jov.24.4.5). Below the peak no more is allowed than at it: eyes
# are less sensitive there, but such changes are the blotches that people complain of.
_LUMA_PEAK, _LUMA_FALL = 2.4, 1.4  # cycles a degree; decades a squared decade
_COLOUR_PEAK, _COLOUR_FALL = 0.6, 0.47
_MOST = 10.0  # times a frequency is allowed what the peak is

_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def shown_degree(height: int, width: int) -> float:
    """Pixels of a photo in a degree of the field of view, as a full-HD display shows it whole."""
    return FULL_HD.pixels_per_degree / FULL_HD.scale(height, width)


@dataclass(frozen=True, eq=False)
class Lens:
    """How changes to one photo are seen.

    Attributes:
        gain: Allowance of each frequency (1, C, h, w // 2 + 1), 1 at the peak of luma.
        band: Share of each frequency (h, w // 2 + 1) that changes are made of, 0 or 1.
        size: The sides (h, w) of thresholds, padded to lengths that FFTs are fast for.
        hidden: Allowance of each place (N, 1, H, W), about a level of 8 bits where it is flat and
            mid grey.
        mix: Colour channels to luma and colour differences (C, C).
        unmix: The reverse.
    """

    size: tuple[int, int]
    gain: Tensor
    band: Tensor
    hidden: Tensor
    mix: Tensor
    unmix: Tensor

    @classmethod
    def of(
        cls, photo: Tensor, *, degree: float, finest: float, colour: float, texture: float
    ) -> Lens:
        """The lens of photos of one shape.

        Args:
            photo: Float32 (N, C, H, W) in [0, 1], of one channel or three.
            degree: Its pixels in a degree of the field of view.
            finest: The highest frequency that changes are made of, in cycles a pixel: what a
                resize takes away is seen, and does nothing.
            colour: Allowance of colour differences at their peak, that of luma being 1.
            texture: Strength of masking by contrast nearby, 0 for none.
        """
        channels = photo.shape[1]
        size = _padded(photo.shape[-2]), _padded(photo.shape[-1])
        down = torch.fft.fftfreq(size[0], device=photo.device)[:, None]
        across = torch.fft.rfftfreq(size[1], device=photo.device)[None]
        frequencies = torch.hypot(down, across)
        luma = _allowance(frequencies * degree, _LUMA_PEAK, _LUMA_FALL)
        tint = colour * _allowance(frequencies * degree, _COLOUR_PEAK, _COLOUR_FALL)
        mix = torch.tensor(_TO_YCC if channels == 3 else ((1.0,),), device=photo.device)
        return cls(
            size=size,
            gain=torch.stack([luma, tint, tint][:channels])[None],
            band=(frequencies <= finest).to(photo.dtype),
            hidden=_hidden(_mixed(photo, mix)[:, :1], texture) / 255,
            mix=mix,
            unmix=torch.linalg.inv(mix.double()).float(),
        )

    def thresholds(self, change: Tensor) -> Tensor:
        """A change (N, C, H, W), in units of [0, 1], in thresholds (N, C, h, w)."""
        seen = _mixed(change / self.hidden, self.mix)
        return self._filtered(seen, 1 / self.gain)

    def change(self, thresholds: Tensor) -> Tensor:
        """The change (N, C, H, W), in the band, that has these thresholds."""
        height, width = self.hidden.shape[-2:]
        seen = self._filtered(thresholds, self.gain * self.band)[..., :height, :width]
        return _mixed(seen, self.unmix) * self.hidden

    def pulled(self, gradient: Tensor) -> Tensor:
        """The gradient by thresholds (N, C, h, w) for one by changes: the adjoint of ``change``."""
        return self._filtered(_mixed(gradient * self.hidden, self.unmix.T), self.gain * self.band)

    def _filtered(self, planes: Tensor, factors: Tensor) -> Tensor:
        # The factors are real and even, so that the filter is its own adjoint.
        spectrum = torch.fft.rfft2(planes, s=self.size).mul_(factors)
        filtered: Tensor = torch.fft.irfft2(spectrum, s=self.size)
        return filtered


def _allowance(frequencies: Tensor, peak: float, fall: float) -> Tensor:
    decades = (frequencies / peak).clamp_min(1).log10()
    return torch.exp(math.log(10) * fall * decades.square()).clamp_max(_MOST)


def _hidden(luma: Tensor, texture: float) -> Tensor:
    """What each place hides (N, 1, H, W), 1 where it is flat and mid grey.

    Contrast is the smaller of two standard deviations, in a small and in a large window: beside an
    edge the flat side has none, so that nothing spills over onto skin and sky.
    """
    contrast = torch.minimum(_deviation(luma, 2), _deviation(luma, 6))
    masked = 1 + texture * (contrast * 255 / 4) ** 0.8
    # A level is more of a step in the dark than in the light (Weber), less than gamma makes up for.
    return _blurred(masked, 2) * (0.55 + 0.9 * _blurred(luma, 2))


def _deviation(plane: Tensor, radius: int) -> Tensor:
    mean = _blurred(plane, radius)
    return (_blurred(plane.square(), radius) - mean.square()).clamp_min(0).sqrt()


def _blurred(plane: Tensor, radius: int) -> Tensor:
    """The mean over a window of 2 ``radius`` + 1 pixels a side, smaller at the edges."""
    side = 2 * radius + 1
    return F.avg_pool2d(plane, side, 1, radius, count_include_pad=False)


def _mixed(planes: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("dc,nchw->ndhw", matrix, planes)


def _padded(length: int) -> int:
    """The next length from here that is a product of 2, 3 and 5, which FFTs are fast for."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
