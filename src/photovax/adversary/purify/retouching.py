"""Purifiers that any photo editor offers: cropping, rotating, noise, blur, levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from photovax.adversary.purify.contract import PURIFIERS
from photovax.errors import UsageError
from photovax.pictures.resize import share_in_rotation

__all__ = ["Bits", "Blur", "CropResize", "Gamma", "Median", "Noise", "Rotate"]


@PURIFIERS.register("crop_resize")
@dataclass(frozen=True)
class CropResize:
    """Crop a random part of the picture, and resize it back by Lanczos.

    Source: Guo et al., *Countering Adversarial Images Using Input Transformations* (arXiv
    1711.00117), with one crop instead of an average over many.

    Attributes:
        share: Share of each side that is kept, above 0 and up to 1.

    Raises:
        UsageError: If an option is out of range.
    """

    share: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(
                f"purifier crop_resize needs a share above 0 and up to 1, got {self.share:g}"
            )

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The enlarged crop."""
        random = np.random.default_rng(seed)
        picture = Image.fromarray(pixels)
        sizes = [max(1, round(side * self.share)) for side in picture.size]
        left, top = (
            int(random.integers(side - size + 1))
            for side, size in zip(picture.size, sizes, strict=True)
        )
        part = picture.crop((left, top, left + sizes[0], top + sizes[1]))
        return np.array(part.resize(picture.size, Image.Resampling.LANCZOS))


@PURIFIERS.register("rotate")
@dataclass(frozen=True)
class Rotate:
    """Rotate about the centre and enlarge until no corner is empty, in one bicubic resampling.

    Source: Salman et al., *Raising the Cost of Malicious AI-Powered Image Editing* (arXiv
    2302.06588), which names rotation among the attacks that it does not withstand.

    Attributes:
        degrees: Angle, counter-clockwise, in (-45, 45).

    Raises:
        UsageError: If an option is out of range.
    """

    degrees: float = 2.0

    def __post_init__(self) -> None:
        if not -45 < self.degrees < 45:
            raise UsageError(
                f"purifier rotate needs degrees between -45 and 45, got {self.degrees:g}"
            )

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The rotated picture, of the same size."""
        height, width = pixels.shape[:2]
        angle = math.radians(self.degrees)
        cos, sin, kept = math.cos(angle), math.sin(angle), share_in_rotation(height, width, angle)
        a, b = kept * cos, -kept * sin
        d, e = kept * sin, kept * cos
        c = width / 2 - a * width / 2 - b * height / 2
        f = height / 2 - d * width / 2 - e * height / 2
        turned = Image.fromarray(pixels).transform(
            (width, height),
            Image.Transform.AFFINE,
            (a, b, c, d, e, f),
            resample=Image.Resampling.BICUBIC,
        )
        return np.array(turned)


@PURIFIERS.register("noise")
@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise to every channel of every pixel.

    Source: Hönig et al., *Adversarial Perturbations Cannot Reliably Protect Artists From
    Generative AI* (arXiv 2406.12027).

    Attributes:
        levels: Standard deviation of the noise, in 8-bit levels.

    Raises:
        UsageError: If an option is out of range.
    """

    levels: float = 8.0

    def __post_init__(self) -> None:
        if self.levels <= 0:
            raise UsageError(f"purifier noise needs levels above 0, got {self.levels:g}")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The noisy picture."""
        noise = np.random.default_rng(seed).normal(0, self.levels, pixels.shape)
        return _levels(pixels + noise)


@PURIFIERS.register("blur")
@dataclass(frozen=True)
class Blur:
    """Gaussian blur, as Pillow approximates it by boxes.

    Source: the local smoothing of Xu et al., *Feature Squeezing* (arXiv 1704.01155).

    Attributes:
        radius: Standard deviation, in pixels.

    Raises:
        UsageError: If an option is out of range.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise UsageError(f"purifier blur needs a radius above 0, got {self.radius:g}")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The blurred picture."""
        return np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(self.radius)))


@PURIFIERS.register("median")
@dataclass(frozen=True)
class Median:
    """Median filter: the median of each channel over a square around each pixel.

    Source: Xu et al., *Feature Squeezing* (arXiv 1704.01155).

    Attributes:
        side: Side of the square, in pixels: odd, 3 or more.

    Raises:
        UsageError: If an option is out of range.
    """

    side: int = 3

    def __post_init__(self) -> None:
        if self.side < 3 or self.side % 2 == 0:
            raise UsageError(f"purifier median needs an odd side from 3 up, got {self.side}")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The smoothed picture."""
        return np.array(Image.fromarray(pixels).filter(ImageFilter.MedianFilter(self.side)))


@PURIFIERS.register("bits")
@dataclass(frozen=True)
class Bits:
    """Reduce the bit depth: the nearest of 2^bits evenly spaced levels from black to white.

    Source: Xu et al., *Feature Squeezing* (arXiv 1704.01155).

    Attributes:
        bits: Bits per channel, 1 to 7.

    Raises:
        UsageError: If an option is out of range.
    """

    bits: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 7:
            raise UsageError(f"purifier bits needs 1 to 7 bits, got {self.bits}")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The picture of fewer levels."""
        top = 2**self.bits - 1
        table = _levels(np.rint(np.arange(256) * (top / 255)) * (255 / top))
        return np.take(table, pixels)


@PURIFIERS.register("gamma")
@dataclass(frozen=True)
class Gamma:
    """Gamma correction by a random exponent; brighter and darker are equally likely.

    Source: Salman et al., *Raising the Cost of Malicious AI-Powered Image Editing* (arXiv
    2302.06588), which names filters among the attacks that it does not withstand.

    Attributes:
        most: Largest exponent; the smallest is its inverse. The exponent is log-uniform.

    Raises:
        UsageError: If an option is out of range.
    """

    most: float = 1.25

    def __post_init__(self) -> None:
        if self.most <= 1:
            raise UsageError(f"purifier gamma needs a power above 1, got {self.most:g}")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The brightened or darkened picture."""
        power = self.most ** np.random.default_rng(seed).uniform(-1, 1)
        table = _levels(255 * (np.arange(256) / 255) ** power)
        return np.take(table, pixels)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(values).clip(0, 255), dtype=np.uint8)
