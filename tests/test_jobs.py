"""The table of jobs and its workers: nothing is lost, nothing is done twice, nothing is kept."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from photovax.errors import TooManyPixels, UnreadablePhoto, UsageError
from photovax.photo import read_photo
from photovax.service.decode import decoded
from photovax.service.job import Clash, Job, LostJob, QueueFull, State, new_id
from photovax.service.jobs import Jobs
from photovax.service.parcels import read_parcel, write_parcel
from photovax.service.settings import Settings
from photovax.service.supervisor import Supervisor
from photovax.service.worker import Pulse, pack, unpack


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")


def _add(jobs: Jobs, **options: object) -> Job:
    job = new_id()
    jobs.folder(job).mkdir()
    (jobs.folder(job) / "photo.npz").write_bytes(b"secret")
    options = {"request": "r", **options}
    return jobs.add(job, "immunizations", {"prompt": "hush"}, **options)  # type: ignore[arg-type]


def _tick_until(pulse: Pulse, end: float) -> None:
    while time.monotonic() < end:
        pulse.tick(2, 5)
        time.sleep(0.02)


def test_jobs_are_taken_in_turn_and_once(jobs):
    added = [_add(jobs).id for _ in range(20)]
    taken: list[str] = []

    def take(name: str) -> None:
        while (job := jobs.claim(name, 60, attempts=3)) is not None:
            taken.append(job.id)
            jobs.finish(job, name, {"n": 1})

    threads = [threading.Thread(target=take, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(added)
    assert jobs.counts()["done"] == 20


def test_the_job_of_a_dead_worker_is_done_by_another(jobs):
    job = _add(jobs)
    first = jobs.claim("dead", 60, attempts=3)
    assert first is not None
    assert jobs.claim("other", 60, attempts=3) is None
    jobs.release("dead")
    second = jobs.claim("other", 60, attempts=3)
    assert second is not None
    assert (second.id, second.attempt) == (job.id, 2)
    assert jobs.output(first) != jobs.output(second)
    for late in (
        lambda: jobs.finish(first, "dead", {}),
        lambda: jobs.fail(first, "dead", "x", "y"),
        lambda: jobs.progress(first, "dead", 60, 1, 2),
    ):
        with pytest.raises(LostJob):
            late()
    jobs.finish(second, "other", {"n": 2})
    done = jobs.get(job.id)
    assert done is not None
    assert done.result == {"n": 2, "output": "out-2"}


def test_a_job_that_kills_its_workers_is_given_up(jobs):
    job = _add(jobs)
    for _ in range(3):
        assert jobs.claim("w", 0, attempts=3) is not None
        time.sleep(0.002)
    assert jobs.claim("w", 0, attempts=3) is None
    failed = jobs.get(job.id)
    assert failed is not None
    assert failed.state is State.FAILED
    assert failed.error == {"kind": "worker-died", "message": "its worker died each time"}


def test_a_repeated_request_gives_the_same_job(jobs):
    first = _add(jobs, owner="a", idempotency="k")
    assert _add(jobs, owner="a", idempotency="k").id == first.id
    assert _add(jobs, owner="b", idempotency="k").id != first.id
    with pytest.raises(Clash):
        _add(jobs, owner="a", idempotency="k", request="other")
    with pytest.raises(QueueFull):
        _add(jobs, limit=2)


def test_cancelled_jobs_leave_nothing(jobs):
    job = _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    with Pulse(jobs, taken, "w", 1) as pulse:
        pulse.tick(1, 5)
        assert jobs.cancel(job.id)
        assert not jobs.cancel(job.id)
        end = time.monotonic() + 20
        with pytest.raises(LostJob):
            _tick_until(pulse, end)
    assert not jobs.folder(job.id).exists()
    assert jobs.deaf(0) == ["w"]
    assert jobs.deaf(0) == []


def test_jobs_that_take_too_long_are_failed(jobs):
    job = _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    assert jobs.overdue(60) == []
    time.sleep(0.01)
    assert jobs.overdue(0.001) == [(job.id, "w")]
    with pytest.raises(LostJob):
        jobs.finish(taken, "w", {})
    failed = jobs.get(job.id)
    assert failed is not None
    assert failed.error is not None
    assert failed.error["kind"] == "too-long"


def test_a_worker_that_is_done_is_not_stopped_for_a_job_deleted_later(jobs):
    for _ in range(2):
        _add(jobs)
    first, second = (jobs.claim("w", 60, attempts=3) for _ in range(2))
    assert first is not None
    assert second is not None
    jobs.finish(first, "w", {})
    jobs.fail(second, "w", "x", "y")
    assert jobs.cancel(first.id)
    jobs.expire(0)
    time.sleep(0.01)
    assert jobs.deaf(0) == []


def test_results_expire_with_their_pictures_and_prompts(jobs, tmp_path):
    job, waiting = _add(jobs), _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    jobs.finish(taken, "w", {"secret": "result"})
    assert jobs.expire(60) == []
    assert jobs.folder(job.id).exists()
    time.sleep(0.01)
    assert jobs.expire(0.001) == [job.id]
    assert not jobs.folder(job.id).exists()
    assert jobs.folder(waiting.id).exists()
    jobs.cancel(waiting.id)
    expired = jobs.get(job.id)
    assert expired is not None
    assert (expired.state, expired.parameters, expired.result) == (State.EXPIRED, {}, None)
    for file in tmp_path.glob("jobs.sqlite*"):
        assert b"hush" not in file.read_bytes()
        assert b"secret" not in file.read_bytes()


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_edits_go_with_the_photo_they_were_made_of(jobs, how):
    job = _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    jobs.finish(taken, "w", {})
    time.sleep(0.01)
    edit = new_id()
    jobs.folder(edit).mkdir()
    jobs.add(edit, "edits", {"of": job.id, "prompt": "hush"}, request="r")
    if how == "cancelled":
        assert jobs.cancel(job.id)
    else:
        assert set(jobs.expire(0.001)) == {job.id, edit}
    assert list(jobs.pictures.iterdir()) == []
    assert jobs.counts()[how] == 2
    assert jobs.claim("w", 60, attempts=3) is None


def test_folders_without_a_job_are_swept(jobs):
    job = _add(jobs)
    (jobs.pictures / "upload").mkdir()
    jobs.sweep()
    assert [folder.name for folder in jobs.pictures.iterdir()] == [job.id]


def test_settings_travel_to_workers(tmp_path):
    settings = Settings(tmp_path, weights=tmp_path, levels=4.0, recipes=("a", "b"), hosts=())
    assert unpack(pack(settings)) == settings
    with pytest.raises(UsageError):
        Settings(tmp_path, workers=0)


def test_photos_are_decoded_elsewhere_and_come_back_whole(tmp_path, photo_file):
    given = read_photo(photo_file)
    decoded(photo_file, tmp_path / "photo.npz", Settings(tmp_path))
    found = read_parcel(tmp_path / "photo.npz")
    assert (found.pixels == given.pixels).all()
    assert found.metadata == given.metadata
    assert (found.alpha, found.format, found.notes) == (None, "JPEG", given.notes)
    assert not photo_file.exists()
    whole = replace(
        given,
        alpha=given.pixels[..., 0],
        notes=("one",),
        metadata=replace(given.metadata, exif=b"Exif", dpi=(72.0, 72.5)),
    )
    write_parcel(whole, tmp_path / "whole.npz")
    again = read_parcel(tmp_path / "whole.npz")
    assert again.alpha is not None
    assert (again.alpha == given.pixels[..., 0]).all()
    assert (again.metadata, again.notes) == (whole.metadata, ("one",))


@pytest.mark.parametrize(
    ("content", "change", "error", "message"),
    [
        (b"no picture", {}, UnreadablePhoto, "not a picture"),
        (b"", {}, UnreadablePhoto, "is empty"),
        (None, {"max_pixels": 100}, TooManyPixels, "more than the 100 allowed"),
        (None, {"decode_bytes": 60 * 1024**2}, UnreadablePhoto, "more memory or time"),
        (None, {"decode_seconds": 0}, UnreadablePhoto, "more memory or time"),
    ],
)
def test_what_cannot_be_decoded_leaves_nothing(
    tmp_path, photo_file, content, change, error, message
):
    if content is not None:
        photo_file.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        decoded(photo_file, tmp_path / "photo.npz", replace(Settings(tmp_path), **change))
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_folder_has_one_service(jobs, tmp_path):
    (jobs.pictures / "half-an-upload").mkdir()
    settings = Settings(tmp_path, workers=1)
    first, second = (Supervisor(settings, jobs) for _ in range(2))
    first.start()
    try:
        assert list(jobs.pictures.iterdir()) == []
        with pytest.raises(UsageError, match="another service"):
            second.start()
    finally:
        first.stop()
    assert first.alive == 0
