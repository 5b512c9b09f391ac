"""Conversion of all channel layouts to 8-bit grey or RGB, and alpha."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import TiffImageFile

from photovax.errors import UnreadablePhoto

__all__ = ["as_image", "bits_per_channel", "eight_bit", "raw_mode"]

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262


def raw_mode(image: Image.Image) -> str:
    """Pillow's raw mode of the pixels in the file, as in "RGB;16B" or "L;4"; empty if unknown.

    Args:
        image: Opened image that is not loaded yet: Pillow forgets the raw mode then.
    """
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else None
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def bits_per_channel(image: Image.Image) -> int:
    """Bits per channel in the file, where Pillow reports them.

    Not for AVIF and JPEG 2000; see ``colour.colour_in_file``.

    Args:
        image: Opened image that is not loaded yet.

    Returns:
        1 for black and white, 8 also for files with 2 or 4, else the number in the file.
    """
    if image.mode == "1":
        return 1
    if isinstance(image, TiffImageFile):
        return int(max(8, *image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    if "bit_depth" in image.info:  # HEIF
        return int(image.info["bit_depth"])
    if image.format == "PPM" and _largest_value(image) > 255:
        return 16
    packed = raw_mode(image) in ("BGR;15", "BGR;16")  # bits of a pixel, not of a channel
    wide = ";16" in raw_mode(image) and not packed
    return 16 if wide or image.mode.startswith("I") else 8


def _largest_value(image: Image.Image) -> int:
    """The largest value that a file of Netpbm's says that it may have; 0 if it says none."""
    tile = getattr(image, "tile", None)
    args = tile[0].args if tile else None
    values = args if isinstance(args, tuple) else ()
    return max((value for value in values if isinstance(value, int)), default=0)


def eight_bit(
    image: Image.Image, bits: int, mode_in_file: str, icc: bytes | None, notes: list[str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None, bytes | None]:
    """Bring a loaded picture to 8-bit grey or RGB.

    Args:
        image: Loaded image.
        bits: Bits per channel, from ``bits_per_channel``.
        mode_in_file: Raw mode, from ``raw_mode``.
        icc: Colour profile in the file.
        notes: List that a line is added to for each loss.

    Returns:
        Pixels, uint8 (H, W, 1 or 3); alpha, uint8 (H, W) or None; and the profile, if it still
        applies to the pixels.

    Raises:
        UnreadablePhoto: If values are out of every usual range (without the file's name).
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        deep, alpha = _deep_grey(image, bits)
        return deep[..., None], alpha, _fitting(icc, b"GRAY", notes)
    if image.mode == "CMYK":
        image, icc = _cmyk_to_rgb(image, icc, notes), None
    elif image.mode in ("LAB", "HSV"):
        notes.append(f"{image.mode} colours: a saved copy has sRGB")
        image, icc = image.convert("RGB"), None
    elif image.mode in ("P", "PA"):
        notes.append("a palette of at most 256 colours: a saved copy has full colour")
    if isinstance(key := image.info.get("transparency"), tuple | int):
        image.info["transparency"] = _transparent_colour(key, mode_in_file)
    # Pillow opens grey with alpha in 16 bits as colour.
    grey = image.mode in ("1", "L", "LA", "La") or mode_in_file.startswith("LA;")
    has_alpha = image.has_transparency_data
    mode = ("LA" if has_alpha else "L") if grey else ("RGBA" if has_alpha else "RGB")
    array = np.array(image if image.mode == mode else image.convert(mode))
    icc = _fitting(icc, b"GRAY" if grey else b"RGB ", notes)
    if has_alpha:
        return np.ascontiguousarray(array[..., :-1]), np.ascontiguousarray(array[..., -1]), icc
    return (array[..., None] if grey else array), None, icc


def _transparent_colour(key: int | tuple[int, ...], mode_in_file: str) -> int | tuple[int, ...]:
    """PNG's transparent colour, in the 8 bits that Pillow converts the pixels to."""
    if isinstance(key, tuple):
        return tuple(value >> 8 for value in key) if ";16" in mode_in_file else key
    return key * {"L;2": 85, "L;4": 17}.get(mode_in_file, 1)


def _deep_grey(image: Image.Image, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """One channel of more than 8 bits, rounded to 8: (H, W), and its alpha."""
    values = np.asarray(image)
    floating = image.mode == "F"
    top = 1 if floating else 4095 if bits == 12 else 65535  # floats are 0 to 1 by convention
    if not (values.min() >= 0 and values.max() <= top):  # true for NaN
        raise UnreadablePhoto(
            f"grey values from {values.min():g} to {values.max():g}, allowed are 0 to {top}; "
            "save it with 8 or 16 bits"
        )
    white_is_zero = isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
    if floating:
        pixels = np.rint(values * np.float32(255)).astype(np.uint8)
    else:
        pixels = np.rint(np.arange(top + 1) * (255 / top)).astype(np.uint8)[values]
    if white_is_zero:  # Pillow respects it up to 8 bits only
        pixels = 255 - pixels
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return pixels, None
    return pixels, np.where(values == key, np.uint8(0), np.uint8(255))


def _cmyk_to_rgb(image: Image.Image, icc: bytes | None, notes: list[str]) -> Image.Image:
    notes.append("CMYK inks: a saved copy has sRGB")
    if icc is not None and icc[16:20] == b"CMYK":
        try:
            converted = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("a damaged CMYK profile: colours are approximate")
        else:
            return converted or image
    return image.convert("RGB")


def _fitting(icc: bytes | None, space: bytes, notes: list[str]) -> bytes | None:
    """The profile, if it is valid and for these channels."""
    if icc is None or (len(icc) >= 128 and icc[36:40] == b"acsp" and icc[16:20] == space):
        return icc
    notes.append("a colour profile that is damaged or for other channels: not kept")
    return None


def as_image(channels: np.ndarray) -> Image.Image:
    """Uint8 channels (H, W, 1 to 4) as an image of Pillow, which has no third axis for grey."""
    return Image.fromarray(channels[..., 0] if channels.shape[2] == 1 else channels)
