"""What watches the workers: restarts, one service a folder, tidying."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from photovax.errors import ModelError, UsageError
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.processes import Processes
from photovax.service.workers.supervisor import Supervisor
from photovax.service.workers.worker import UNABLE, _Loading
from tests.service.asking import begun
from tests.service.jobs.rows import add_job, store_of


@pytest.mark.parametrize("died", [False, True])
def test_a_service_that_stops_gives_back_the_attempts_of_workers_that_live(tmp_path, died):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    job = add_job(jobs)
    crew = Processes(Settings(tmp_path), jobs)
    (worker,) = crew._workers
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
    crew.stop()
    given_back = jobs.get(job.id)
    assert given_back is not None
    assert given_back.attempt == (1 if died else 0)


def test_a_worker_that_cannot_load_its_models_does_not_count(tmp_path, capfd):
    """Probes would have been told that the service works, while every job failed."""
    missing = tmp_path / "none.safetensors"
    settings = begun(Settings(tmp_path, networks=(missing,), workers=1, device="cpu"))
    jobs = Jobs(settings.jobs, settings.pictures)
    crew = Processes(settings, jobs)
    (worker,) = crew._workers

    def tend_until(done: Callable[[], bool]) -> None:
        end = time.monotonic() + 120
        while not done():
            assert time.monotonic() < end
            crew.tend()
            time.sleep(0.05)

    try:
        tend_until(lambda: crew.alive == 1)
        tend_until(lambda: worker.able is False)
        assert worker.process is not None
        assert worker.process.poll() is None
        assert crew.alive == 0
        assert f"{missing}" in capfd.readouterr().err
    finally:
        crew.stop()


def test_loading_is_tried_again_and_told_once(capfd, monkeypatch):
    monkeypatch.setattr("photovax.service.workers.worker._LOAD_AGAIN", 0.0)
    ours, theirs = os.pipe()
    errors = [ModelError("no weights"), ModelError("no weights"), None]

    def load() -> None:
        if error := errors.pop(0):
            raise error

    loading = _Loading(load, "worker 1", theirs)
    with open(ours, "rb") as pipe:
        for _ in range(4):
            loading.go_on()
        assert pipe.read() == UNABLE  # and its end
    assert capfd.readouterr().err.count("no weights") == 1


def test_rows_are_deleted_seldom(tmp_path, monkeypatch):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    supervisor = Supervisor(Settings(tmp_path), jobs)
    calls: list[str] = []
    now = 1000.0
    for name in ("expire", "forget", "sweep"):
        monkeypatch.setattr(jobs, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr("photovax.service.workers.supervisor.time.monotonic", lambda: now)
    for _ in range(60):
        supervisor._tidy()
        now += 1
    assert calls.count("expire") == 60
    assert calls.count("forget") == calls.count("sweep") == 1
    assert calls[0] == "expire"


def test_workers_are_watched_while_a_store_takes_its_time(tmp_path, monkeypatch):
    """With thousands of pictures to delete, no worker would have been replaced for minutes."""
    monkeypatch.setattr("photovax.service.workers.supervisor._EXPIRE", 0.01)
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    late = add_job(jobs)
    supervisor = Supervisor(Settings(tmp_path, workers=1, job_seconds=1e-6), jobs)
    deleting, answers, tended = threading.Event(), threading.Event(), threading.Event()

    def slow(gone: Sequence[str]) -> None:
        if gone:
            deleted.extend(gone)
            deleting.set()
            answers.wait(60)

    def tend(*_: object) -> None:
        if deleting.is_set():
            tended.set()

    deleted: list[str] = []
    monkeypatch.setattr(store_of(jobs), "remove_all", slow)
    crew = supervisor._crew
    assert isinstance(crew, Processes)
    monkeypatch.setattr(crew, "tend", tend)
    monkeypatch.setattr(crew._workers[0], "name", "w")
    assert jobs.claim("w", 60, attempts=3) is not None
    supervisor.start()
    try:
        assert deleting.wait(60)
        assert deleted == [late.id]  # over its time
        assert tended.wait(60)
    finally:
        answers.set()
        supervisor.stop()


def test_one_folder_has_one_service_with_a_table_of_its_own(tmp_path):
    jobs = Jobs(tmp_path / "jobs.sqlite", tmp_path / "pictures")
    (store_of(jobs).path / "half-an-upload").mkdir()
    settings = Settings(tmp_path, workers=1)
    first, second = (Supervisor(settings, jobs) for _ in range(2))
    first.start()
    try:
        assert list(store_of(jobs).path.iterdir()) == []
        with pytest.raises(UsageError, match="another service"):
            second.start()
    finally:
        first.stop()
    assert first.alive == 0


def test_services_that_share_a_database_leave_each_other_alone(tmp_path, postgres):
    settings = Settings(tmp_path, database=postgres, workers=1)
    shared = Jobs(settings.jobs, settings.pictures)
    own = Jobs(tmp_path / "jobs.sqlite", settings.pictures)
    (store_of(shared).path / "half-an-upload").mkdir()
    add_job(shared)
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
    assert (store_of(shared).path / "half-an-upload").exists()
    shared.progress(taken, "elsewhere", 60, 1, 2)
    shared.finish(taken, "elsewhere", {})
    shared.close()
