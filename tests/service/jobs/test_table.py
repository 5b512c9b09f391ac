"""The table of jobs and its workers: nothing is lost, nothing is done twice, nothing is kept."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photovax.errors import TooManyPixels, UnreadablePhoto, UsageError
from photovax.pictures.photo import read_photo
from photovax.service.http.answers import job_view
from photovax.service.jobs.job import Clash, Job, LostJob, QueueFull, State, Unreachable, new_id
from photovax.service.jobs.limits import EVERYBODY
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.decode import decoded
from photovax.service.workers.parcels import read_parcel, write_parcel
from photovax.service.workers.supervisor import Supervisor
from photovax.service.workers.worker import Pulse, _work, pack, unpack
from tests.postgres import PASSWORD, with_schema

TAKE_ALL = """
import sys
from photovax.service.jobs.table import Jobs
from pathlib import Path
place, pictures, name = sys.argv[1:]
jobs = Jobs(Path(place) if place.startswith("/") else place, Path(pictures))
print("ready", flush=True)
sys.stdin.readline()
while (job := jobs.claim(name, 60, attempts=3)) is not None:
    jobs.progress(job, name, 60, 1, 2)
    jobs.finish(job, name, {"by": name})
    print(job.id)
"""
HANG = """
import sys, time
from photovax.service.jobs.table import Jobs
from photovax.service.workers.worker import Pulse
from pathlib import Path
place, pictures, name = sys.argv[1:]
jobs = Jobs(Path(place) if place.startswith("/") else place, Path(pictures))
job = jobs.claim(name, 2, attempts=3)
with Pulse(jobs, job, name, 2):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where the table of jobs is."""
    if request.param == "sqlite":
        return tmp_path / "jobs.sqlite"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def jobs(place: Path | str, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(place, tmp_path / "pictures")
    yield jobs
    jobs.close()


def _process(code: str, place: Path | str, jobs: Jobs, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(place), str(jobs.pictures), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _add(jobs: Jobs, **options: object) -> Job:
    job = new_id()
    jobs.folder(job).mkdir()
    (jobs.folder(job) / "photo.npz").write_bytes(b"secret")
    options = {"request": "r", **options}
    return jobs.add(job, "immunizations", {"prompt": "hush"}, **options)  # type: ignore[arg-type]


def _lease(jobs: Jobs) -> float:
    """When the lease of the one job ends."""
    with jobs._database.connection() as connection:
        return float(connection.execute("SELECT lease FROM jobs").fetchone()["lease"])


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


def test_processes_never_take_the_same_job(jobs, place):
    added = [_add(jobs).id for _ in range(30)]
    processes = [_process(TAKE_ALL, place, jobs, f"w{n}") for n in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(job for each in taken for job in each) == sorted(added)
    assert all(jobs.get(job).attempt == 1 for job in added)


def test_the_job_of_a_killed_process_is_done_once(jobs, place):
    job = _add(jobs)
    process = _process(HANG, place, jobs, "killed")
    try:
        first = _lease(jobs)
        end = time.monotonic() + 60
        while _lease(jobs) == first:  # until it was renewed
            assert time.monotonic() < end
            time.sleep(0.05)
        assert jobs.claim("other", 60, attempts=3) is None
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    end = time.monotonic() + 20
    while (taken := jobs.claim("other", 60, attempts=3)) is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (taken.id, taken.attempt) == (job.id, 2)
    jobs.finish(taken, "other", {})
    assert jobs.claim("third", 60, attempts=3) is None
    assert jobs.counts()["done"] == 1


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


class _Bench:
    """Does what a worker's bench would, as the test says."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def do(self, kind: str, folder: Path, output: Path, asked: dict[str, Any], tick: Any) -> Any:
        output.mkdir()
        return self._work(tick)


def test_a_worker_that_lost_its_job_leaves_the_result_of_the_other(jobs):
    job = _add(jobs)
    first = jobs.claim("slow", 0, attempts=3)
    assert first is not None
    time.sleep(0.002)

    def overtaken(tick: Any) -> dict[str, Any]:
        second = jobs.claim("other", 60, attempts=3)
        assert second is not None
        jobs.output(second).mkdir()
        jobs.finish(second, "other", {"file": "photo.png"})
        return {}

    assert _work(_Bench(overtaken), jobs, first, "slow", 60) == "lost"
    assert jobs.output(replace(first, attempt=2)).exists()
    done = jobs.get(job.id)
    assert done is not None
    assert done.result == {"file": "photo.png", "output": "out-2"}


def test_a_job_whose_end_may_not_have_been_noted_is_not_failed(jobs, monkeypatch):
    _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None

    def unheard(job: Job, worker: str, result: dict[str, Any]) -> None:
        Jobs.finish(jobs, job, worker, result)
        raise Unreachable("the answer was lost")

    monkeypatch.setattr(jobs, "finish", unheard)
    with pytest.raises(Unreachable, match="answer was lost"):
        _work(_Bench(lambda tick: {}), jobs, taken, "w", 60)
    now = jobs.get(taken.id)
    assert now is not None
    assert now.state is State.DONE
    assert jobs.output(now).exists()


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
    assert failed.parameters == {}
    assert not jobs.folder(job.id).exists()


