"""A time limit is planned: what there is no time for is left out, and nothing else."""

import math
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from photovax import check
from photovax.attack.presets import load_recipe
from photovax.batch import pace as module
from photovax.batch.manifest import Manifest
from photovax.batch.outcome import Progress
from photovax.batch.pace import Asked, Pace, Plan
from photovax.batch.plan import Task, make_plan
from photovax.batch.runner import open_runner
from photovax.batch.work import Work
from photovax.immunizer import Immunizer
from photovax.pictures.photo import Photo, read_photo
from tests.batch.conftest import Shoot

ANSWERED = Asked(answered=True)
SQUARE = (1000, 1000)


class Clock:
    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """A clock that stands still, on a machine where a pass takes a tenth of a second."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(
        module, "_timed", lambda models, photo, *_: (0.02e-6 * photo.width * photo.height, 0.1)
    )
    return clock


def planned(
    ends: float, asked: Asked = ANSWERED, size: tuple[int, int] = SQUARE, pace: Pace | None = None
) -> Plan:
    photo = Photo.from_array(np.zeros((*size, 3), np.uint8))
    return (pace or Pace()).plan([], photo, torch.device("cpu"), ends, asked, size=None)


@pytest.mark.usefixtures("clock")
def test_less_time_leaves_out_the_visibility_and_then_the_steps() -> None:
    least = planned(0).least
    ample, short, none, late = (planned(ends) for ends in (60, 5, 3, 0.9 * least))
    assert 50 < ample.steps < 60 - least
    # The time of the visibility goes to the steps before they are left out.
    assert 5 - ample.steps < 5 - short.steps < 5
    assert short.steps > 2
    assert none.steps == late.steps == 0
    assert [plan.late for plan in (ample, short, none, late)] == [False, False, False, True]


@pytest.mark.usefixtures("clock")
def test_more_work_leaves_less_for_steps() -> None:
    steps = planned(600).steps
    harder = [
        planned(600, Asked(answered=True, jod=True)),
        planned(600, Asked(answered=True, passing=True)),
        planned(600, Asked(answered=True, survival=True)),
        planned(600, size=(4000, 2500)),
    ]
    assert planned(600, Asked(answered=True, measured=False)).steps > steps + 2
    assert all(plan.steps < steps - 2 for plan in harder)
    assert all(plan.steps > 0 for plan in harder)


@pytest.mark.usefixtures("clock")
def test_without_a_network_one_step_is_the_least() -> None:
    assert planned(0, Asked(answered=False)).least > planned(0).least + 1


def test_a_slow_saving_leaves_no_time_for_the_visibility(clock: Clock) -> None:
    plan = planned(10)
    plan.immunized()
    saving = 1.5
    clock.now = saving
    assert plan.time_for("visibility")
    clock.now = 3 * saving
    assert not plan.time_for("visibility")


def test_each_photo_corrects_the_next(clock: Clock) -> None:
    pace = Pace()
    plan = planned(10, pace=pace)
    before = plan.least
    for slower in (2, 1):
        started = clock.now
        plan.immunized()
        clock.now += slower * plan._saving
        pace.learn(plan, [])
        plan = planned(clock.now + 10, pace=pace)
        assert plan.least == pytest.approx(2 * before), started


def test_a_machine_is_timed_by_one_pass_of_each_model(monkeypatch) -> None:
    clock, encoded = Clock(), []

    class Model:
        size = 64

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            encoded.append(images.shape)
            clock.now += 1
            return images

    monkeypatch.setattr(module, "time", clock)
    photo = Photo.from_array(np.zeros((80, 100, 3), np.uint8))
    models: list[Any] = [Model(), Model()]
    assert module._timed(models, photo, torch.device("cpu"), None) == (0, 2)
    assert encoded == [(1, 3, 64, 80)] * 2


def of(plan: Plan, monkeypatch) -> list[float]:
    """Make all photos have this plan, and return the ends that are asked for."""
    ends: list[float] = []

    def made(self, models, photo, device, end, asked, *, size):
        ends.append(end)
        return plan

    monkeypatch.setattr(Pace, "plan", made)
    return ends


def fixed(ends: float) -> Plan:
    nothing: dict[Any, float] = {"visibility": 0.0, "survival": 0.0}
    return Plan(ends, answer=0, step=math.inf, rounding=0, saving=1, optional=nothing)


def counted(monkeypatch, immunizer: Immunizer) -> Counter[str]:
    """Count what is measured from the saving on."""
    seen: Counter[str] = Counter()
    (model,) = immunizer.models

    def counting(place: Any, name: str) -> None:
        found = getattr(place, name)

        def noting(*arguments, **options):
            seen[name] += 1
            return found(*arguments, **options)

        monkeypatch.setattr(place, name, noting)

    save = Immunizer.save

    def saving(self, *arguments, **options):
        seen.clear()
        return save(self, *arguments, **options)

    monkeypatch.setattr(Immunizer, "save", saving)
    for name in ("encode", "decode"):
        counting(model, name)
    counting(__import__("photovax.saving", fromlist=["_"]), "visible_difference")
    counting(__import__("photovax.saving", fromlist=["_"]), "read_photo")
    counting(__import__("photovax.metrics.distortion", fromlist=["_"]), "ssim")
    return seen


def test_nothing_is_measured_twice(
    shoot: Shoot, work: Work, immunizer: Immunizer, tmp_path: Path, monkeypatch
) -> None:
    seen = counted(monkeypatch, immunizer)
    made = work.do(Task(str(shoot("a.jpg")), str(tmp_path / "a.png"), "a")).made
    # The original, the result and noise, which settles it; the first two are decoded.
    assert seen == {"encode": 3, "decode": 2, "read_photo": 1, "visible_difference": 1, "ssim": 1}
    assert made is not None
    found = check(read_photo(tmp_path / "a.png"), read_photo(tmp_path / "a.jpg"), size=64)
    assert made.verdict == found.verdict.value
    effect, checked = made.record["effects"]["embedded"], found.models["embedded"].effect
    assert (effect["shift"], effect["damage"]) == (checked.shift, checked.damage)


def test_without_time_the_network_answers_and_only_the_effect_is_measured(
    shoot: Shoot, order, work: Work, immunizer: Immunizer, tmp_path: Path, monkeypatch
) -> None:
    of(fixed(-math.inf), monkeypatch)
    seen = counted(monkeypatch, immunizer)
    recipe = load_recipe("fast").adjusted(size=64)
    timed = Work(replace(order, seconds=5.0, recipe=recipe, survival=True), work)
    told: list[Progress] = []
    task = Task(str(shoot("a.jpg")), str(tmp_path / "a.png"), "a")
    made = timed.do(task, lambda _, progress: told.append(progress)).made
    assert made is not None
    # So small a photo's latent moves under noise, too, so that all is decoded for the verdict.
    assert seen == {"encode": 5, "decode": 5, "read_photo": 1}
    assert made.record["steps"] == made.record["passes"] == 0
    assert made.record["networks"]
    assert made.record["realised"]["linf"] > 0
    assert made.record["realised"]["ssim"] is None
    assert "survival" not in made.record
    assert "what treatments leave was not measured: no time left" in made.record["notes"][-1]
    assert made.seen == "not measured: no time left; photovax check measures it"
    notes = [progress.note for progress in told if progress.note]
    assert len(notes) == 1
    assert notes[0].startswith("5 s are too few: the least is about")

    monkeypatch.undo()
    instant = Work(replace(order, recipe=load_recipe("instant").adjusted(size=64)), work)
    assert instant.do(replace(task, output=str(tmp_path / "b.png"))).made is not None
    with Image.open(tmp_path / "a.png") as timely, Image.open(tmp_path / "b.png") as plain:
        assert np.array_equal(np.array(timely), np.array(plain))


def test_the_time_of_a_single_photo_counts_from_the_start_of_the_command(
    shoot: Shoot, order, work: Work, tmp_path: Path, monkeypatch
) -> None:
    ends = of(fixed(1e12), monkeypatch)
    began = time.perf_counter() - 100
    timed = Work(replace(order, seconds=1000.0), work, began=began)
    names = ("a.jpg", "b.jpg")
    tasks = [Task(str(shoot(name)), str(tmp_path / f"{name}.png"), name) for name in names]
    first, second = (timed.do(task).made for task in tasks)
    assert ends[0] == began + 1000
    assert ends[1] > began + 1099
    assert first is not None
    assert second is not None
    assert second.seconds < 100 < first.seconds


def test_several_photos_have_their_time_each(shoot: Shoot, order, tmp_path, monkeypatch) -> None:
    given: list[float | None] = []

    class Fake:
        digests = ()

        def __init__(self, order, *, began):
            given.append(began)

    monkeypatch.setattr("photovax.batch.work.Work", Fake)
    photos = [str(shoot("a.jpg")), str(shoot("b.jpg"))]
    for chosen in (photos[:1], photos):
        plan = make_plan(chosen, None)
        open_runner(order, 1, plan, Manifest(None, (1, 1), writes=False), began=7.0)
    assert given == [7.0, None]
