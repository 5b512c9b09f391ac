import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.immunize import Immunizer
from photovax.recipe import Recipe
from photovax.registry import Part

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Many threads make small work slower, and two test processes would fight for the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def immunizer() -> Immunizer:
    return Immunizer(device="cpu")


@pytest.fixture
def quick() -> Recipe:
    """The default objective at a size that a test can afford."""
    return Recipe(
        objective=Part("latent_drift"),
        budget=Part("linf", {"radius": 8 / 255}),
        views=(Part("short_side", {"pixels": 64}), Part("short_side", {"pixels": 96})),
        steps=4,
        step_size=4 / 255,
        schedule="cosine",
        draws=1,
    )


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    """A small piece of the sample photo, as a JPEG of odd sides."""
    from photovax.demo import SAMPLE

    with Image.open(SAMPLE) as sample:
        sample.crop((150, 20, 301, 147)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path / "photo.jpg"


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (41, 53, 3), dtype=np.uint8)
