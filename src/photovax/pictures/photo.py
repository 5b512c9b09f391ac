"""Read picture files of any common type: pixels, transparency and metadata."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from photovax.errors import AnimatedPhoto, UnreadablePhoto, UsageError
from photovax.pictures.channels import as_image, bits_per_channel, eight_bit, raw_mode
from photovax.pictures.colour import FileColour, colour_in_file, profile_of
from photovax.pictures.companions import companions, without_pointers
from photovax.pictures.compression import Compression, compression_of
from photovax.pictures.exif import Metadata, tidied
from photovax.pictures.gain_map import GainMap
from photovax.pictures.jpeg2000 import blocks_in_boxes
from photovax.pictures.orientation import upright
from photovax.pictures.pillow import (
    DECODER_ERRORS,
    MAX_PIXELS,
    check_pixels,
    decoding,
    formats_of,
    printable_name,
)
from photovax.pictures.rights import forbidding_ai
from photovax.pictures.texts import KEYWORDS, carried, iptc_of, raw_profile, text_notes, texts_of

__all__ = ["Metadata", "Photo", "check_regular", "read_photo"]

_SUBFILE, _DNG_VERSION = 254, 50706
_EXIF_TABLE, _GPS_TABLE, _INTEROP_TABLE = 0x8769, 0x8825, 0xA005
# Tags of a TIFF that describe the photo rather than how its pixels are stored.
_TIFF_FACTS = (
    *(269, 270, 271, 272, 305, 306, 315, 316, 0x4746, 0x8298, *range(0x9C9B, 0x9CA0)),
    *(*range(0x9000, 0x9300), *range(0xA400, 0xA440)),  # EXIF tags in the first table
)


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded picture as a viewer shows it, with the metadata of its file.

    Attributes:
        pixels: Pixel values, uint8 (H, W, C); C is 1 (grey) or 3 (RGB). They are in the photo's
            own colour space, which ``metadata.icc`` describes.
        alpha: Opacity, uint8 (H, W), 0 is transparent; None where everything is opaque.
        metadata: Colour profile, EXIF, XMP, IPTC, other texts and resolution.
        format: Pillow's name of the source's format: "JPEG", "PNG", "HEIF", ...
        notes: Lines, one for each property of the source that a saved copy cannot keep.
        compression: Compression that the pixels went through; None unless their file is JPEG.
        gain_map: Gain map of an HDR photo, which JPEG files keep; None where there is none.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None
    metadata: Metadata
    format: str
    notes: tuple[str, ...]
    compression: Compression | None = None
    gain_map: GainMap | None = None

    @classmethod
    def from_image(cls, image: Image.Image) -> Photo:
        """A Pillow image as a photo: upright, 8-bit, with its colour profile, EXIF and XMP.

        Raises:
            UnreadablePhoto: If its data is damaged, or its values are out of every customary range.
            AnimatedPhoto: If it has several frames.
        """
        with decoding("the image", MAX_PIXELS):
            return _photo(image, "the image", getattr(image, "fp", None))

    @classmethod
    def from_array(cls, array: NDArray[Any]) -> Photo:
        """An array as a photo: (H, W) or (H, W, 1 to 4), uint8, or floats in [0, 1].

        Two channels are grey and alpha, four RGB and alpha. Floats are rounded to 8 bits.

        Raises:
            UsageError: If it has another shape or type, no pixel, or floats out of range.
        """
        shaped = _levels(array[..., None] if array.ndim == 2 else array, array)
        colours = 1 if shaped.shape[2] < 3 else 3
        opaque = shaped.shape[2] == colours
        return cls(
            pixels=np.ascontiguousarray(shaped[..., :colours]),
            alpha=None if opaque else np.ascontiguousarray(shaped[..., colours]),
            metadata=Metadata(),
            format="",
            notes=(),
        )

    def to_image(self) -> Image.Image:
        """The photo as a Pillow image, with its colour profile, EXIF, and XMP with its texts."""
        image = as_image(self.channels)
        known = self.metadata
        xmp = carried(known, iptc=True, keywords=KEYWORDS)
        given = {"icc_profile": known.icc, "exif": known.exif, "xmp": xmp, "dpi": known.dpi}
        image.info.update({key: value for key, value in given.items() if value is not None})
        return image

    def to_array(self, like: NDArray[Any]) -> NDArray[Any]:
        """The photo as an array of the shape and type of another; floats are in [0, 1]."""
        channels = self.channels if like.dtype == np.uint8 else self.channels / 255
        return channels.astype(like.dtype).reshape(like.shape)

    @property
    def opaque(self) -> np.ndarray:
        """Pixels that are not transparent, bool (H, W)."""
        if self.alpha is None:
            return np.ones((self.height, self.width), dtype=bool)
        return self.alpha > 0

    @property
    def height(self) -> int:
        """Height as shown, in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width as shown, in pixels."""
        return int(self.pixels.shape[1])

    @property
    def grey(self) -> bool:
        """Whether there is one channel rather than three."""
        return bool(self.pixels.shape[2] == 1)

    @property
    def channels(self) -> NDArray[np.uint8]:
        """Pixels and alpha, uint8 (H, W, 1 to 4)."""
        return self.pixels if self.alpha is None else np.dstack([self.pixels, self.alpha])

    def visible(self) -> NDArray[np.uint8]:
        """The pixels with white wherever alpha is 0, so that hidden colours have no influence.

        Returns:
            uint8 (H, W, C); ``pixels`` itself, not a copy, where there is no alpha.
        """
        if self.alpha is None:
            return self.pixels
        return np.where(self.alpha[..., None] == 0, np.uint8(255), self.pixels)

    def visible_rgb(self) -> NDArray[np.uint8]:
        """The visible pixels in three channels, as editors read even grey photos.

        Returns:
            uint8 (H, W, 3).
        """
        seen = self.visible()
        return np.repeat(seen, 3, axis=2) if self.grey else seen

    def with_pixels(self, pixels: NDArray[np.uint8]) -> Photo:
        """The same photo with other pixels.

        Args:
            pixels: uint8, of the shape of the present ones.

        Returns:
            A new photo, not compressed; alpha, metadata and notes are shared.

        Raises:
            ValueError: If the type or the shape differs.
        """
        if pixels.dtype != np.uint8 or pixels.shape != self.pixels.shape:
            raise ValueError(
                f"pixels are {pixels.dtype} {pixels.shape}, must be uint8 {self.pixels.shape}"
            )
        return replace(self, pixels=pixels, compression=None)

    def held(self, compression: Compression) -> NDArray[np.uint8]:
        """The channels that files with this compression hold, uint8 (H, W, 1 to 4).

        JPEG has no alpha, and AVIF and HEIC none beside grey.
        """
        without = compression.kind == "JPEG" or (compression.kind != "WEBP" and self.grey)
        return self.pixels if without else self.channels

    def compressed(self, compression: Compression) -> Photo:
        """The same photo as a file with this compression shows it."""
        shown = compression.decoded(self.held(compression))[..., : self.pixels.shape[2]]
        return replace(self, pixels=np.ascontiguousarray(shown), compression=compression)

    def without_gps(self) -> Photo:
        """The same photo without the location in its EXIF, XMP and IPTC, and in its gain map's.

        A maker note, which only its camera can read, is left unchanged.
        """
        known, more = self.metadata.without_gps(), self.gain_map and self.gain_map.without_gps()
        lost = self.gain_map is not None and more is None
        notes = (*self.notes, "an HDR gain map with damaged XMP: not kept") if lost else self.notes
        return replace(self, metadata=known, notes=notes, gain_map=more)

    def forbidding_ai(self) -> Photo:
        """The same photo with XMP that forbids training AI with it and editing it by AI.

        What is lost, or cannot be stated, is added to the notes; see ``photovax.pictures.rights``.
        """
        metadata, notes = forbidding_ai(self.metadata)
        return replace(self, metadata=metadata, notes=(*self.notes, *notes))


def read_photo(source: str | os.PathLike[str] | bytes, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a picture file. Its type is recognised by its content, not by its name.

    The picture is turned upright: the orientation in EXIF or XMP is applied and removed.

    Args:
        source: Path of the file, or its bytes.
        max_pixels: Largest width x height that is decoded.

    Returns:
        The photo; the primary picture of a file that holds several (MPO, HEIC).

    Raises:
        UnreadablePhoto: If it is no picture, damaged, cut short, missing, or cannot be read.
        AnimatedPhoto: If it has several frames or pages.
        TooManyPixels: If it has more than ``max_pixels``.
    """
    name = "the bytes" if isinstance(source, bytes) else printable_name(source)
    with (
        decoding(name, max_pixels),
        _opened(source, name) as file,
        Image.open(file, formats=formats_of(file, name)) as image,
    ):
        check_pixels(image, name, max_pixels)
        return _photo(image, name, file)


