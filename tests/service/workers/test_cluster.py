"""Workers that are actors of a Ray cluster of this machine: lost ones, cancelled jobs, memory."""

import io
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from photovax.batch.actors import LOCAL, Hosted, Places, _connect
from photovax.batch.storage import Files
from photovax.certificates.keys import KeyRing, read_keys
from photovax.certificates.verification import Seen, verify
from photovax.client import Client
from photovax.digests import file_digest
from photovax.errors import UsageError
from photovax.pictures.photo import read_photo
from photovax.service.app import build_app, claim
from photovax.service.jobs.job import Job, State, new_id
from photovax.service.jobs.pictures import open_pictures
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.cluster import Cluster
from photovax.service.workers.doing import End, do_here
from photovax.service.workers.provider import Provider
from tests.service.asking import HOME, begun, settings_in
from tests.service.jobs.rows import store_of
from tests.serving import recipe_file

ray = pytest.importorskip("ray", reason='needs pip install "photovax[cluster]"')


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    """One cluster for all tests of this file, since it takes seconds to start."""
    _connect(ray, LOCAL, 2)
    yield
    ray.shutdown()


class _Bench:
    """Does what the parameters of a job say."""

    def do(
        self, kind: str, folder: Path, output: Path, asked: dict[str, Any], tick: Any
    ) -> dict[str, Any]:
        what, log = asked["what"], Path(asked["log"])
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        first = log.read_text().count("\n") == 1
        if what == "poison" or (what == "once" and first):
            os._exit(9)
        if what == "memory":
            raise MemoryError
        if what == "secret":
            raise ValueError(f"a very {kind} prompt")
        while what == "endless" or (what == "held" and first):
            tick(1, 2)
            time.sleep(0.02)
        tick(2, 2)
        output.mkdir()
        (output / "photo.png").write_bytes((folder / "photo.npz").read_bytes() + b", made")
        return {"file": "photo.png"}


class _Hosted:
    digests: Sequence[str] = ()

    def __init__(self, settings: Settings) -> None:
        self._pictures = open_pictures(settings.pictures)

    def do(self, asked: tuple[Job, Provider], see: Callable[[Any], None]) -> End:
        job, provider = asked
        assert provider.ring.sign(b"x")  # the key came in memory
        return do_here(_Bench(), self._pictures, job, lambda *at: see(at))


def fake(settings: Settings, provider: Provider, places: Places) -> Hosted:
    return _Hosted(settings)


