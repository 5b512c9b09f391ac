"""Photos and results in object stores: one in memory, and S3 as moto serves it."""

import json
import os
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from photovax.batch.cluster import LOCAL, Cluster
from photovax.batch.journal import StoreJournal
from photovax.batch.manifest import Entry, Manifest
from photovax.batch.order import Order
from photovax.batch.outcome import Outcome
from photovax.batch.plan import Task, make_plan
from photovax.batch.run import Run
from photovax.batch.runner import Local
from photovax.batch.storage import Files
from photovax.batch.transfer import through_scratch
from photovax.batch.work import Work
from photovax.digests import file_digest
from photovax.errors import MetricUnavailable, OutputExists, UnreadablePhoto, UsageError
from tests.batch.conftest import Shoot
from tests.batch.fake import load_copies

Go = Callable[..., tuple[Run, dict[str, Outcome]]]


@pytest.fixture
def bucket() -> str:
    """A folder of its own in the store in memory."""
    return f"memory://{uuid.uuid4().hex}"


def put(url: str, content: bytes) -> None:
    Files().create(url, content, overwrite=True)


def names(url: str) -> set[str]:
    return {found[len(url) + 1 :] for found in Files().listed(url) if "/.photovax/" not in found}


@pytest.fixture
def go(order: Order, work: Work) -> Go:
    """A function that runs over given places into another: the run, and its outcomes by name."""

    def run(given: str, output: str, order: Order = order) -> tuple[Run, dict[str, Outcome]]:
        plan = make_plan([given], output, recursive=True)
        started = Run(plan, order, Local(Work(order, work)), Manifest(plan.folder))
        outcomes = {os.path.basename(each.task.source): each for each in started.outcomes()}
        return started, outcomes

    return run


def test_the_same_results_as_in_folders(go: Go, bucket: str, shoot: Shoot, tmp_path: Path) -> None:
    name = "in/a.jpg"
    put(f"{bucket}/{name}", shoot(name).read_bytes())
    go(str(tmp_path / "in"), str(tmp_path / "out"))
    _, outcomes = go(f"{bucket}/in/", f"{bucket}/out/")
    assert [each.failure for each in outcomes.values()] == [""]
    expected = {"a.png", "a.png.json"}
    assert names(f"{bucket}/out") == expected
    made = (tmp_path / "out/a.png").read_bytes()
    assert Files().read(f"{bucket}/out/a.png") == made
    record, other = (
        json.loads(each)
        for each in (
            Files().read(f"{bucket}/out/a.png.json"),
            (tmp_path / "out/a.png.json").read_bytes(),
        )
    )
    assert {name for name in record if record[name] != other[name]} <= {"seconds"}
    # From a store into a folder, and the other way.
    go(f"{bucket}/in", str(tmp_path / "fetched"))
    assert (tmp_path / "fetched/a.png").read_bytes() == made
    go(str(tmp_path / "in"), f"{bucket}/brought")
    assert names(f"{bucket}/brought") == expected
    for given, output in (
        (f"{bucket}/in", f"{bucket}/out"),
        (f"{bucket}/in", str(tmp_path / "fetched")),
        (str(tmp_path / "in"), f"{bucket}/brought"),
    ):
        run, outcomes = go(given, output)
        assert (run.done, run.total, outcomes) == (1, 0, {}), (given, output)


def test_what_changed_is_seen(go: Go, order: Order, bucket: str, shoot: Shoot) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        put(f"{bucket}/in/{name}", shoot(name).read_bytes())
    go(f"{bucket}/in", f"{bucket}/out")
    store = fsspec.filesystem("memory")
    # Without the manifest, the records say the same, and it is written anew.
    store.rm(f"{bucket}/out/.photovax", recursive=True)
    for _ in range(2):
        assert go(f"{bucket}/in", f"{bucket}/out")[0].done == 4
    put(f"{bucket}/in/a.jpg", shoot("e.jpg").read_bytes())  # another photo
    store.rm(f"{bucket}/out/b.png")  # as if killed between the record and the photo
    put(f"{bucket}/in/c.jpg", Files().read(f"{bucket}/in/c.jpg"))  # the same one
    put(f"{bucket}/out/d.png", b"broken")
    _, outcomes = go(f"{bucket}/in", f"{bucket}/out")
    assert {name: type(each.error) for name, each in outcomes.items()} == {
        "a.jpg": OutputExists,
        "b.jpg": type(None),
        "d.jpg": OutputExists,
    }
    assert f"{bucket}/out/a.png: exists already" in outcomes["a.jpg"].failure
    _, outcomes = go(f"{bucket}/in", f"{bucket}/out", replace(order, overwrite=True))
    assert {name: each.failure for name, each in outcomes.items()} == {"a.jpg": "", "d.jpg": ""}
    assert go(f"{bucket}/in", f"{bucket}/out")[0].done == 4


