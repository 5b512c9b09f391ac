"""The API's description of itself holds, for requests made from it and for wrong ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from photovax.service.app import build_app
from photovax.service.jobs.job import new_id
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.supervisor import Supervisor
from tests.service.jobs.rows import store_of

HOST = {"Host": "127.0.0.1"}
EXAMPLES = 12  # a request and a mode; hypothesis makes the same ones each time
# Random bytes are no picture; and 503 is what health says, and the document with it.
UNASKED = [positive_data_acceptance, not_a_server_error]
FILES = {
    "immunizations": ("photo.webp", "certificate.json", "original.png", "flip.png", "preview.png"),
    "renewals": ("photo.tif", "certificate.json"),
    "checks": (),
    "edits": ("original.png", "immunized.png"),
}


@pytest.fixture
def given_settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "data", device="cpu", requests_per_minute=10**6, max_bytes=100_000)


@pytest.fixture
def schema(given_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the service without workers says of itself."""
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    app = build_app(given_settings)
    return schemathesis.openapi.from_asgi("/v1/openapi.json", app, headers=HOST)


def _operations(schema: Any) -> Iterator[Any]:
    for result in schema.get_all_operations():
        yield result.ok()


def _ask(case: Any) -> Any:
    response = case.call(headers=HOST)
    # Too large is a refusal, too, which Schemathesis does not take for one.
    refused = [negative_data_rejection] if response.status_code == 413 else []
    case.validate_response(response, excluded_checks=[*UNASKED, *refused])
    return response


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_requests_from_the_document_are_answered_as_it_says(schema, given_settings, mode):
    asked = 0
    for operation in _operations(schema):
        if mode is GenerationMode.NEGATIVE and not (operation.path_parameters or operation.body):
            continue  # nothing in it can be wrong

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            assert _ask(case).status_code != 500

        ask()
    assert asked > 100
    assert list(given_settings.pictures.iterdir()) == []


def test_what_jobs_give_is_what_the_document_says(schema, given_settings):
    jobs = Jobs(given_settings.jobs, given_settings.pictures)
    done = {}
    for kind, names in FILES.items():
        added = new_id()
        store_of(jobs).folder(added).mkdir()
        jobs.add(added, kind, {}, request="r")
        job = jobs.claim("w", 60, attempts=1)
        assert job is not None
        store_of(jobs).output(job).mkdir()
        for name in names:
            (store_of(jobs).output(job) / name).write_bytes(b"{}")
        result = {"file": names[0] if names else None, "flip": "flip.png" in names}
        result |= {"preview": "preview.png" in names}
        jobs.finish(job, "w", result)
        done[kind] = job.id
    given_back = set()
    for operation in _operations(schema):
        if operation.method != "get" or "{job}" not in operation.path:
            continue
        for kind, job_id in done.items():
            known = {"kind": kind, "job": job_id, "which": "original"}
            if "{kind}" not in operation.path and kind not in operation.path:
                continue
            asked = {each.name: known[each.name] for each in operation.path_parameters}
            case = operation.Case(path_parameters=asked)
            answer = _ask(case)
            if answer.status_code == 200:
                given_back.add(
                    (operation.path.rpartition("/")[2], answer.headers["content-type"][0])
                )
    assert given_back == {
        ("{job}", "application/json"),
        ("events", "text/event-stream; charset=utf-8"),
        ("photo", "image/webp"),
        ("photo", "image/tiff"),
        ("certificate", "application/json"),
        ("original", "image/png"),
        ("flip", "image/png"),
        ("preview", "image/png"),
        ("{which}", "image/png"),
    }
