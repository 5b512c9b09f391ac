"""Views of what any photo editor does: crops, rotations, blur, noise and curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from photovax.errors import UsageError
from photovax.models.views.contract import VIEWS, View
from photovax.models.views.resampling import resize
from photovax.pictures.resize import share_in_rotation

__all__ = ["Bits", "Blur", "CropResize", "Flip", "Gamma", "Median", "Noise", "Rotate"]


def _drawn(generator: Generator) -> float:
    """A random number in [0, 1)."""
    return float(torch.rand((), generator=generator, device=generator.device))


@VIEWS.register("crop_resize")
@dataclass(frozen=True)
class CropResize(View):
    """A random crop, enlarged to the former size.

    Attributes:
        share: Least share of each side that is kept, above 0 and up to 1. The share is drawn
            uniformly from there to 1.

    Raises:
        UsageError: If the share is out of range.
    """

    share: float = 0.8
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                f"view crop_resize needs a share above 0 and up to 1, got {self.share:g}"
            )

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The enlarged crop; the generator draws share and position."""
        height, width = images.shape[-2:]
        share = self.share + (1 - self.share) * _drawn(generator)
        tall, wide = (max(1, round(side * share)) for side in (height, width))
        top = int(_drawn(generator) * (height - tall + 1))
        left = int(_drawn(generator) * (width - wide + 1))
        return resize(images[..., top : top + tall, left : left + wide], height, width)


@VIEWS.register("rotate")
@dataclass(frozen=True)
class Rotate(View):
    """A rotation about the centre, enlarged until no corner is empty.

    Source: Athalye et al., *Synthesizing Robust Adversarial Examples* (arXiv 1707.07397).

    Attributes:
        degrees: Largest angle, above 0 and below 45; it is drawn uniformly between the two signs.

    Raises:
        UsageError: If the angle is out of range.
    """

    degrees: float = 3.0
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.degrees < 45:
            raise UsageError(
                f"view rotate needs degrees above 0 and below 45, got {self.degrees:g}"
            )

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The rotated images; the generator draws the angle."""
        height, width = images.shape[-2:]
        angle = math.radians(self.degrees) * (2 * _drawn(generator) - 1)
        cos, sin, kept = math.cos(angle), math.sin(angle), share_in_rotation(height, width, angle)
        turn = images.new_tensor(
            [
                [kept * cos, -kept * sin * height / width, 0.0],
                [kept * sin * width / height, kept * cos, 0.0],
            ]
        )
        grid = F.affine_grid(
            turn.expand(len(images), 2, 3), list(images.shape), align_corners=False
        )
        # Older PyTorch has no gradient of bicubic sampling on Apple's GPUs.
        smooth = "bicubic" if images.device.type in ("cpu", "cuda") else "bilinear"
        turned = F.grid_sample(images, grid, smooth, "border", align_corners=False)
        return turned.clamp(0, 1)


@VIEWS.register("flip")
@dataclass(frozen=True)
class Flip(View):
    """The mirror image, left and right exchanged."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The mirrored images."""
        return images.flip(-1)


@VIEWS.register("blur")
@dataclass(frozen=True)
class Blur(View):
    """A Gaussian blur.

    Attributes:
        sigma: Standard deviation in pixels, above 0.

    Raises:
        UsageError: If sigma is out of range.
    """

    sigma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 50:
            raise UsageError(f"view blur needs a sigma above 0 and up to 50, got {self.sigma:g}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The blurred images; the edge is continued outwards."""
        reach = max(1, math.ceil(3 * self.sigma))
        places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
        kernel = torch.exp(-places.square() / (2 * self.sigma**2))
        kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
        across = F.pad(images, (reach, reach, 0, 0), mode="replicate")
        images = F.conv2d(across, kernel, groups=images.shape[1])
        down = F.pad(images, (0, 0, reach, reach), mode="replicate")
        return F.conv2d(down, kernel.transpose(2, 3), groups=images.shape[1])


@VIEWS.register("median")
@dataclass(frozen=True)
class Median(View):
    """The median of each channel over 3 x 3 pixels; the gradient goes to the median pixel."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The filtered images; the edge is continued outwards."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        shifts = [
            padded[..., top : top + height, left : left + width]
            for top in range(3)
            for left in range(3)
        ]
        return torch.stack(shifts).median(dim=0).values


@VIEWS.register("noise")
@dataclass(frozen=True)
class Noise(View):
    """Gaussian noise on every channel of every pixel.

    Attributes:
        levels: Standard deviation in 8-bit levels, above 0.

    Raises:
        UsageError: If the deviation is out of range.
    """

    levels: float = 8.0
    random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.levels <= 255:
            raise UsageError(f"view noise needs levels above 0 and up to 255, got {self.levels:g}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The noisy images."""
        # A generator of its own, so that masks, which have fewer channels, draw what comes after
        # in a chain as photos do.
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        own = torch.Generator(generator.device).manual_seed(seed)
        noise = torch.randn(images.shape, generator=own, device=images.device)
        return (images + noise * (self.levels / 255)).clamp(0, 1)


@VIEWS.register("bits")
@dataclass(frozen=True)
class Bits(View):
    """Fewer levels of each channel; the gradient treats rounding as the identity.

    Attributes:
        bits: Bits of a channel, 1 to 8.

    Raises:
        UsageError: If the number is out of range.
    """

    bits: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise UsageError(f"view bits needs 1 to 8 bits, got {self.bits}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The rounded images."""
        steps = 2**self.bits - 1
        rounded: Tensor = images + (images.mul(steps).round() / steps - images).detach()
        return rounded


@VIEWS.register("gamma")
@dataclass(frozen=True)
class Gamma(View):
    """A brighter or darker picture: a power of the pixel values.

    Attributes:
        exponent: Exponent, from 0.2 to 5; below 1 is brighter.

    Raises:
        UsageError: If the exponent is out of range.
    """

    exponent: float = 0.8

    def __post_init__(self) -> None:
        if not 0.2 <= self.exponent <= 5:
            raise UsageError(f"view gamma needs an exponent from 0.2 to 5, got {self.exponent:g}")

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """The brighter or darker images."""
        # At 0 the slope of a power below 1 is infinite.
        changed: Tensor = images.clamp_min(1 / 512).pow(self.exponent)
        return changed
