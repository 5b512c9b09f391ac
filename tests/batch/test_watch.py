"""Photos that come into a watched folder are taken once they are complete."""

import os
from pathlib import Path

import pytest

from photovax.batch.plan import Plan, make_plan
from photovax.batch.watch import Watch
from photovax.errors import UsageError

pytest.importorskip("watchfiles")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(watch: Watch, folder: Path) -> list[str]:
    plan = watch.settled(make_plan([folder], folder.parent / "out", recursive=True))
    return [os.path.basename(task.source) for task in plan.tasks]


def test_a_photo_is_told_once_it_stays_as_it_is(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    watch = Watch([folder], recursive=True, clock=clock)
    photo = folder / "a.jpg"
    photo.write_bytes(b"half")
    assert told(watch, folder) == []
    clock.now += 1.5
    photo.write_bytes(b"half and whole")  # still growing
    assert told(watch, folder) == []
    clock.now += 1.5
    assert told(watch, folder) == []
    clock.now += 1
    assert told(watch, folder) == ["a.jpg"]
    clock.now += 60
    assert told(watch, folder) == []  # done, or failed as it is
    photo.write_bytes(b"another photo")
    told(watch, folder)
    clock.now += 2
    assert told(watch, folder) == ["a.jpg"]


def test_new_files_wake_it_and_nothing_else(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    watch = Watch([folder], recursive=True, clock=clock)
    told(watch, folder)
    (folder / "a.jpg").write_bytes(b"photo")
    watch.wait()
    assert told(watch, folder) == []
    watch.wait()  # returns by itself, since the photo may be complete
    clock.now += 2
    assert told(watch, folder) == ["a.jpg"]
    # Changes on a network share are not reported: the folder is read again after a while.
    clock.now += 31
    watch.wait()


def test_a_folder_that_cannot_be_read_is_told_once(tmp_path: Path, clock: Clock) -> None:
    watch = Watch([tmp_path], recursive=True, clock=clock)
    plan = Plan((), failed=(("x", UsageError("no")),))
    assert [len(watch.settled(plan).failed) for _ in range(2)] == [1, 0]


def test_there_must_be_a_folder() -> None:
    with pytest.raises(UsageError, match="no folder to watch: only photos are given"):
        Watch([], recursive=False)
