"""A service in this process for tests, and what they ask of it."""

from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Register
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
