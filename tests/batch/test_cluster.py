"""A cluster of Ray on this machine: lost workers, poisonous photos, broken models."""

import glob
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from photovax.batch.cluster import LOCAL, Cluster
from photovax.batch.order import MaskOptions
from photovax.batch.outcome import Outcome
from photovax.errors import ModelError, PhotovaxError, UsageError
from tests.batch.fake import load, tasks

ray = pytest.importorskip("ray", reason='needs pip install "photovax[cluster]"')


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    """One cluster for all tests of this file, since it takes seconds to start."""
    from photovax.batch.actors import _connect

    _connect(ray, LOCAL, 2)
    yield
    ray.shutdown()


@pytest.fixture
def two(running: None, order) -> Iterator[Cluster]:
    with closing(Cluster(order, LOCAL, 2, 99, load)) as cluster:
        yield cluster


def begun(given) -> dict[str, int]:
    return {task.source: Path(task.output).read_text().count("\n") for task in given}


def test_a_poisonous_photo_costs_itself_alone(tmp_path: Path, two: Cluster) -> None:
    given = tasks(tmp_path, "a", "once", "b", "always", "c", "d")
    assert two.digests == ["0" * 64]
    found = list(two.run(given, None))
    again = list(two.run(tasks(tmp_path, "e"), None))  # as when folders are watched
    assert sorted(each.task.source for each in found) == sorted(task.source for task in given)
    failures = {each.task.source: each.failure for each in found if each.error is not None}
    assert list(failures) == ["always"]
    assert failures["always"].startswith("always: two workers ended on it (Actor")
    assert begun(given) == {"a": 1, "once": 2, "b": 1, "always": 2, "c": 1, "d": 1}
    assert [each.error for each in again] == [None]


def test_a_killed_worker_costs_nothing(tmp_path: Path, two: Cluster) -> None:
    given = tasks(tmp_path, "held", *"abcdefgh")
    killed: list[int] = []

    def kill(task, progress) -> None:
        if task.source == "held" and not killed:
            killed.append(int(Path(task.output).read_text().split()[0]))
            os.kill(killed[0], signal.SIGKILL)

    found = list(two.run(given, kill))
    assert len(killed) == 1
    assert sorted(each.task.source for each in found) == sorted(task.source for task in given)
    assert [each.failure for each in found if each.error is not None] == []
    assert begun(given) == {"held": 2, **dict.fromkeys("abcdefgh", 1)}


def test_a_worker_has_one_photo_at_a_time(tmp_path: Path, two: Cluster) -> None:
    drawn: list[str] = []

    def endless():
        for number in range(10_000):
            drawn.append(f"{number}")
            yield tasks(tmp_path, f"{number}")[0]

    outcomes = two.run(endless(), None)
    for _ in range(3):
        next(outcomes)
    assert len(drawn) <= 3 + 2


def test_what_cannot_be_loaded_is_told(running: None, order) -> None:
    with pytest.raises(ModelError, match="no weights") as caught:
        Cluster(replace(order, models=("broken",)), LOCAL, 1, 9, load)
    assert caught.value.hint == "look"
    with pytest.raises(PhotovaxError, match="could load its models"):
        Cluster(replace(order, models=("deadly",)), LOCAL, 1, 9, load)
    assert ray.is_initialized()  # a cluster of somebody else is left alone


def test_a_worker_with_other_weights_leaves_the_work_to_the_others(
    running: None, order, tmp_path: Path
) -> None:
    asked = replace(order, models=("one differs",), weights=tmp_path / "weights")
    found: list[Outcome] = []
    end = time.monotonic() + 120
    with closing(Cluster(asked, LOCAL, 2, 99, load)) as cluster:
        while not cluster._why and time.monotonic() < end:  # until the second one is ready
            found += cluster.run(tasks(tmp_path, str(len(found))), None)
        found += cluster.run(tasks(tmp_path, "last"), None)
        assert list(cluster.digests) == ["0" * 64]
    assert "different weights" in cluster._why
    assert {each.error for each in found} == {None}


def test_a_mask_is_brought_to_the_workers(
    running: None, order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine they may take longer than others wait to delete what they were given.
    monkeypatch.setattr("photovax.batch.actors._FAREWELL", 60.0)
    mask = tmp_path / f"{uuid.uuid4().hex}.png"
    mask.write_bytes(b"white")
    masked = replace(order, mask=MaskOptions(mask, edit_region=True))
    with closing(Cluster(masked, LOCAL, 1, 1, load)) as cluster:
        mask.unlink()
        (outcome,) = cluster.run(tasks(tmp_path, "masked"), None)
    assert outcome.error is None
    assert (tmp_path / "masked").read_text().endswith("white True\n")
    # Not Path.glob, which fails where another process deletes a folder meanwhile.
    assert glob.glob(f"{tempfile.gettempdir()}/photovax-*/**/{mask.name}", recursive=True) == []


def test_networks_are_brought_to_the_workers(
    running: None, order, tmp_path: Path, network_file: Path
) -> None:
    file = tmp_path / "own.safetensors"
    file.write_bytes(network_file.read_bytes())
    given = replace(order, networks=(file,))
    with closing(Cluster(given, LOCAL, 1, 1, load)) as cluster:
        file.unlink()  # as on a machine that does not have it
        (outcome,) = cluster.run(tasks(tmp_path, "network"), None)
    assert outcome.error is None
    assert (tmp_path / "network").read_bytes() == network_file.read_bytes()
    with pytest.raises(ModelError, match=f"network {file}: cannot be read: No such file"):
        Cluster(given, LOCAL, 1, 1, load)
    file.write_bytes(network_file.read_bytes())
    with pytest.raises(ModelError, match=f"network {file}: damaged"):  # by its own name
        Cluster(replace(given, models=("damaged",)), LOCAL, 1, 1, load)


def test_ray_is_named_where_it_is_missing(order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as caught:
        Cluster(order, LOCAL, 1, 1, load)
    assert caught.value.line == (
        '--cluster needs the package ray; type: pip install "photovax[cluster]"'
    )


def test_no_cluster_at_the_address() -> None:
    # In a process of its own: this one may be connected already, which fails in another way.
    script = """if True:
        import ray
        from photovax.batch.actors import _connect
        from photovax.errors import UsageError
        try:
            _connect(ray, "nowhere", 1)
        except UsageError as error:
            print(error.line)
    """
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("--cluster nowhere: cannot be connected to"), done.stderr
    assert "ray start" in done.stdout