def _opened(source: str | os.PathLike[str] | bytes, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        return BytesIO(source)
    check_regular(source, name)
    return Path(source).open("rb")


def check_regular(source: str | os.PathLike[str], name: str) -> None:
    """Refuse what is no file with bytes, before it is read: reading a pipe could wait forever.

    Args:
        source: Path.
        name: Its name in messages.

    Raises:
        UnreadablePhoto: If it is a folder, a pipe or another special file, empty, or missing, or
            may not be looked at.
    """
    try:
        found = os.stat(source)
    except OSError as error:
        raise UnreadablePhoto(f"{name}: cannot be read: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        raise UnreadablePhoto(f"{name}: is a folder; name a picture file in it")
    if not stat.S_ISREG(found.st_mode):
        raise UnreadablePhoto(f"{name}: not a regular file; save it to disk first")
    if found.st_size == 0:
        raise UnreadablePhoto(f"{name}: is empty (0 bytes); try a whole copy")


def _photo(image: Image.Image, name: str, file: BinaryIO | None) -> Photo:
    notes: list[str] = []
    image_format = image.format or ""
    _refuse_what_would_mislead(image, name)
    _refuse_several(image, name)
    beside = companions(image, file)
    blocks = blocks_in_boxes(file) if image.format == "JPEG2000" and file is not None else {}
    bits, mode_in_file = bits_per_channel(image), raw_mode(image)
    try:
        colour = colour_in_file(image)
        told = max(bits, colour.bits) if bits > 1 else bits
        if told != 8:
            notes.append(f"{told}-bit channels: a saved copy has 8 bits")
        image.load()
        found, orientation, lost = tidied(_metadata(image, colour, blocks, notes))
        notes += lost
        found = without_pointers(found)
        if image.format in ("TIFF", "HEIF"):
            orientation = 1  # Pillow's readers of these turn the pixels themselves
        pixels, alpha, icc = eight_bit(image, bits, mode_in_file, found.icc, notes)
    except UnreadablePhoto as error:
        raise UnreadablePhoto(f"{name}: {error}") from error
    beside = beside.upright(orientation)
    return Photo(
        pixels=upright(pixels, orientation),
        alpha=None if alpha is None else upright(alpha, orientation),
        metadata=replace(found, icc=icc),
        format=image_format,
        notes=(*beside.notes, *notes),
        compression=compression_of(image),
        gain_map=beside.gain_map,
    )


def _refuse_what_would_mislead(image: Image.Image, name: str) -> None:
    """Raise on files that Pillow would show as a preview only, or in wrong colours."""
    if not isinstance(image, TiffImageFile):
        return
    tags = image.tag_v2
    if _DNG_VERSION in tags or tags.get(_SUBFILE, 0) & 1:
        raise UnreadablePhoto(
            f"{name}: a camera's raw file, or only a preview; develop it to TIFF, PNG or JPEG first"
        )
    planes = bool(image.tile) and image.tile[0].codec_name == "raw" and len(raw_mode(image)) == 1
    if planes and bits_per_channel(image) > 8 and image.mode != "L":
        raise UnreadablePhoto(
            f"{name}: a 16-bit TIFF with one plane a channel cannot be read; save it interleaved"
        )


def _refuse_several(image: Image.Image, name: str) -> None:
    frames: int = getattr(image, "n_frames", 1) if getattr(image, "is_animated", False) else 1
    if frames > 1 and image.format not in ("MPO", "HEIF"):
        raise AnimatedPhoto(
            f"{name}: {frames} frames or pages ({image.format}), where one is allowed",
            hint=f'take one out first, such as: magick "{name}[0]" frame.png',
        )


def _metadata(
    image: Image.Image, colour: FileColour, blocks: Mapping[str, bytes], notes: list[str]
) -> Metadata:
    """The metadata of a loaded image, without values of wrong types.

    Args:
        image: Loaded image.
        colour: What its file says of colours.
        blocks: Blocks of metadata that Pillow does not read; see ``blocks_in_boxes``.
        notes: List that a line is added to for what is not kept.
    """
    info: dict[Any, Any] = {**image.info, **blocks}
    exif, xmp, iptc = info.get("exif"), info.get("xmp"), None
    try:
        if isinstance(image, TiffImageFile):
            exif = _exif_of_tiff(image)
        elif exif is None:
            exif = raw_profile(image, "exif")
    except DECODER_ERRORS:
        notes.append("damaged EXIF: not kept")
    try:
        iptc = iptc_of(image, info.get("iptc"))
        xmp = xmp or raw_profile(image, "xmp")
    except DECODER_ERRORS:
        notes.append("damaged IPTC or XMP: not kept")
    exif = exif if isinstance(exif, bytes) and exif else None
    found = Metadata(
        icc=profile_of(image, colour, exif, notes),
        exif=exif,
        xmp=xmp.rstrip(b"\0") or None if isinstance(xmp, bytes) else None,
        dpi=_dpi(info.get("dpi")),
        iptc=iptc,
        texts=texts_of(image, notes),
    )
    notes += text_notes(found)
    return found


def _exif_of_tiff(image: TiffImageFile) -> bytes | None:
    """An EXIF block from the tags of a TIFF, which has none: they lie among those of its pixels."""
    tags, exif = image.getexif(), Image.Exif()
    for tag in _TIFF_FACTS:
        if tag in tags:
            exif[tag] = _kept(tags[tag])
    for tag in (_EXIF_TABLE, _GPS_TABLE):
        if table := _kept(dict(tags.get_ifd(tag))):
            if _INTEROP_TABLE in table:
                table[_INTEROP_TABLE] = _kept(dict(tags.get_ifd(_INTEROP_TABLE)))
            exif[tag] = table
    return exif.tobytes() if len(exif) else None


class _Text(str):
    """A text of a TIFF, which Pillow decodes as Latin-1 and would encode as ASCII."""

    __slots__ = ()

    def encode(self, encoding: str = "", errors: str = "") -> bytes:
        return super().encode("latin-1", "replace")


def _kept(value: Any) -> Any:
    """A value of a tag, or a table of them, with texts that are written with the bytes they had."""
    if isinstance(value, dict):
        return {tag: _kept(each) for tag, each in value.items()}
    return _Text(value) if isinstance(value, str) else value


def _dpi(value: object) -> tuple[float, float] | None:
    try:
        x, y = (float(each) for each in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ArithmeticError):
        return None
    # Pillow reports 1 dot per inch for a TIFF without a resolution
    return (x, y) if 1 < x < 1e6 and 1 < y < 1e6 else None


def _levels(shaped: NDArray[Any], given: NDArray[Any]) -> NDArray[np.uint8]:
    """An array (H, W, C) in 8 bits."""
    fits = shaped.ndim == 3 and shaped.shape[2] in (1, 2, 3, 4) and shaped.size > 0
    if not fits or not (given.dtype == np.uint8 or np.issubdtype(given.dtype, np.floating)):
        raise UsageError(
            "an array must be uint8, or floats in [0, 1], of shape (H, W) or (H, W, 1 to 4), got "
            f"{given.dtype} {given.shape}"
        )
    if given.dtype == np.uint8:
        levels: NDArray[np.uint8] = shaped
        return levels
    if not (shaped.min() >= 0 and shaped.max() <= 1):  # true for NaN
        raise UsageError(
            f"floats must be in [0, 1], got {shaped.min():g} to {shaped.max():g}; give 0 to 255 as "
            "uint8"
        )
    rounded: NDArray[np.uint8] = np.rint(shaped * 255).astype(np.uint8)
    return rounded
