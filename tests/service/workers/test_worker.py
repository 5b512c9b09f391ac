"""A worker: what it says of a job, and when it ends."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from photovax.service.jobs.job import Job, LostJob, State, Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.workers.doing import Pulse, do_here, work
from tests.service.jobs.rows import add_job, store_of


class _Bench:
    """Does what a worker's bench would, as the test says."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def do(self, kind: str, folder: Path, output: Path, asked: dict[str, Any], tick: Any) -> Any:
        output.mkdir()
        return self._work(tick)


def _tick_until(pulse: Pulse, end: float) -> None:
    while time.monotonic() < end:
        pulse.tick(2, 5)
        time.sleep(0.02)


def test_a_worker_that_lost_its_job_leaves_the_result_of_the_other(jobs):
    job = add_job(jobs)
    first = jobs.claim("slow", 0, attempts=3)
    assert first is not None
    time.sleep(0.002)

    def overtaken(tick: Any) -> dict[str, Any]:
        second = jobs.claim("other", 60, attempts=3)
        assert second is not None
        store_of(jobs).output(second).mkdir()
        jobs.finish(second, "other", {"file": "photo.png"})
        return {}

    assert (
        work(partial(do_here, _Bench(overtaken), jobs.pictures), jobs, first, "slow", 60) == "lost"
    )
    assert store_of(jobs).output(replace(first, attempt=2)).exists()
    done = jobs.get(job.id)
    assert done is not None
    assert done.result == {"file": "photo.png", "output": "out-2"}


def test_a_job_whose_end_may_not_have_been_noted_is_not_failed(jobs, monkeypatch):
    add_job(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None

    def unheard(job: Job, worker: str, result: dict[str, Any]) -> None:
        Jobs.finish(jobs, job, worker, result)
        raise Unreachable("the answer was lost")

    monkeypatch.setattr(jobs, "finish", unheard)
    with pytest.raises(Unreachable, match="answer was lost"):
        work(partial(do_here, _Bench(lambda tick: {}), jobs.pictures), jobs, taken, "w", 60)
    now = jobs.get(taken.id)
    assert now is not None
    assert now.state is State.DONE
    assert store_of(jobs).output(now).exists()


def test_cancelled_jobs_leave_nothing(jobs):
    job = add_job(jobs)
    taken = jobs.claim("w", 60, attempts=3)
    assert taken is not None
    with Pulse(jobs, taken, "w", 1) as pulse:
        pulse.tick(1, 5)
        assert jobs.cancel(job.id)
        assert not jobs.cancel(job.id)
        end = time.monotonic() + 20
        with pytest.raises(LostJob):
            _tick_until(pulse, end)
    assert not store_of(jobs).folder(job.id).exists()
    assert jobs.deaf(["other"], 0) == []
    assert [worker for _, worker in jobs.deaf(["other", "w"], 0)] == ["w"]
    assert jobs.deaf(["other", "w"], 0) == []


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


def test_a_job_that_finds_no_room_says_so(tmp_path):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    jobs.add("0" * 32, "checks", {}, request="x")
    store_of(jobs).folder("0" * 32).mkdir()

    def full(tick: Any) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    taken = jobs.claim("w", 30, attempts=1)
    assert taken is not None
    assert (
        work(partial(do_here, _Bench(full), jobs.pictures), jobs, taken, "w", 30)
        == "failed, OSError"
    )
    ended = jobs.get("0" * 32)
    assert ended is not None
    assert (ended.error or {})["kind"] == "no-room"
    assert list(store_of(jobs).path.iterdir()) == []
    jobs.close()
