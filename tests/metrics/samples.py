"""Pictures and sizes that several tests of metrics use."""

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
