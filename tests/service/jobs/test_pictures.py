"""Pictures of jobs in a folder, in a store in memory, and in S3 as moto serves it."""

import errno
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from photovax.batch.storage import Files
from photovax.errors import UsageError
from photovax.service.jobs.job import Job, State, new_id
from photovax.service.jobs.pictures import Bucket, Pictures, StoreUnreachable, open_pictures


@pytest.fixture(params=["folder", "memory", "s3"])
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Pictures:
    if request.param == "folder":
        return open_pictures(tmp_path / "pictures")
    if request.param == "memory":
        return open_pictures(f"memory://{uuid.uuid4().hex}")
    return open_pictures(f"{request.getfixturevalue('s3')}/service")


def a_job(attempt: int = 1) -> Job:
    empty = dict.fromkeys(("result", "error", "started", "finished"))
    return Job(
        id=new_id(), kind="checks", owner="", request="", parameters={}, state=State.RUNNING,
        done=0, steps=0, attempt=attempt, created=0, read=0, **empty,
    )  # fmt: skip


def worked_on(pictures: Pictures, job: Job) -> Path:
    """Have a job uploaded and done."""
    with pictures.draft(job.id) as folder:
        (folder / "photo.npz").write_bytes(b"given")
    with pictures.work(job) as (folder, output):
        output.mkdir()
        (output / "photo.png").write_bytes((folder / "photo.npz").read_bytes() + b", made")
    return folder


def test_what_is_uploaded_is_worked_on_and_what_is_made_is_kept(pictures):
    job = a_job(attempt=2)
    worked_on(pictures, job)
    with pictures.open(job, "photo.png") as file:
        assert file.read() == b"given, made"
    with pytest.raises(FileNotFoundError):
        pictures.open(job, "other.png")
    with pictures.work(job) as (folder, _):
        assert (folder / "photo.npz").exists()
    pictures.remove(job.id, 2)
    with pytest.raises(FileNotFoundError):
        pictures.open(job, "photo.png")
    with pictures.work(job) as (folder, _):
        assert (folder / "photo.npz").exists()
    pictures.remove(job.id)
    with pictures.work(job) as (folder, _):
        assert not (folder / "photo.npz").exists()
    pictures.remove(job.id)  # nothing is no error


def test_what_belongs_to_no_job_is_swept_away(pictures):
    known, lost = a_job(), a_job()
    for job in (known, lost):
        worked_on(pictures, job)
    pictures.sweep({known.id}, 60)
    pictures.open(lost, "photo.png").close()  # it may be an upload in progress
    pictures.sweep({known.id}, 0)
    pictures.open(known, "photo.png").close()
    with pytest.raises(FileNotFoundError):
        pictures.open(lost, "photo.png")


