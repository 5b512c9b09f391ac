from pathlib import Path

import pytest
from PIL import Image

from photovax.evaluation.plan import find_photos
from photovax.evaluation.run import Evaluation
from photovax.pictures.sample import SAMPLE, SAMPLE_MASK
from tests.evaluation.samples import PLAN


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pieces of the sample photo, with masks beside them."""
    folder = tmp_path_factory.mktemp("photos")
    for name, box in {"one": (100, 40, 228, 136), "two": (60, 90, 156, 218)}.items():
        Image.open(SAMPLE).crop(box).save(folder / f"{name}.png")
        Image.open(SAMPLE_MASK).crop(box).save(folder / f"{name}.mask.png")
    return list(find_photos([folder]))


@pytest.fixture(scope="session")
def done(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    out = tmp_path_factory.mktemp("out")
    evaluation = Evaluation(PLAN, out, device="cpu")
    evaluation.run(photos)
    return evaluation, out
