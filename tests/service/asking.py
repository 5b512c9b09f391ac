"""A service in this process for tests, and what they ask of it."""

import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Register
from photovax.errors import UnreadablePhoto
from photovax.service.jobs.job import Job
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from tests.serving import recipe_file

HOME = "http://127.0.0.1"
LIMIT = 400_000


def settings_in(folder: Path, **options: Any) -> Settings:
    """Those of a service that a test can afford, but for what it asks otherwise."""
    folder.mkdir(exist_ok=True)
    options = {
        "recipe": str(recipe_file(folder)),
        "device": "cpu",
        "total": 32.0,
        "max_bytes": LIMIT,
        "max_pixels": 100_000,
        **options,
    }
    return Settings(folder / "data", **options)


def begun(settings: Settings) -> Settings:
    """Settings whose register and key are there, which a service makes when it starts."""
    Register(settings.register)
    KeyRing(settings.keys)
    return settings


def held_up(patch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have uploads wait to be decoded, then refused: whether one does, whether they may go on."""
    begun, may_go = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert may_go.wait(120)
        raise UnreadablePhoto("waited")

    patch.setattr("photovax.service.workers.intake.decoded", slow)
    return begun, may_go


def claimed(folder: Path) -> tuple[Jobs, Job]:
    """The table of the service's jobs, and the oldest that waits, claimed by a worker ``w``."""
    jobs = Jobs(folder / "data/jobs.sqlite", folder / "data/pictures")
    job = jobs.claim("w", 60, attempts=1)
    assert job is not None
    return jobs, job


def post(web: TestClient, content: bytes, **options: Any) -> Any:
    """Send a photo to be immunized."""
    files = {"photo": ("x.jpg", content)}
    return web.post("/v1/immunizations", files=files, **options)


def pictures_in(folder: Path) -> list[str]:
    """The jobs that have pictures."""
    return [path.name for path in (folder / "data/pictures").iterdir()]


def detail_of(answer: Any, status: int, kind: str) -> str:
    """What a problem document says, of this status and kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:photovax:problem:{kind}"
    assert body["status"] == status
    return str(body["detail"])
