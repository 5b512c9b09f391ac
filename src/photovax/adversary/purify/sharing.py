"""Purifiers that sending and posting a photo apply: compression, resizing, screenshots."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from photovax.adversary.purify.contract import PURIFIERS, Purifier
from photovax.digests import combined_digest
from photovax.errors import UsageError
from photovax.pictures.chains import chain_named
from photovax.pictures.resize import fed_sides, fitting_sides

__all__ = ["Codec", "Fit", "Identity", "InTurn", "Resize", "Screenshot", "ShortSide"]


@PURIFIERS.register("identity")
@dataclass(frozen=True)
class Identity:
    """No purification: the baseline that every purifier is compared with."""

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """A copy."""
        return pixels.copy()


@dataclass(frozen=True)
class Codec:
    """Save a picture in a lossy format and open it again, with Pillow's default settings.

    JPEG with 4:2:0 chroma, WebP with libwebp's method 4, AVIF with 4:2:0 chroma and libavif's
    speed 6. Source: Sandoval-Segura et al., *JPEG Compressed Images Can Bypass Protections Against
    AI Editing* (arXiv 2304.02234); sites and messengers convert uploads to WebP and AVIF.

    Attributes:
        kind: Format, by Pillow's name: JPEG, WEBP or AVIF.
        quality: The encoder's quality, 1 to 100.

    Raises:
        UsageError: If an option is out of range.
    """

    kind: str
    quality: int = 75

    def __post_init__(self) -> None:
        _check_quality(self.kind.lower(), self.quality)

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The reopened picture."""
        return np.array(_reopened(Image.fromarray(pixels), self.kind, self.quality))


PURIFIERS.register("jpeg")(partial(Codec, "JPEG"))
PURIFIERS.register("webp")(partial(Codec, "WEBP", quality=80))  # Pillow's default
PURIFIERS.register("avif")(partial(Codec, "AVIF"))


@PURIFIERS.register("resize")
@dataclass(frozen=True)
class Resize:
    """Shrink by Lanczos; the result stays small, as a user would send it.

    Source: Xie et al., *Mitigating Adversarial Effects Through Randomization* (arXiv
    1711.01991), without its random size and padding.

    Attributes:
        share: Share of each side that is left, above 0 and up to 1.

    Raises:
        UsageError: If an option is out of range.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        _check_share("resize", self.share)

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The smaller picture."""
        return np.array(_shrunk(pixels, self.share, Image.Resampling.LANCZOS))


@PURIFIERS.register("short_side")
@dataclass(frozen=True)
class ShortSide:
    """Resize by Lanczos to a given short side, larger or smaller; the result keeps that size.

    The long side is at most four times the short side. Source: common practice of tools around
    Stable Diffusion.

    Attributes:
        pixels: Short side of the result, in pixels.

    Raises:
        UsageError: If an option is out of range.
    """

    pixels: int = 512

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise UsageError(f"purifier short_side needs 1 pixel or more, got {self.pixels}")

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The resized picture."""
        picture = Image.fromarray(pixels)
        height, width = fed_sides(picture.height, picture.width, self.pixels, multiple=1)
        return np.array(picture.resize((width, height), Image.Resampling.LANCZOS))


@PURIFIERS.register("fit")
@dataclass(frozen=True)
class Fit:
    """Shrink bilinearly to fit into a box, as platforms bound sizes; smaller pictures are kept.

    Source: see the chains of ``photovax.pictures.chains``, which name their boxes.

    Attributes:
        width: Largest width, in pixels.
        height: Largest height, in pixels.

    Raises:
        UsageError: If an option is out of range.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1:
            raise UsageError(
                f"purifier fit needs a box of 1 x 1 pixel or more, got {self.width} x {self.height}"
            )

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The shrunk picture, or a copy of one that fits."""
        picture = Image.fromarray(pixels)
        height, width = fitting_sides(picture.height, picture.width, self.height, self.width)
        return np.array(picture.resize((width, height), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class InTurn:
    """Several purifiers, one after the other.

    Attributes:
        purifiers: Purifiers, in order.
        digest: SHA-256 of the weights that they run.
    """

    purifiers: tuple[Purifier, ...]

    @property
    def digest(self) -> str:
        """A digest of those of the purifiers that have one."""
        return combined_digest(getattr(each, "digest", "") for each in self.purifiers)

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The picture after the last purifier; each gets a seed of its own."""
        made = pixels.copy()
        for index, purify in enumerate(self.purifiers):
            made = purify(made, seed + index)
        return made


@PURIFIERS.register("shared")
def _shared(chain: str) -> InTurn:
    """A picture as a named chain of ``photovax.pictures.chains`` leaves it.

    Args:
        chain: Name of the chain, such as ``telegram``.

    Raises:
        UnknownName: If there is no such chain.
    """
    return InTurn(tuple(PURIFIERS.create(step) for step in chain_named(chain).steps))


@PURIFIERS.register("screenshot")
@dataclass(frozen=True)
class Screenshot:
    """Shrink bilinearly, as browsers fit a picture to a page, and save as JPEG; it stays small.

    Source: none; these are the two steps of a screenshot of a shared photo.

    Attributes:
        share: Share of each side that is left, above 0 and up to 1.
        quality: Quality of libjpeg, 1 to 100.

    Raises:
        UsageError: If an option is out of range.
    """

    share: float = 0.75
    quality: int = 85

    def __post_init__(self) -> None:
        _check_share("screenshot", self.share)
        _check_quality("screenshot", self.quality)

    def __call__(self, pixels: np.ndarray, seed: int) -> np.ndarray:
        """The smaller, reopened picture."""
        shown = _shrunk(pixels, self.share, Image.Resampling.BILINEAR)
        return np.array(_reopened(shown, "JPEG", self.quality))


def _check_quality(name: str, quality: int) -> None:
    if not 1 <= quality <= 100:
        raise UsageError(f"purifier {name} needs a quality from 1 to 100, got {quality}")


def _check_share(name: str, share: float) -> None:
    if not 0 < share <= 1:
        raise UsageError(f"purifier {name} needs a share above 0 and up to 1, got {share:g}")


def _reopened(picture: Image.Image, kind: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, kind, quality=quality)
    return Image.open(file).convert("RGB")


def _shrunk(pixels: np.ndarray, share: float, how: Image.Resampling) -> Image.Image:
    picture = Image.fromarray(pixels)
    width, height = (max(1, round(side * share)) for side in picture.size)
    return picture.resize((width, height), how)
