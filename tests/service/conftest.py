"""One service for all tests that change nothing of it; others start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from photovax.client import Client
from photovax.pictures.sample import SAMPLE
from photovax.service.app import build_app
from photovax.service.jobs.table import Jobs
from photovax.service.workers.supervisor import Supervisor
from tests.service.asking import HOME, settings_in


@pytest.fixture(autouse=True)
def _no_services_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PHOTOVAX_DATABASE", "PHOTOVAX_DATA", "PHOTOVAX_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="session")
def web(folder: Path) -> Iterator[TestClient]:
    """The service with a worker."""
    with TestClient(build_app(settings_in(folder)), base_url=HOME) as client:
        yield client


@pytest.fixture(scope="session")
def client(web: TestClient) -> Client:
    return Client(HOME, http=web)


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The service without a worker, so that nothing moves."""
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    with TestClient(build_app(settings_in(tmp_path)), base_url=HOME) as client:
        yield client


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photo") / "aunt-mabel.jpg"
    with Image.open(SAMPLE) as sample:
        sample.crop((150, 20, 246, 100)).save(file, quality=92)
    return file


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
