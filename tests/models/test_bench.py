"""The editor on the latents of ``taef2`` follows what it is told on a photo that it never saw."""

import numpy as np
import pytest
import torch

from photovax.adversary.edits import Adversary
from photovax.evaluation.true_edits import TRUE_EDITS, truth
from photovax.metrics.distortion import psnr
from photovax.models.load import load_autoencoder, usual_edit
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.tensors import tensor
from tests.places import SHARED

WEIGHTS = SHARED / "weights"
pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.skipif(
        not (WEIGHTS / "taef2_encoder.pth").exists(), reason="needs PHOTOVAX_SHARED's weights"
    ),
]


def test_instructions_come_near_to_what_its_autoencoder_shows():
    pixels = np.ascontiguousarray(read_photo(SAMPLE).pixels[:256, 96:352])
    editor = Adversary("bench-flux2", device="cpu", weights=WEIGHTS)
    vae = load_autoencoder("bench-flux2", device=torch.device("cpu"), weights=WEIGHTS)
    lost = []
    for name in ("night", "sepia", "snow", "fog", "red tint", "inverted"):
        asked = TRUE_EDITS[name]
        exact = truth(asked, pixels)
        with torch.no_grad():
            decoded = vae.decode(vae.encode(tensor(exact, torch.device("cpu"))))
        shown = (decoded[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        edit = usual_edit("bench-flux2", "instruct").asking(asked.orders[0])
        made = editor.edit(pixels, edit, seed=0, size=256)
        lost.append(psnr(exact, shown) - psnr(exact, made))
    assert np.mean(lost) < 2.5
    assert max(lost) < 5
