"""Compression of JPEG, WebP, AVIF and HEIC files: its settings, and what a file decodes to."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from photovax.errors import UsageError
from photovax.pictures.channels import as_image
from photovax.pictures.pillow import heic_ready, strict_pillow
from photovax.pictures.types import HEIC_SUFFIXES, JPEG_SUFFIXES
from photovax.ranges import QUALITIES

__all__ = [
    "HIGHER_QUALITY",
    "LEAST_LOSS",
    "Compression",
    "Kind",
    "Quality",
    "compression_for",
    "compression_of",
    "heic_encoder",
    "least_loss",
]

Kind = Literal["JPEG", "WEBP", "AVIF", "HEIF"]
"""Pillow's name of a format that can be lossy."""

Quality = int | Literal["same", "lossless"]
"""The quality of files: from 1 to 100, that of the photo's own file, or without loss."""

HIGHER_QUALITY = "give a higher --quality, such as 75, or a .png file"
"""The hint where a compression leaves nothing of a change."""

# AVIF and HEIC are then no larger than JPEG, and nearer to the photo.
_USUAL: dict[Kind, int] = {"JPEG": 90, "AVIF": 85, "HEIF": 60}
_NAMES: dict[Kind, str] = {"JPEG": "JPEG", "WEBP": "WebP", "AVIF": "AVIF", "HEIF": "HEIC"}
_FILES: dict[Kind, set[str]] = {
    "JPEG": JPEG_SUFFIXES,
    "WEBP": {".webp"},
    "AVIF": {".avif"},
    "HEIF": HEIC_SUFFIXES,
}
_COARSER = 1.75  # divisors of colour, where it is not subsampled as the photo's own file is
_SUBSAMPLINGS = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}  # keys as Pillow's