def test_attempts_that_were_cut_short_by_a_restart_do_not_count(jobs):
    job = _add(jobs)
    for _ in range(5):
        taken = jobs.claim("w", 60, attempts=3)
        assert taken is not None
        assert (taken.id, taken.attempt) == (job.id, 1)
        jobs.output(taken).mkdir()
        jobs.release("w", spare=True)
        assert not jobs.output(taken).exists()
    for _ in range(3):
        assert jobs.claim("w", 60, attempts=3) is not None
        jobs.release("w")
    assert jobs.claim("w", 60, attempts=3) is None


@pytest.mark.parametrize("died", [False, True])
def test_a_service_that_stops_gives_back_the_attempts_of_workers_that_live(tmp_path, died):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    job = _add(jobs)
    supervisor = Supervisor(Settings(tmp_path), jobs)
    (worker,) = supervisor._workers
    worker.name = "w"
    code = "import sys; print(flush=True); sys.stdin.read()"
    worker.process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.process.stdout is not None
    with worker.process.stdout:
        worker.process.stdout.readline()
    assert jobs.claim("w", 60, attempts=3) is not None
    if died:
        worker.process.kill()
        worker.process.wait()
    supervisor.stop()
    given_back = jobs.get(job.id)
    assert given_back is not None
    assert given_back.attempt == (1 if died else 0)


def test_workers_end_with_the_service_and_not_by_signals_meant_for_it():
    code = (
        "from photovax.service.workers.worker import _end_with_the_service\n"
        "import time\n"
        "_end_with_the_service()\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.01)"
    )
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.stdin.close()
        assert process.wait(60) == 1


def test_times_are_by_the_clock_of_the_table(jobs, monkeypatch):
    job = _add(jobs)
    assert jobs.claim("w", 60, attempts=3) is not None
    # Whatever this machine's clock says meanwhile, a job is no older than the table says.
    monkeypatch.setattr(time, "time", lambda: 1.0)
    now = jobs.get(job.id)
    assert now is not None
    assert now.started is not None
    view = job_view(replace(now, done=1, steps=2, read=now.started + 7), 60)
    assert view.seconds_left == 7
    if jobs.shared:
        assert 0 <= now.read - now.started < 3600