class Service:
    """A table of jobs, and a crew that works on them."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        lost = folder / "lost.pem"  # which these jobs, all of them checks, do without
        settings = settings_in(
            folder, workers=2, cluster=LOCAL, sign_key=lost, sign_chain=lost, **options
        )
        begun(settings)
        self.jobs = Jobs(settings.jobs, settings.pictures)
        self.crew = Cluster(settings, self.jobs, LOCAL, fake)

    def add(self, what: str) -> str:
        job = new_id()
        with self.jobs.pictures.draft(job) as place:
            (place / "photo.npz").write_bytes(what.encode())
        asked = {"what": what, "log": str(self.folder / job)}
        return self.jobs.add(job, "checks", asked, request="r").id

    def get(self, job: str) -> Job:
        found = self.jobs.get(job)
        assert found is not None
        return found

    def until(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 300
        while not true():
            assert time.monotonic() < end, self.jobs.counts()
            time.sleep(0.05)

    def begun(self, job: str) -> list[int]:
        log = self.folder / job
        return list(map(int, log.read_text().split())) if log.exists() else []


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path) as service:
        yield service


@contextmanager
def running_service(folder: Path, **options: Any) -> Iterator[Service]:
    service = Service(folder, **options)
    service.crew.open()
    service.crew.tend()
    try:
        yield service
    finally:
        service.crew.stop()
        service.jobs.close()


def test_a_job_that_ends_its_workers_or_their_memory_fails_alone(service, capfd):
    names = ("fine", "poison", "memory", "once", "secret", "fine", "fine")
    given = [(name, service.add(name)) for name in names]
    service.until(lambda: all(service.get(job).state.final for _, job in given))
    ends = {name: service.get(job) for name, job in given}
    assert {name: end.state.value for name, end in ends.items()} == {
        "fine": "done", "once": "done", "poison": "failed", "memory": "failed", "secret": "failed",
    }  # fmt: skip
    errors = {name: end.error for name, end in ends.items() if end.error is not None}
    assert errors["poison"] == {
        "kind": "worker-died",
        "message": "its worker died in each attempt, as when memory runs out: try a smaller photo",
    }
    assert errors["memory"]["kind"] == "out-of-memory"
    assert errors["memory"]["message"].startswith("memory ran out while the photo was worked on")
    assert errors["secret"]["kind"] == "internal"
    often = {"poison": 3, "once": 2}
    assert [len(service.begun(job)) for _, job in given] == [often.get(name, 1) for name in names]
    for name, job in given:
        if name in ("fine", "once"):
            with service.jobs.pictures.open(service.get(job), "photo.png") as file:
                assert file.read() == f"{name}, made".encode()
    said = capfd.readouterr().err
    assert said.count("checks attempt 3: its worker died") == 1
    assert "checks attempt 1: failed, MemoryError" in said
    assert "unexpected ValueError" in said
    assert "a very checks prompt" not in said
    (line,) = [line for line in said.splitlines() if "unexpected ValueError" in line]
    assert f"worker {os.getpid()}" not in line  # that is the service


def test_a_register_that_cannot_be_read_ends_jobs_and_no_worker(service, capfd):
    before = service.add("fine")
    service.until(lambda: service.get(before).state.final)
    register = service.crew._settings.register
    kept = register.read_bytes()
    register.write_bytes(b"{")
    failed = service.add("fine")
    service.until(lambda: service.get(failed).state.final)
    end = service.get(failed)
    assert (end.state, end.attempt, end.error["kind"]) == (State.FAILED, 1, "usage-error")
    assert "register" in end.error["message"]
    register.write_bytes(kept)
    after = [service.add("fine") for _ in range(4)]
    service.until(lambda: all(service.get(job).state.final for job in after))
    assert {service.get(job).state for job in after} == {State.DONE}
    assert "its worker died" not in capfd.readouterr().err


def test_the_job_of_a_killed_worker_is_done_by_another(service):
    held = service.add("held")
    service.until(lambda: service.get(held).done == 1)
    (pid,) = service.begun(held)
    os.kill(pid, signal.SIGKILL)
    service.until(lambda: service.get(held).state.final)
    end = service.get(held)
    assert (end.state, end.attempt, end.result) == (
        State.DONE,
        2,
        {"file": "photo.png", "output": "out-2"},
    )
    assert len(set(service.begun(held))) == 2


def test_a_cancelled_job_makes_room_for_the_next_on_the_same_worker(service, monkeypatch):
    monkeypatch.setattr("photovax.service.workers.cluster._PATIENCE", 120)
    endless = [service.add("endless") for _ in range(2)]
    service.until(lambda: all(service.get(job).done == 1 for job in endless))
    waiting = service.add("fine")
    time.sleep(0.5)
    assert service.get(waiting).state is State.QUEUED  # each worker has one job at a time
    assert service.jobs.cancel(endless[0])
    service.until(lambda: service.get(waiting).state.final)
    assert service.begun(waiting) == service.begun(endless[0])


def test_a_service_that_stops_gives_its_jobs_back(tmp_path):
    with running_service(tmp_path) as service:
        job = service.add("endless")
        service.until(lambda: service.get(job).done == 1)
        assert service.crew.alive >= 1
        service.crew.stop()
        assert service.crew.alive == 0
        assert service.get(job).attempt == 0


def test_a_job_over_its_time_is_ended(service):
    job = service.add("endless")
    service.until(lambda: service.get(job).done == 1)
    ((late, name),) = service.jobs.overdue(service.crew.names, 0)
    service.crew.end([name])
    assert late == job
    next_one = [service.add("fine") for _ in range(2)]
    service.until(lambda: all(service.get(each).state.final for each in next_one))
    assert service.get(job).error["kind"] == "too-long"


def test_what_is_missing_on_a_workers_machine_is_said(tmp_path, capfd):
    settings = begun(settings_in(tmp_path, workers=1, cluster=LOCAL))
    jobs = Jobs(settings.jobs, settings.pictures)
    store_of(jobs).path.rmdir()  # as on a machine that does not have it
    crew = Cluster(settings, jobs, LOCAL)
    crew.open()
    crew.tend()
    try:
        said, end = "", time.monotonic() + 120
        while "a worker of the cluster has no folder" not in said:
            said += capfd.readouterr().err
            assert time.monotonic() < end
            time.sleep(0.1)
        assert crew.alive == 0
    finally:
        crew.stop()


def test_no_cluster_at_the_address_is_told_at_the_start(tmp_path, monkeypatch):
    """Ray by itself tries for a quarter of an hour, with two lines on the screen each time."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as closed:  # bound, so that nobody else is given the port
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UsageError, match="Connection refused") as caught:
            claim(build_app(settings_in(tmp_path, cluster=address)))
    assert str(caught.value).startswith(f"--cluster {address}: cannot be connected to: ")
    assert "\n" not in caught.value.line


def test_a_photo_goes_through_a_bucket_to_a_worker_and_comes_back_certified(
    tmp_path, photo, s3, network_file
):
    # With true models and keys, and pictures in no folder of the service. Workers have the
    # environment of their cluster's start, and with it the address of the store.
    ray.shutdown()
    recipe = str(recipe_file(tmp_path, steps=2))
    also = str(recipe_file(tmp_path, "one-pass", preset="instant", warm=0))
    settings = settings_in(
        tmp_path,
        recipe=recipe,
        recipes=(also,),
        networks=(network_file,),
        workers=1,
        cluster=LOCAL,
        store=f"{s3}/pictures",
        total=None,
    )
    with TestClient(build_app(settings), base_url=HOME) as web:
        client = Client(HOME, http=web)
        job = client.wait(client.immunize(photo, recipe="one-pass"))
        assert job.result is not None
        assert job.result["networks"] == {"embedded": file_digest(network_file)}
        client.save_photo(job, tmp_path / "out.jpg")
        client.save_certificate(job, tmp_path / "c.json")
        edited = client.wait(client.edit(job, "make it night"))
        shown = Image.open(io.BytesIO(client.picture(edited, "immunized")))
        assert min(shown.size) == 64
        made = read_photo(tmp_path / "out.jpg")
        assert not np.array_equal(made.pixels, read_photo(photo).pixels)
        text = (tmp_path / "c.json").read_text()
        assert verify(
            text, read_keys(settings.keys), photo=Seen.of(tmp_path / "out.jpg", made)
        ).valid
        # A key that was rotated meanwhile signs the next one.
        new = KeyRing(settings.keys).rotate()
        again = client.wait(client.immunize(photo))
        client.save_certificate(again, tmp_path / "again.json")
        text = (tmp_path / "again.json").read_text()
        assert verify(text, read_keys(settings.keys)).certificate.key == new
        assert not (settings.data / "pictures").exists()
        client.delete(job)
        assert set(Files().names(f"{s3}/pictures")) == {again.id}