def test_a_bad_photo_is_named_by_its_url(go: Go, bucket: str, shoot: Shoot) -> None:
    put(f"{bucket}/in/bad.jpg", b"no picture")
    put(f"{bucket}/in/good.jpg", shoot("good.jpg").read_bytes())
    run, outcomes = go(f"{bucket}/in", f"{bucket}/out")
    assert run.total == 2
    assert outcomes["bad.jpg"].failure.startswith(f"{bucket}/in/bad.jpg: ")
    assert outcomes["good.jpg"].error is None
    assert names(f"{bucket}/out") == {"good.png", "good.png.json"}
    _, outcomes = go(f"{bucket}/in/gone.jpg", f"{bucket}/other")
    assert outcomes["gone.jpg"].failure == (
        f"{bucket}/in/gone.jpg: cannot be read: there is no such object"
    )


def test_a_search_leaves_out_what_is_no_photo(bucket: str) -> None:
    for name in (
        *("a.jpg", "a.xmp", ".hidden.jpg", "sub/b.JPG", "@eaDir/c.jpg", "out/d.png"),
        *("done.png", "done.png.json", "other.png", "other.png.json"),
    ):
        ours = name == "done.png.json"
        put(f"{bucket}/{name}", b'{\n "photovax": 1' if ours else b"{}")
    plan = make_plan([bucket], f"{bucket}/out", recursive=True)
    assert [task.source for task in plan.tasks] == [
        f"{bucket}/{name}" for name in ("a.jpg", "other.png", "sub/b.JPG")
    ]
    assert [task.output for task in plan.tasks] == [
        f"{bucket}/out/{name}" for name in ("a.png", "other.png", "sub/b.png")
    ]
    assert (plan.results, dict(plan.left_out), plan.folders) == (1, {".xmp": 1}, 0)
    flat = make_plan([f"{bucket}/"], f"{bucket}/out")
    assert len(flat.tasks) == 2
    assert flat.folders == 1
    parts = [make_plan([bucket], f"{bucket}/o", recursive=True, shard=(n, 3)) for n in (1, 2, 3)]
    shared = [task.source for part in parts for task in part.tasks]
    assert len(shared) == len(set(shared)) == 4  # with that of out/, which is no result here
    one = make_plan([f"{bucket}/a.jpg"], f"{bucket}/b.png")
    assert (one.folder, one.tasks[0].output) == (None, f"{bucket}/b.png")


def test_what_cannot_be_asked_of_stores(bucket: str) -> None:
    with pytest.raises(UsageError, match="several stores"):
        make_plan(["memory://a", "s3://b"], "memory://c")
    put(f"{bucket}/b.jpg", b"")
    with pytest.raises(UsageError, match=r"b\.jpg: lies in a store") as caught:
        make_plan([f"{bucket}/b.jpg"], None)
    assert "-o FOLDER" in caught.value.line
    with pytest.raises(UsageError, match=r"nostore://a: Protocol not known"):
        make_plan(["nostore://a"], "memory://c")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(UsageError) as caught:
        make_plan(["s3://b/a"], "memory://c")
    assert caught.value.line == (
        's3://b/a: needs the package s3fs; type: pip install "photovax[s3]"'
    )


def test_each_run_has_objects_of_its_own(bucket: str) -> None:
    now = [0.0]
    first, second = (StoreJournal(bucket, "", clock=lambda: now[0]) for _ in range(2))
    first.append(b"1\n")
    second.append(b"2\n")
    assert list(Files().listed(bucket)) == []
    now[0] = 6.0
    first.append(b"3\n")
    assert len(Files().listed(bucket)) == 1
    second.flush()
    first.append(b"4\n")
    first.flush()
    first.flush()
    assert len(Files().listed(bucket)) == 3
    lines = list(StoreJournal(bucket, "").lines())
    assert sorted(lines) == [b"1\n", b"2\n", b"3\n", b"4\n"]
    assert [line for line in lines if line != b"2\n"] == [b"1\n", b"3\n", b"4\n"]
    second.note("n.json", "{}")
    assert (second.noted("n.json"), second.noted("m.json")) == ("{}", "")


def test_a_manifest_that_does_not_write_leaves_nothing(bucket: str) -> None:
    manifest = Manifest(bucket, writes=False)
    manifest.add(Entry("a", "done"))
    manifest.flush()
    assert Files().listed(bucket) == {}


