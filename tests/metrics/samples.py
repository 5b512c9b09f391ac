"""Pictures and sizes that several tests of metrics use."""

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from photovax.demo import SAMPLE

ALEXNET = ((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3))
"""Output channels, input channels and kernel side of AlexNet's convolutions."""


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
