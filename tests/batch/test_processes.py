"""Several processes: lost ones, broken ones, and how many are fastest."""

import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from photovax.batch.manifest import Manifest
from photovax.batch.outcome import Outcome
from photovax.batch.plan import Plan
from photovax.batch.processes import Processes
from photovax.batch.runner import open_runner
from photovax.errors import ModelError, PhotovaxError
from tests.batch.fake import load, tasks


class Made(NamedTuple):
    arrangement: tuple[int, int]
    processes: Processes


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Made]:
    """The processes that are opened on two cores, with the number of each and of its threads."""
    found: list[Made] = []

    def noted(order, count, threads):
        found.append(Made((count, threads), Processes(order, count, threads, load)))
        return found[-1].processes

    monkeypatch.setattr("photovax.batch.runner.cores", lambda: 2)
    monkeypatch.setattr("photovax.batch.runner.Processes", noted)
    return found


def test_a_lost_worker_costs_at_most_its_photo(tmp_path: Path, order) -> None:
    given = tasks(tmp_path, "a", "once", "b", "always", "c", "d")
    shown = []
    with closing(Processes(order, 2, 1, load)) as processes:
        assert processes.digests == ("0" * 64,)
        found = list(processes.run(given, lambda task, progress: shown.append(task.source)))
        again = list(processes.run(tasks(tmp_path, "e"), None))  # as when folders are watched
    assert sorted(each.task.source for each in found) == sorted(task.source for task in given)
    failures = {each.task.source: each.failure for each in found if each.error is not None}
    assert list(failures) == ["always"]
    assert failures["always"].startswith("always: two workers ended on it (exit code 9)")
    assert "--workers 1" in failures["always"]
    begun = {task.source: Path(task.output).read_text().count("\n") for task in given}
    assert begun == {"a": 1, "once": 2, "b": 1, "always": 2, "c": 1, "d": 1}
    assert set(shown) == set(begun) - {"always"}
    assert [each.error for each in again] == [None]


def test_both_work_at_the_same_time(tmp_path: Path, order) -> None:
    with closing(Processes(order, 2, 1, load)) as processes:
        names = [
            "pair1",
            "pair2",
            *(f"{number}" for number in range(8)),
        ]  # the first await each other
        assert len(list(processes.run(tasks(tmp_path, *names), None))) == 10
    assert len({(tmp_path / name).read_text() for name in names}) == 2


def test_what_cannot_be_loaded_is_told(order) -> None:
    with pytest.raises(ModelError, match="no weights") as caught:
        Processes(replace(order, models=("broken",)), 2, 1, load)
    assert caught.value.hint == "look"
    with pytest.raises(PhotovaxError, match="ended before its models were loaded"):
        Processes(replace(order, models=("deadly",)), 1, 1, load)


@pytest.mark.parametrize("models", ["one fits", "one is killed"])
def test_a_worker_without_room_takes_no_photos(tmp_path: Path, order, models: str) -> None:
    short = replace(order, models=(models,), networks=(tmp_path / "taken",))
    given = tasks(tmp_path, *map(str, range(6)))
    with closing(Processes(short, 3, 1, load)) as processes:
        found = list(processes.run(given, None))
    assert [each.error for each in found] == [None] * 6
    assert len({(tmp_path / task.source).read_text() for task in given}) == 1


def test_a_run_ends_when_no_worker_is_left(tmp_path: Path, order) -> None:
    short = replace(order, models=("one fits",), networks=(tmp_path / "taken",))
    with closing(Processes(short, 1, 1, load)) as processes:
        found = processes.run(tasks(tmp_path, "always", "a"), None)
        with pytest.raises(PhotovaxError, match=r"no worker could load .*: out of memory$"):
            list(found)


def test_what_cannot_be_timed_is_told_and_nothing_goes_on(tmp_path: Path, order, made) -> None:
    plan = Plan(tuple(tasks(tmp_path, "a", "b")), str(tmp_path))
    with pytest.raises(PhotovaxError, match="no room for a step"):
        open_runner(replace(order, models=("untimed",)), None, plan, Manifest(tmp_path))
    assert made[0].processes._workers == []


def test_what_is_watched_may_become_more(tmp_path: Path, order, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(
        "photovax.batch.runner.Processes", lambda order, count, threads: made.append(count)
    )
    nothing = Plan((), str(tmp_path))
    open_runner(order, 3, nothing, Manifest(tmp_path), watched=True)
    assert made == [3]


def test_another_order_is_arranged_anew(tmp_path: Path, order, made) -> None:
    plan = Plan(tuple(tasks(tmp_path, "a", "b", "c")), str(tmp_path))
    larger = replace(order, recipe=replace(order.recipe, size=128))
    for each in (order, larger):
        with closing(open_runner(each, None, plan, Manifest(tmp_path))):
            pass
    assert [each.arrangement for each in made] == [(1, 2), (1, 2)]


@pytest.mark.parametrize("kept", [False, True])
def test_ctrl_c_keeps_partial_results_only_if_asked(tmp_path: Path, order, kept: bool) -> None:
    given = tasks(tmp_path, "slow1", "slow2", "never")
    seen: list[str] = []

    def interrupting(task, progress) -> None:
        seen.append(task.source)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)

    found: list[Outcome] = []
    processes = Processes(replace(order, keep_partial=kept), 2, 1, load)
    with closing(processes), pytest.raises(KeyboardInterrupt):
        found.extend(processes.run(given, interrupting))
    assert sorted(each.task.source for each in found) == (["slow1", "slow2"] if kept else [])
    assert all(each.made.partial for each in found if each.made)
    assert not (tmp_path / "never").exists()


def test_the_fastest_arrangement_is_measured_and_kept(tmp_path: Path, order) -> None:
    with closing(Processes(order, 1, 2, load)) as processes:
        assert processes.fastest() == (2, 1)
        list(processes.run(tasks(tmp_path, "a", "b"), None))
    lines = {(tmp_path / name).read_text() for name in "ab"}
    assert len(lines) == 2  # two processes
    assert all(line.endswith(" 1\n") for line in lines)


def test_a_resumed_run_is_arranged_as_before(tmp_path: Path, order, made) -> None:
    plan = Plan(tuple(tasks(tmp_path, "a", "b", "c")), str(tmp_path))
    for _ in range(2):
        with closing(open_runner(order, None, plan, Manifest(tmp_path))):
            pass
    assert [each.arrangement for each in made] == [(1, 2), (2, 1)]
    with closing(open_runner(order, 3, plan, Manifest(tmp_path))):
        pass
    assert made[-1].arrangement == (3, 1)
