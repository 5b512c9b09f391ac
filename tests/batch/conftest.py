"""Small photos and what is asked of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from photovax.attack.recipe import Recipe
from photovax.batch.order import Order
from photovax.batch.work import Work
from photovax.immunizer import Immunizer
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part

Shoot = Callable[..., Path]


@pytest.fixture
def shoot(tmp_path: Path) -> Shoot:
    """A function that makes photos: each name is another piece of the sample photo."""
    with Image.open(SAMPLE) as sample:
        sample.load()
    made: list[str] = []

    def take(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.append(name)
        left = 100 + 3 * len(made)
        sample.crop((left, 20, left + 80, 92)).save(path, quality=92)
        return path

    return take


@pytest.fixture
def order(quick: Recipe) -> Order:
    """Two steps at the smallest size that a model is fed."""
    views = (Part("short_side", {"pixels": 64}),)
    return Order(replace(quick, views=views, steps=2, size=64), device="cpu")


@pytest.fixture
def work(order: Order, immunizer: Immunizer, monkeypatch: pytest.MonkeyPatch) -> Work:
    """The work with the models that all tests share."""
    monkeypatch.setattr("photovax.batch.work.Immunizer", lambda *_, **__: immunizer)
    return Work(order)
