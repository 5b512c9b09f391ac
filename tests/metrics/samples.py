"""Pictures and sizes that several tests of metrics use."""

import struct
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from photovax.pictures.sample import SAMPLE
from tests.pictures.made import SRGB

ALEXNET = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
"""Output channels, input channels and kernel side of AlexNet's convolutions."""

# Colorants of Display P3, adapted to D50, as in Apple's profile.
P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}


def sample(width: int, height: int) -> np.ndarray:
    with Image.open(SAMPLE) as sample:
        pixels = np.array(sample.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    pixels.setflags(write=False)
    return pixels


def as_jpeg(picture: np.ndarray | Image.Image, **options: Any) -> bytes:
    file = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, "JPEG", **options)
    return file.getvalue()


def opened(data: bytes) -> np.ndarray:
    return np.array(Image.open(BytesIO(data)))


def display_p3() -> bytes:
    """The profile of sRGB with other colorants."""
    profile = bytearray(SRGB)
    (count,) = struct.unpack_from(">I", profile, 128)
    for index in range(count):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if name in P3:
            struct.pack_into(">3i", profile, offset + 8, *(round(x * 65536) for x in P3[name]))
    return bytes(profile)
