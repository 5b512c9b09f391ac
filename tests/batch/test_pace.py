"""A time limit covers the saving, too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photovax.batch import pace as module
from photovax.batch.pace import Pace
from photovax.batch.plan import Task
from photovax.batch.work import Work
from photovax.immunizer import Immunizer
from photovax.pictures.photo import Photo
from tests.batch.conftest import Shoot


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Model:
    """Takes a second to encode."""

    size = 64

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def encode(self, images: torch.Tensor) -> None:
        self._clock.now += 1


def test_larger_photos_take_longer_and_each_corrects_the_next(monkeypatch) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    pace, models = Pace(), [Model(clock)]

    def rest(height: int, width: int) -> float:
        photo = Photo.from_array(np.zeros((height, width, 3), np.uint8))
        return pace.rest(models, photo, torch.device("cpu"), size=None)  # type: ignore[arg-type]

    first, large = rest(80, 100), rest(1000, 1500)
    assert large > 1.5 * first
    pace.stepped()
    clock.now += large / 2
    pace.finished()
    assert rest(1000, 1500) == pytest.approx(large / 2)
    assert rest(80, 100) == pytest.approx(first / 2)


def test_the_steps_get_what_the_saving_leaves(
    shoot: Shoot, order, work: Work, tmp_path: Path, monkeypatch
) -> None:
    given: list[float] = []
    immunize = Immunizer.immunize

    def noting(self, photo, recipe, *, seconds, **options):
        given.append(seconds)
        return immunize(self, photo, recipe, seconds=seconds, **options)

    monkeypatch.setattr(Immunizer, "immunize", noting)
    monkeypatch.setattr(Pace, "rest", lambda *_, **__: 998.0)
    timed = Work(replace(order, seconds=1000.0), work)
    monkeypatch.setattr("photovax.attack.progress.Clock.over", lambda self, index: index > 1)
    task = Task(str(shoot("a.jpg")), str(tmp_path / "a.png"), "a")
    assert timed.do(task).error is None
    assert 0 < given[0] < 2