@dataclass(frozen=True)
class Compression:
    """Settings of a lossy file.

    Attributes:
        kind: Pillow's name of the format.
        quality: Quality from 1 to 100, as libjpeg, libwebp, libavif and libheif define it; that of
            the luma table, as near as it can be told, where ``tables`` are given.
        subsampling: Resolution of the two colour channels: ``4:4:4`` (full), ``4:2:2`` (half of the
            columns) or ``4:2:0`` (half of the rows, too). WebP has the last only.
        tables: Quantisation tables of a JPEG file, 64 numbers each, row by row; those of
            ``quality`` when None.
        progressive: Whether a JPEG file is progressive.
        compact: Whether the Huffman codes of a JPEG file are fitted to it.

    Raises:
        UsageError: If the quality is out of range.
    """

    kind: Kind
    quality: int
    subsampling: str = "4:2:0"
    tables: tuple[tuple[int, ...], ...] | None = None
    progressive: bool = False
    compact: bool = True

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise UsageError(f"a quality must be {QUALITIES}, got {self.quality}")
        if self.subsampling not in (known := _SUBSAMPLINGS.values()):
            raise UsageError(
                f"a subsampling must be {' or '.join(known)}, got {self.subsampling!r}"
            )

    @property
    def exact(self) -> bool:
        """Whether the quality says it all: there are no other tables than libjpeg's for it."""
        return self.tables is None or _off(self.tables, self.quality) == 0

    @property
    def only_rounds(self) -> bool:
        """Whether all divisors are 1 and colours whole, so that a file is as good as lossless."""
        finest = self.tables is not None and all(set(table) == {1} for table in self.tables)
        return finest and self.subsampling == "4:4:4"

    @property
    def label(self) -> str:
        """The settings in words, such as ``JPEG, quality 90, 4:2:0``."""
        about = "" if self.exact else "about "
        return f"{_NAMES[self.kind]}, quality {about}{self.quality}, {self.subsampling}"

    def figures(self) -> dict[str, object]:
        """The settings for JSON."""
        return {
            "kind": self.kind,
            "quality": self.quality,
            "exact": self.exact,
            "subsampling": self.subsampling,
        }

    def with_fine_colour(self) -> Compression:
        """The same JPEG with colour at its full resolution, in coarser steps.

        A change that eyes hardly see is to a large part one of fine colour. Subsampling takes that
        away, and coarser steps keep more of it for the same bytes (docs/photos.md has figures).

        Returns:
            The settings, or the same ones if colour is not subsampled.
        """
        if self.subsampling == "4:4:4":
            return self
        luma, *colours = self.tables or _libjpeg(self.quality)
        coarser = [tuple(min(round(_COARSER * step), 255) for step in table) for table in colours]
        return replace(self, subsampling="4:4:4", tables=(luma, *coarser))

    def fits(self, suffix: str) -> bool:
        """Whether files with this suffix, in lower case, are compressed so."""
        return suffix in _FILES[self.kind]

    def options(self, *, grey: bool = False) -> dict[str, Any]:
        """The settings as options of Pillow's ``save``.

        Args:
            grey: Whether the picture has one channel.
        """
        if self.kind == "WEBP":
            # exact: keeps colours under full transparency
            return {"quality": self.quality, "method": 4, "exact": True}
        if self.kind == "AVIF":
            # Tiles, and whether rows are coded side by side, would depend on the number of cores.
            same: dict[str, Any] = {"autotiling": False, "max_threads": 4}
            speed = 10 if self.quality == 100 else 6  # the finest file is as near at any speed
            colours = {} if grey else {"subsampling": self.subsampling}
            return {"quality": self.quality, "speed": speed, **colours, **same}
        if self.kind == "HEIF":
            chroma = int(self.subsampling.replace(":", ""))
            return {"quality": self.quality, "chroma": chroma, "enc_params": heic_encoder()}
        # Fitted codes need the whole file in a buffer, which Pillow makes too small for the finest.
        given: dict[str, Any] = {
            "subsampling": self.subsampling,
            "progressive": self.progressive,
            "optimize": self.compact and self.quality <= 95,
        }
        if self.tables is None:
            given["quality"] = self.quality
        else:
            given["qtables"] = [list(table) for table in self.tables]
        return given

    def encoded(self, image: Image.Image, **more: Any) -> bytes:
        """A file with these settings.

        Args:
            image: Picture, with alpha where the format holds it.
            more: Further options of Pillow's ``save``.
        """
        options = self.options(grey=image.mode == "L") | more
        file = io.BytesIO()
        try:
            image.save(file, self.kind, **options)
        except OSError:
            if self.kind != "JPEG":
                raise
            # So do several passes, and grain fills the buffer at lower qualities, too. Pixels are
            # the same without both.
            file = io.BytesIO()
            image.save(file, self.kind, **options | {"progressive": False, "optimize": False})
        return file.getvalue()

    def decoded(self, channels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What a file with these settings decodes to.

        Args:
            channels: Pixels, uint8 (H, W, 1 to 4), with alpha where the format holds it.

        Returns:
            Pixels of the same shape and type.
        """
        if self.kind == "HEIF":
            heic_ready("this compression", UsageError)
        file = io.BytesIO(self.encoded(as_image(channels)))
        with strict_pillow(channels.shape[0] * channels.shape[1]), Image.open(file) as image:
            # An alpha channel that is opaque everywhere is dropped.
            shown = np.asarray(image.convert(as_image(channels[:1, :1]).mode))
            return shown.reshape(channels.shape)


def heic_encoder() -> dict[str, str]:
    """Parameters of the encoder of HEIC files, a dictionary of its own for each, as it is changed.

    A descent encodes at each step; slower presets save an eighth of the bytes at most.
    """
    return {"preset": "ultrafast"}


LEAST_LOSS = Compression("JPEG", 100, subsampling="4:4:4", compact=False)
"""JPEG whose decoded channels are seldom more than two levels off."""

_LEAST_LOSS_AVIF = Compression("AVIF", 100, subsampling="4:4:4")  # likewise; alpha is exact


def least_loss(suffix: str) -> Compression | None:
    """The compression with the least loss of a type that is always lossy; None for others.

    Args:
        suffix: Suffix, in lower case.
    """
    found = (each for each in (LEAST_LOSS, _LEAST_LOSS_AVIF) if each.fits(suffix))
    return next(found, None)


def compression_for(
    suffix: str, own: Compression | None, quality: Quality = "same"
) -> Compression | None:
    """The compression of a result.

    Args:
        suffix: Suffix of the result, in lower case.
        own: Compression of the photo's own file; None if it is not JPEG.
        quality: Quality. With ``same``, a JPEG result has the quality of the photo's own file, and
            90 if that is not JPEG, with colour as ``with_fine_colour`` has it; an AVIF result has
            quality 85, a HEIC result 60, and a WebP result is lossless.

    Returns:
        The settings; None where pixels are kept, or kept within the budget.

    Raises:
        UsageError: If the quality is out of range.
    """
    if quality == "lossless":
        return None
    kind = next((each for each, ends in _FILES.items() if suffix in ends), None)
    if kind is None or (kind == "WEBP" and quality == "same"):
        return None
    if quality != "same":
        return Compression(kind, quality)
    like = own if own is not None and own.kind == kind else Compression(kind, _USUAL[kind])
    return like.with_fine_colour() if kind == "JPEG" else like


def compression_of(image: Image.Image) -> Compression | None:
    """The compression of an opened file; None unless it is JPEG, in grey or RGB."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode not in ("L", "RGB"):
        return None
    tables = tuple(tuple(table) for _, table in sorted(image.quantization.items())[:2])
    # Pillow names the three customary ones; grey has no colours to halve.
    usual = "4:4:4" if image.layers == 1 else "4:2:0"
    sampling = _SUBSAMPLINGS.get(JpegImagePlugin.get_sampling(image), usual)
    return Compression(
        "JPEG",
        min(range(1, 101), key=lambda quality: _off(tables[:1], quality)),
        subsampling=sampling,
        tables=tables,
        progressive=bool(image.info.get("progressive")),
    )


def _off(tables: tuple[tuple[int, ...], ...], quality: int) -> int:
    """The sum of the differences between tables and those of libjpeg for a quality."""
    pairs = zip(tables, _libjpeg(quality), strict=False)
    return sum(abs(a - b) for mine, theirs in pairs for a, b in zip(mine, theirs, strict=True))


@cache
def _libjpeg(quality: int) -> tuple[tuple[int, ...], ...]:
    """The quantisation tables of libjpeg for luma and chroma."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    file.seek(0)
    with JpegImagePlugin.JpegImageFile(file) as image:
        return tuple(tuple(table) for _, table in sorted(image.quantization.items()))