def test_what_is_asked_again_and_again_is_asked_by_an_index(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    _add(jobs)
    asked: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    jobs.expire(60)
    jobs.forget(60)
    monkeypatch.undo()
    statements = [each for each in asked if each.startswith(("SELECT", "DELETE", "UPDATE"))]
    assert [each.split()[0] for each in statements] == ["SELECT", "DELETE"]
    with closing(connect(tmp_path / "jobs.sqlite")) as connection:
        for statement in statements:
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            assert "jobs_by_end" in plan[3]
            assert "finished<" in plan[3]


def test_rows_are_deleted_seldom(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    supervisor = Supervisor(Settings(tmp_path), jobs)
    calls: list[str] = []
    now = 1000.0
    for name in ("expire", "forget", "sweep"):
        monkeypatch.setattr(jobs, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(Supervisor, "_tend", lambda self, worker: None)
    monkeypatch.setattr("photovax.service.workers.supervisor.time.monotonic", lambda: now)
    for _ in range(4 * 60):
        supervisor._round()
        now += 0.25
    assert 40 <= calls.count("expire") <= 61
    assert calls.count("forget") == calls.count("sweep") == 1
    assert calls[0] == "expire"


def test_rows_go_a_day_after_their_results(jobs, monkeypatch):
    job = _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    jobs.finish(taken, "w", {})
    time.sleep(0.01)
    jobs.forget(0.001)
    assert jobs.expire(0.001) == [job.id]
    jobs.forget(0.001)
    assert jobs.get(job.id) is not None
    monkeypatch.setattr("photovax.service.jobs.table._KEEP_ROWS", 0)
    jobs.forget(0.001)
    assert jobs.get(job.id) is None


def test_a_repeated_request_gives_the_same_job(jobs):
    first = _add(jobs, owner="a", idempotency="k")
    assert _add(jobs, owner="a", idempotency="k").id == first.id
    assert _add(jobs, owner="b", idempotency="k").id != first.id
    with pytest.raises(Clash):
        _add(jobs, owner="a", idempotency="k", request="other")
    with pytest.raises(QueueFull):
        _add(jobs, limits={EVERYBODY: 2})


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
    assert jobs.deaf(["other"], 0) == []
    assert jobs.deaf(["other", "w"], 0) == ["w"]
    assert jobs.deaf(["other", "w"], 0) == []


def test_jobs_that_take_too_long_are_failed(jobs):
    job = _add(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    assert jobs.overdue(["w"], 60) == []
    time.sleep(0.01)
    assert jobs.overdue(["other"], 0.001) == []
    assert jobs.overdue(["other", "w"], 0.001) == [(job.id, "w")]
    with pytest.raises(LostJob):
        jobs.finish(taken, "w", {})
    failed = jobs.get(job.id)
    assert failed is not None
    assert failed.error is not None
    assert failed.error["kind"] == "too-long"
    assert failed.parameters == {}


def test_a_worker_that_is_done_is_not_stopped_for_a_job_deleted_later(jobs):
    for _ in range(2):
        _add(jobs)
    first, second = (jobs.claim("w", 60, attempts=3) for _ in range(2))
    assert first is not None
    assert second is not None
    jobs.finish(first, "w", {})
    jobs.fail(second, "w", "x", "y")
    failed = jobs.get(second.id)
    assert failed is not None
    assert failed.parameters == {}
    assert jobs.cancel(first.id)
    jobs.expire(0)
    time.sleep(0.01)
    assert jobs.deaf(["w"], 0) == []


def test_results_expire_with_their_pictures_and_prompts(jobs, place, tmp_path):
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
    if isinstance(place, Path):
        left = [file.read_bytes() for file in tmp_path.glob("jobs.sqlite*")]
    else:
        import psycopg

        with psycopg.connect(place) as connection:
            left = [str(row).encode() for row in connection.execute("SELECT * FROM jobs")]
            assert len(left) == 2
    for each in left:
        assert b"hush" not in each
        assert b"secret" not in each


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


def test_uploads_under_way_are_not_swept(jobs):
    for name in ("upload", "left"):
        (jobs.pictures / name).mkdir()
    os.utime(jobs.pictures / "left", (time.time() - 61,) * 2)
    jobs.sweep(60)
    assert [folder.name for folder in jobs.pictures.iterdir()] == ["upload"]


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


def test_one_folder_has_one_service_with_a_table_of_its_own(tmp_path):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
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


def test_services_that_share_a_database_leave_each_other_alone(tmp_path, postgres):
    settings = Settings(tmp_path, database=postgres, workers=1)
    shared = Jobs(settings.jobs, settings.pictures)
    own = Jobs(tmp_path / "jobs.sqlite", settings.pictures)
    (shared.pictures / "half-an-upload").mkdir()
    _add(shared)
    taken = shared.claim("elsewhere", 60, attempts=3)
    assert taken is not None
    services = [Supervisor(settings, shared) for _ in range(2)]
    try:
        for service in services:
            service.start()
        with pytest.raises(UsageError, match="another service"):
            Supervisor(settings, own).start()
        time.sleep(1)  # a few rounds
    finally:
        for service in services:
            service.stop()
    assert (shared.pictures / "half-an-upload").exists()
    shared.progress(taken, "elsewhere", 60, 1, 2)
    shared.finish(taken, "elsewhere", {})
    shared.close()


def test_a_server_that_breaks_off_is_found_again(postgres, tmp_path):
    import psycopg

    jobs = Jobs(postgres, tmp_path / "pictures")
    _add(jobs)
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'photovax'"
        )
    assert jobs.counts()["queued"] == 1
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute("ALTER TABLE jobs RENAME TO others")
    with pytest.raises(Unreachable, match=r"out of reach \(UndefinedTable\)"):
        jobs.counts()
    jobs.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ann:s3cret@db/jobs", "not one of PostgreSQL"),
        ("postgresql://ann:s3cret@w0rd@db/jobs", "cannot be read"),
        ("postgresql://ann:12/s3cret@db/jobs", "cannot be read"),
        ("postgresql://ann:s3cret%zz@db/jobs", "cannot be read"),
        ("postgresql://ann:s3cret@127.0.0.1:1/jobs", "cannot be reached: .*127.0.0.1"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_the_password(tmp_path, url, message):
    pytest.importorskip("psycopg")
    with pytest.raises(UsageError, match=message) as caught:
        Jobs(url, tmp_path / "pictures")
    assert "s3cret" not in str(caught.value)
    assert "w0rd" not in str(caught.value)
    assert "s3cret" not in repr(Settings(tmp_path, database=url))


def test_a_wrong_password_is_said_without_it(postgres, tmp_path):
    right = "p%40ss%2Fw%25rd"
    if right not in postgres:
        pytest.skip("the database is not the tests' own")
    with pytest.raises(UsageError, match="password authentication failed") as caught:
        Jobs(postgres.replace(right, "s3cret"), tmp_path / "pictures")
    assert "s3cret" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be made: no schema has been selected") as caught:
        Jobs(with_schema(postgres, "nowhere"), tmp_path / "pictures")
    assert PASSWORD not in str(caught.value)
