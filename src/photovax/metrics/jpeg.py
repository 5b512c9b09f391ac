"""How a JPEG was compressed, read from its file, and the same compression of other pictures."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from photovax.pictures.channels import as_image
from photovax.pictures.pillow import MAX_PIXELS, decoding, strict_pillow

__all__ = ["Jpeg", "jpeg_of"]

_SAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}


@dataclass(frozen=True)
class Jpeg:
    """How a JPEG was compressed.

    Attributes:
        tables: Quantisation tables, each of 64 divisors in rows (ISO/IEC 10918-1, B.2.4.1).
        sampling: Pillow's number of the chroma subsampling, 0 to 2; -1 is another, or grey.
    """

    tables: tuple[tuple[int, ...], ...]
    sampling: int

    @property
    def quality(self) -> int:
        """The quality of libjpeg, 1 to 100, whose tables are the nearest."""
        return min(range(1, 101), key=self._off)

    @property
    def exact(self) -> bool:
        """Whether the tables are those of libjpeg at that quality."""
        return self._off(self.quality) == 0

    @property
    def line(self) -> str:
        """The compression in words."""
        about = "" if self.exact else "about "
        chroma = f", {_SAMPLINGS[self.sampling]}" if self.sampling in _SAMPLINGS else ""
        return f"JPEG quality {about}{self.quality}{chroma}"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """A uint8 picture (H, W, 1 or 3) compressed so, and reopened."""
        file = BytesIO()
        tables = [list(table) for table in self.tables]
        as_image(pixels).save(file, "JPEG", qtables=tables, subsampling=self.sampling)
        with strict_pillow(pixels.size), Image.open(file) as image:
            return np.asarray(image).reshape(pixels.shape)

    def figures(self) -> dict[str, object]:
        """The compression for JSON."""
        sampling = _SAMPLINGS.get(self.sampling)
        return {"quality": self.quality, "exact": self.exact, "sampling": sampling}

    def _off(self, quality: int) -> int:
        pairs = zip(self.tables, _libjpeg(quality), strict=False)
        return sum(abs(a - b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


def jpeg_of(
    source: str | os.PathLike[str] | bytes | Image.Image, *, max_pixels: int = MAX_PIXELS
) -> Jpeg | None:
    """The compression of a picture that is a JPEG, by its path, bytes or opened image.

    None for other types of pictures, for JPEGs in CMYK, and for those that only round: with all
    divisors 1 and whole chroma, as photovax writes them.

    Raises:
        PhotoError: If it cannot be read.
    """
    if isinstance(source, Image.Image):
        return _jpeg(source)
    with decoding("the copy", max_pixels), suppress(UnidentifiedImageError):
        file = BytesIO(source) if isinstance(source, bytes) else Path(source)
        with Image.open(file, formats=("JPEG",)) as image:
            return _jpeg(image)
    return None


def _jpeg(image: Image.Image) -> Jpeg | None:
    if not isinstance(image, JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
    sampling = get_sampling(image) if image.mode == "RGB" else -1
    rounds = image.mode == "L" or sampling == 0
    if rounds and all(divisor == 1 for table in tables for divisor in table):
        return None
    return Jpeg(tables, sampling)


@cache
def _libjpeg(quality: int) -> tuple[tuple[int, ...], ...]:
    """The quantisation tables of libjpeg for luma and chroma."""
    file = BytesIO()
    Image.new("RGB", (1, 1)).save(file, "JPEG", quality=quality)
    found = _jpeg(Image.open(file))
    return () if found is None else found.tables
