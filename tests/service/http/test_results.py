"""Results that are gone, and what the API says of the service."""

import re
import time

import pytest

from photovax.client import Client, RemoteJob, ServiceError
from tests.service.asking import HOME, claimed, detail_of, pictures_in, post


def test_what_has_expired_says_so(idle, photo, tmp_path):
    links = post(idle, photo.read_bytes()).json()["links"]
    detail_of(idle.get(links["self"] + "/photo"), 409, "not-done")
    jobs, job = claimed(tmp_path)
    jobs.finish(job, "w", {"file": "photo.png", "flip": False})
    assert "flip" not in idle.get(links["self"]).json()["links"]
    detail_of(idle.get(links["self"] + "/flip"), 404, "no-map")
    # Deleted between the look into the table and the opening of the file.
    detail_of(idle.get(links["self"] + "/photo"), 410, "expired")
    jobs.expire(0)
    detail_of(idle.get(links["self"]), 410, "expired")
    detail_of(idle.get(links["self"] + "/flip"), 410, "expired")
    assert pictures_in(tmp_path) == []


def test_a_renewal_that_lacked_nothing_has_nothing_new(idle, photo, tmp_path):
    made = post(idle, photo.read_bytes()).json()
    links = made["links"]
    jobs, job = claimed(tmp_path)
    jobs.finish(job, "w", {"lacking": [], "basis": None, "file": None})  # as the bench says
    detail_of(idle.get(links["self"] + "/photo"), 404, "no-photo")
    detail_of(idle.get(links["self"] + "/certificate"), 404, "no-certificate")
    client = Client(HOME, http=idle)
    done = client.get(RemoteJob.of(made))
    assert done.state == "done"
    with pytest.raises(ServiceError, match="lacked no model, so there is no new photo"):
        client.save_photo(done, tmp_path / "new.png")
    with pytest.raises(ServiceError, match="so there is no new one"):
        client.save_certificate(done, tmp_path / "new.json")
    assert not list(tmp_path.glob("new.*"))


def test_health_and_figures(client, web, idle):
    end = time.monotonic() + 60
    while (health := web.get("/v1/health")).status_code == 503 and time.monotonic() < end:
        time.sleep(0.1)  # until the first worker is there
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert idle.get("/v1/health").status_code == idle.head("/v1/health").status_code == 503
    short = web.head("/v1/health")
    assert (short.status_code, short.content) == (200, b"")
    text = web.get("/metrics").text
    assert 'photovax_jobs{state="running"}' in text
    assert re.search(r'photovax_requests_total\{route="/v1/health",status="200"\} [1-9]', text)
    assert not re.search("[0-9a-f]{32}", text)


def test_every_answer_can_be_asked_for_its_headers_alone(idle, photo):
    there = post(idle, photo.read_bytes()).json()["links"]["self"]
    for path in (there, "/v1/limits", "/.well-known/jwks.json", "/metrics", "/", "/v1/nothing"):
        whole, short = idle.get(path), idle.head(path)
        assert (short.status_code, short.content) == (whole.status_code, b""), path
        assert short.headers["content-type"] == whole.headers["content-type"], path


def test_what_a_path_allows_is_told(idle):
    for method, path, status, allowed in (
        ("PUT", "/v1/immunizations", 405, "POST"),
        ("GET", "/v1/immunizations", 405, "POST"),
        ("OPTIONS", "/v1/immunizations", 405, "POST"),
        ("POST", "/v1/limits", 405, "GET, HEAD"),
        ("PATCH", f"/v1/checks/{'0' * 32}", 405, "DELETE, GET, HEAD"),
        ("GET", "/v1/nothing", 404, None),
    ):
        answer = idle.request(method, path)
        assert (answer.status_code, answer.headers.get("allow")) == (status, allowed), path
        assert answer.headers["content-type"] == "application/problem+json", path


def test_the_api_describes_itself(idle):
    document = idle.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/v1/immunizations", "/v1/renewals", "/v1/checks", "/v1/models"} <= set(
        document["paths"]
    )
    (key,) = idle.get("/.well-known/photovax-keys.json").json()["keys"]
    assert "d" not in key
    assert idle.get("/.well-known/jwks.json").json() == {"keys": [key]}
    assert idle.get("/docs").status_code == 404
