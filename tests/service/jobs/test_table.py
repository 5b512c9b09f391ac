"""The table of jobs: nothing is lost, nothing is done twice, nothing is kept."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photovax.service.http.answers import job_view
from photovax.service.jobs.job import Clash, LostJob, QueueFull, State, new_id
from photovax.service.jobs.limits import EVERYBODY
from photovax.service.jobs.table import _DIED, Jobs
from tests.service.jobs.rows import add_job, store_of

TAKE_ALL = """
import sys
from photovax.service.jobs.table import _DIED, Jobs
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
from photovax.service.jobs.table import _DIED, Jobs
from photovax.service.workers.doing import Pulse
from pathlib import Path
place, pictures, name = sys.argv[1:]
jobs = Jobs(Path(place) if place.startswith("/") else place, Path(pictures))
job = jobs.claim(name, 60, attempts=3)
with Pulse(jobs, job, name, 60):
    print("ready", flush=True)
    time.sleep(60)
"""


def _process(code: str, place: Path | str, jobs: Jobs, name: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", code, str(place), str(store_of(jobs).path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _lease(jobs: Jobs) -> float:
    """When the lease of the one job ends."""
    with jobs._database.connection() as connection:
        return float(connection.execute("SELECT lease FROM jobs").fetchone()["lease"])


def test_jobs_are_taken_in_turn_and_once(jobs):
    added = [add_job(jobs).id for _ in range(20)]
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
    added = [add_job(jobs).id for _ in range(30)]
    processes = [_process(TAKE_ALL, place, jobs, f"w{n}") for n in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    taken = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(job for each in taken for job in each) == sorted(added)
    assert all(jobs.get(job).attempt == 1 for job in added)


def test_the_job_of_a_killed_process_is_done_once(jobs, place, monkeypatch):
    job = add_job(jobs)
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
    now = jobs._database.now
    monkeypatch.setattr(jobs._database, "now", lambda connection: now(connection) + 61)
    taken = jobs.claim("other", 60, attempts=3)
    assert taken is not None
    assert (taken.id, taken.attempt) == (job.id, 2)
    jobs.finish(taken, "other", {})
    assert jobs.claim("third", 60, attempts=3) is None
    assert jobs.counts()["done"] == 1


def test_the_job_of_a_dead_worker_is_done_by_another(jobs):
    job = add_job(jobs)
    first = jobs.claim("dead", 60, attempts=3)
    assert first is not None
    assert jobs.claim("other", 60, attempts=3) is None
    jobs.release("dead")
    second = jobs.claim("other", 60, attempts=3)
    assert second is not None
    assert (second.id, second.attempt) == (job.id, 2)
    assert store_of(jobs).output(first) != store_of(jobs).output(second)
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
    job = add_job(jobs)
    for _ in range(3):
        assert jobs.claim("w", 0, attempts=3) is not None
        time.sleep(0.002)
    assert jobs.claim("w", 0, attempts=3) is None
    failed = jobs.get(job.id)
    assert failed is not None
    assert failed.state is State.FAILED
    assert failed.error == {"kind": "worker-died", "message": _DIED}
    assert failed.parameters == {}
    assert not store_of(jobs).folder(job.id).exists()


def test_attempts_that_were_cut_short_by_a_restart_do_not_count(jobs):
    job = add_job(jobs)
    for _ in range(5):
        taken = jobs.claim("w", 60, attempts=3)
        assert taken is not None
        assert (taken.id, taken.attempt) == (job.id, 1)
        store_of(jobs).output(taken).mkdir()
        jobs.release("w", spare=True)
        assert not store_of(jobs).output(taken).exists()
    for _ in range(3):
        assert jobs.claim("w", 60, attempts=3) is not None
        jobs.release("w")
    assert jobs.claim("w", 60, attempts=3) is None


def test_times_are_by_the_clock_of_the_table(jobs, monkeypatch):
    job = add_job(jobs)
    assert jobs.claim("w", 60, attempts=3) is not None
    # Whatever this machine's clock says meanwhile, a job is no older than the table says.
    monkeypatch.setattr(time, "time", lambda: 1.0)
    now = jobs.get(job.id)
    assert now is not None
    assert now.started is not None
    view = job_view(replace(now, done=1, steps=2, read=now.started + 7), 60)
    assert view.seconds_left == 7
    # Then the result is measured, for as long as that takes.
    last = job_view(replace(now, done=2, steps=2, read=now.started + 14), 60)
    assert last.seconds_left is None
    if jobs.shared:
        assert 0 <= now.read - now.started < 3600


def test_what_is_asked_again_and_again_is_asked_by_an_index(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    add_job(jobs)
    asked: list[str] = []
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        if arguments[0] == tmp_path / "jobs.sqlite":  # not that of a service of another test
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


def test_rows_go_a_day_after_their_results(jobs, monkeypatch):
    job = add_job(jobs)
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
    first = add_job(jobs, owner="a", idempotency="k")
    assert add_job(jobs, owner="a", idempotency="k").id == first.id
    assert add_job(jobs, owner="b", idempotency="k").id != first.id
    with pytest.raises(Clash):
        add_job(jobs, owner="a", idempotency="k", request="other")
    with pytest.raises(QueueFull):
        add_job(jobs, limits={EVERYBODY: 2})


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_of_a_deleted_job_neither_key_nor_request_is_kept(jobs, end):
    first = add_job(jobs, owner="a", idempotency="holiday.jpg")
    if end == "expired":
        taken = jobs.claim("w", 60, attempts=3)
        assert taken is not None
        jobs.finish(taken, "w", {})
        time.sleep(0.01)
        jobs.expire(0.001)
    else:
        jobs.cancel(first.id)
    with jobs._database.connection() as connection:
        row = connection.execute("SELECT * FROM jobs").fetchone()
    assert (row["state"], row["request"], row["idempotency"]) == (end, "", None)
    assert add_job(jobs, owner="a", idempotency="holiday.jpg").id != first.id


def test_jobs_that_take_too_long_are_failed(jobs):
    job = add_job(jobs)
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
        add_job(jobs)
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
    job, waiting = add_job(jobs), add_job(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    jobs.finish(taken, "w", {"secret": "result"})
    assert jobs.expire(60) == []
    assert store_of(jobs).folder(job.id).exists()
    time.sleep(0.01)
    assert jobs.expire(0.001) == [job.id]
    assert not store_of(jobs).folder(job.id).exists()
    assert store_of(jobs).folder(waiting.id).exists()
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
    job = add_job(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    jobs.finish(taken, "w", {})
    time.sleep(0.01)
    edit = new_id()
    store_of(jobs).folder(edit).mkdir()
    jobs.add(edit, "edits", {"of": job.id, "prompt": "hush"}, request="r")
    if how == "cancelled":
        assert jobs.cancel(job.id)
    else:
        assert set(jobs.expire(0.001)) == {job.id, edit}
    assert list(store_of(jobs).path.iterdir()) == []
    assert jobs.counts()[how] == 2
    assert jobs.claim("w", 60, attempts=3) is None


@pytest.mark.parametrize("how", ["cancelled", "expired", "unknown"])
def test_no_edit_is_added_to_a_result_that_is_deleted_meanwhile(jobs, how):
    of = new_id()
    if how != "unknown":
        of = add_job(jobs).id
        taken = jobs.claim("w", 60, attempts=3)
        assert taken is not None
        jobs.finish(taken, "w", {})
        time.sleep(0.01)
        assert jobs.cancel(of) if how == "cancelled" else jobs.expire(0.001)
    with pytest.raises(FileNotFoundError, match=f"job {of} has no result any more"):
        jobs.add(new_id(), "edits", {"of": of, "prompt": "hush"}, request="r")
    assert jobs.claim("w", 60, attempts=3) is None


def test_folders_without_a_job_are_swept(jobs):
    job = add_job(jobs)
    (store_of(jobs).path / "upload").mkdir()
    jobs.sweep()
    assert [folder.name for folder in store_of(jobs).path.iterdir()] == [job.id]


def test_uploads_under_way_are_not_swept(jobs):
    for name in ("upload", "left"):
        (store_of(jobs).path / name).mkdir()
    os.utime(store_of(jobs).path / "left", (time.time() - 61,) * 2)
    jobs.sweep(60)
    assert [folder.name for folder in store_of(jobs).path.iterdir()] == ["upload"]
