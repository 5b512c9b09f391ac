"""The hash by which a picture is recognised in another file."""

import numpy as np
from PIL import Image

from photovax.certificates.likeness import SAME_PICTURE, dhash, distance


def test_the_picture_hash_bears_small_changes_only(pixels):
    big = np.asarray(Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(1).integers(-8, 9, big.shape)
    near = np.clip(big + noise, 0, 255).astype(np.uint8)
    assert distance(dhash(big), dhash(near)) <= SAME_PICTURE
    assert distance(dhash(big), dhash(big[::-1])) > SAME_PICTURE