def test_a_bucket_is_swept_by_the_time_it_was_seen_and_only_of_jobs(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("photovax.service.jobs.pictures.time.monotonic", lambda: clock[-1])
    bucket, lost = Bucket(url := f"memory://{uuid.uuid4().hex}"), a_job()
    worked_on(bucket, lost)
    Files().create(f"{url}/holiday/photo.jpg", b"not ours", overwrite=False)
    for seconds in (0, 50):
        clock.append(1000.0 + seconds)
        bucket.sweep((), 60)
        bucket.open(lost, "photo.png").close()
    clock.append(1061.0)
    bucket.sweep((), 60)
    assert Files().names(url) == ["holiday"]


def test_large_pictures_go_through_in_pieces():
    """A decoded photo of 50 megapixels has 150 MB, and several are on their way at a time."""
    size = 2**25
    bucket, job = Bucket(f"memory://{uuid.uuid4().hex}"), a_job()

    def most(does: Callable[[], None]) -> int:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        does()
        return tracemalloc.get_traced_memory()[1] - before

    def upload() -> None:
        with bucket.draft(job.id) as folder, (folder / "photo.npz").open("wb") as file:
            file.truncate(size)

    def work() -> None:
        with bucket.work(job) as (folder, _):
            assert (folder / "photo.npz").stat().st_size == size

    tracemalloc.start()
    try:
        assert most(upload) < 1.5 * size  # the store itself has it in memory
        assert most(work) < size / 2
    finally:
        tracemalloc.stop()


def test_many_jobs_are_deleted_in_one_request(s3, monkeypatch):
    s3fs = pytest.importorskip("s3fs")
    bucket, jobs = Bucket(f"{s3}/service"), [a_job() for _ in range(3)]
    for job in jobs:
        worked_on(bucket, job)
    asked: list[str] = []
    own = s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *args: Any, **options: Any) -> Any:
        asked.append(method)
        return await own(self, method, *args, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    bucket.remove_all([job.id for job in jobs[1:]])
    assert [each for each in asked if each.startswith("delete")] == ["delete_objects"]
    assert Files().names(f"{s3}/service") == [jobs[0].id]
    bucket.remove_all([])
    bucket.remove_all([jobs[1].id])  # nothing is no error
    assert Files().names(f"{s3}/service") == [jobs[0].id]


def test_a_full_disk_is_no_store_out_of_reach(monkeypatch):
    bucket, job = Bucket(f"memory://{uuid.uuid4().hex}"), a_job()
    worked_on(bucket, job)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Files, "fetch", full)
    with pytest.raises(OSError, match="No space left"), bucket.work(job):
        pass


def test_a_draft_that_fails_is_not_kept(pictures):
    job = a_job()

    def half() -> None:
        with pictures.draft(job.id) as folder:
            (folder / "photo.npz").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    pictures.remove(job.id)
    with pictures.work(job) as (folder, _):
        assert not (folder / "photo.npz").exists()


def test_nothing_of_a_bucket_stays_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    url = f"memory://{uuid.uuid4().hex}"
    worked_on(Bucket(url), a_job())
    assert list(tmp_path.iterdir()) == []
    killed = tmp_path / "photovax-scratch-killed"  # locked by nobody
    killed.mkdir()
    (killed / "photo.npz").write_bytes(b"secret")
    with Bucket(url).draft(new_id()) as live:
        assert not killed.exists()
        Bucket(url)  # by another service
        assert live.exists()


def test_a_store_that_does_not_answer_is_out_of_reach(monkeypatch):
    bucket, job = Bucket(f"memory://{uuid.uuid4().hex}"), a_job()
    worked_on(bucket, job)

    def broken(*_: object, **__: object) -> None:
        raise PermissionError("s3://secret/name: denied")

    for name in ("listed", "opened", "put"):
        monkeypatch.setattr(Files, name, broken)
    told = r"^the store of pictures is out of reach \(PermissionError\); try again later$"
    with pytest.raises(StoreUnreachable, match=told), bucket.work(job):
        pass
    with pytest.raises(StoreUnreachable, match=told):
        bucket.open(job, "photo.png")
    with pytest.raises(StoreUnreachable, match=told):
        worked_on(bucket, job)
    monkeypatch.setattr(Files, "names", broken)
    with pytest.raises(UsageError, match="store of pictures does not answer"):
        Bucket("memory://other")


def test_what_cannot_be_deleted_is_said(pictures, monkeypatch, capfd):
    job = a_job()
    worked_on(pictures, job)
    pictures.remove(new_id())  # of what is not there nothing is said
    assert capfd.readouterr().err == ""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr("os.rmdir", refused)
    monkeypatch.setattr(Files, "remove", refused)
    pictures.remove_all([job.id])
    pictures.sweep([], 0)
    assert capfd.readouterr().err.count("cannot be deleted") == 2


def test_a_place_that_is_no_url_is_refused():
    with pytest.raises(UsageError, match="need a URL such as s3://bucket/folder, got 'bucket'"):
        open_pictures("bucket")