def test_an_object_is_created_once(s3: str) -> None:
    files = Files()
    files.create(f"{s3}/a", b"1", overwrite=False)
    with pytest.raises(OutputExists, match=f"{s3}/a: exists already"):
        files.create(f"{s3}/a", b"2", overwrite=False)
    assert files.read(f"{s3}/a") == b"1"
    before = files.stamp(f"{s3}/a")
    assert files.listed(s3) == {f"{s3}/a": before}
    files.create(f"{s3}/a", b"3", overwrite=True)
    after = Files().stamp(f"{s3}/a")
    assert (after[0], after != before) == (1, True)
    with pytest.raises(OSError, match="bucket does not exist"):
        files.listed("s3://missing/folder")
    with pytest.raises(UnreadablePhoto, match="s3://b d/x: cannot be read: "):
        make_plan(["s3://b d/x"], f"{s3}/out")


def test_a_cluster_over_a_bucket(s3: str, order: Order) -> None:
    ray = pytest.importorskip("ray", reason='needs pip install "photovax[cluster]"')
    for number in range(4):
        put(f"{s3}/in/{number}.jpg", f"{number}".encode())
    plan = make_plan([f"{s3}/in"], f"{s3}/out")
    gone = [*plan.tasks, Task(f"{s3}/in/gone.jpg", f"{s3}/out/gone.png", "gone")]
    plan = replace(plan, tasks=tuple(gone))
    with closing(Cluster(order, LOCAL, 2, len(plan.tasks), load_copies)) as cluster:
        run = Run(plan, order, cluster, Manifest(plan.folder))
        outcomes = list(run.outcomes())
        again = Run(make_plan([f"{s3}/in"], f"{s3}/out"), order, cluster, Manifest(plan.folder))
    assert not ray.is_initialized()
    assert sorted(each.task.source for each in outcomes) == [task.source for task in plan.tasks]
    assert [each.task.source for each in outcomes if each.error] == [f"{s3}/in/gone.jpg"]
    assert names(f"{s3}/out") == {f"{n}.png{more}" for n in range(4) for more in ("", ".json")}
    assert Files().read(f"{s3}/out/3.png") == b"3"
    assert (again.done, again.todo) == (4, [])


@pytest.mark.slow
def test_models_on_a_cluster_over_a_bucket(s3: str, order: Order, shoot: Shoot) -> None:
    pytest.importorskip("ray", reason='needs pip install "photovax[cluster]"')
    photos = {f"{number}.jpg": shoot(f"{number}.jpg") for number in range(4)}
    for name, path in photos.items():
        put(f"{s3}/in/{name}", path.read_bytes())
    put(f"{s3}/in/bad.jpg", b"no picture")
    plan = make_plan([f"{s3}/in"], f"{s3}/out")
    with closing(Cluster(order, LOCAL, 2, len(plan.tasks))) as cluster:
        run = Run(plan, order, cluster, Manifest(plan.folder))
        outcomes = list(run.outcomes())
    assert [each.task.source for each in outcomes if each.error] == [f"{s3}/in/bad.jpg"]
    assert names(f"{s3}/out") == {f"{n}.png{more}" for n in range(4) for more in ("", ".json")}
    record = json.loads(Files().read(f"{s3}/out/0.png.json"))
    assert record["source"]["sha256"] == file_digest(photos["0.jpg"])


def test_a_result_that_could_not_be_measured_is_stored(bucket: str) -> None:
    """As its error says; the next run takes it for done."""

    def written(task: Task) -> Outcome:
        Path(f"{task.output}.json").write_text("{}")
        Path(task.output).write_bytes(b"photo")
        raise MetricUnavailable(f"{task.output}: is written and verified")

    put(f"{bucket}/in/a.jpg", b"")
    task = Task(f"{bucket}/in/a.jpg", f"{bucket}/out/a.png", "a.jpg")
    with pytest.raises(MetricUnavailable, match=f"{bucket}/out/a.png: is written and verified"):
        through_scratch(task, written, overwrite=False)
    assert names(f"{bucket}/out") == {"a.png", "a.png.json"}

    def refused(task: Task) -> Outcome:
        raise MetricUnavailable("before anything was written")

    other = replace(task, output=f"{bucket}/out/b.png")
    with pytest.raises(MetricUnavailable, match="before anything"):
        through_scratch(other, refused, overwrite=False)
    assert names(f"{bucket}/out") == {"a.png", "a.png.json"}
