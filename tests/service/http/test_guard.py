"""What stands before the API: sizes, times, hosts, tokens, headers, and what is never said."""

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from photovax.client import Client
from photovax.errors import UsageError
from photovax.service.app import build_app
from photovax.service.http.tokens import Tokens
from photovax.service.jobs.job import Unreachable
from photovax.service.jobs.table import Jobs
from photovax.service.workers.supervisor import Supervisor
from tests.service.asking import HOME, detail_of, held_up, pictures_in, post, settings_in


def test_an_upload_without_a_length_is_cut_at_the_limit(idle, tmp_path):
    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\n'
        for _ in range(20):
            yield b"0" * 65536

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = idle.post("/v1/immunizations", content=chunks(), headers=headers)
    detail_of(answer, 413, "too-large")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert pictures_in(tmp_path) == []


def test_every_answer_has_strict_headers(idle):
    for url in ("/", "/v1/models", "/v1/nothing/x", "/nothing", "/metrics", "/device.html"):
        headers = idle.get(url).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        # The page that immunizes in the browser compiles WebAssembly; none evaluates scripts.
        assert ("wasm-unsafe-eval" in policy) == (url == "/device.html")
        assert "unsafe" not in policy.replace("wasm-unsafe-eval", "")
        assert headers["cross-origin-embedder-policy"] == "require-corp"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert idle.get("/v1/models").headers["cache-control"] == "no-store"
    assert idle.get("/page.js").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Host": "evil.example"}, 421, "wrong-host"),
        ({"Origin": "https://evil.example"}, 403, "cross-site"),
        ({"Origin": "null"}, 403, "cross-site"),
        ({"Origin": "http://["}, 403, "cross-site"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "cross-site"),
    ],
)
def test_other_sites_cannot_ask(idle, photo, headers, status, kind):
    detail_of(post(idle, photo.read_bytes(), headers=headers), status, kind)


def test_host_names_have_no_case_and_probes_come_by_address(tmp_path, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    settings = settings_in(tmp_path, hosts=("Photos.example.org",))
    with TestClient(build_app(settings), base_url=HOME) as web:
        for host in ("photos.example.org", "PHOTOS.example.org:443", "photos.example.org."):
            assert web.get("/v1/models", headers={"Host": host}).status_code == 200
        detail_of(web.get("/v1/models", headers={"Host": "10.0.0.7"}), 421, "wrong-host")
        assert web.get("/v1/health", headers={"Host": "10.0.0.7"}).json()["workers"] == 0


def test_a_root_path_is_removed_in_whole_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    for root in ("/v", "/m"):
        settings = settings_in(tmp_path / root[1:], root_path=root, tokens=True)
        Tokens(settings.token_file).add("ann")
        with TestClient(build_app(settings), base_url=HOME) as web:
            for path in ("/v1/models", "/metrics", f"{root}/v1/models"):
                detail_of(web.get(path), 401, "no-token")


def test_one_client_cannot_hold_everything_open(idle, photo, monkeypatch):
    monkeypatch.setattr("photovax.service.http.guard._REQUESTS", 1)
    monkeypatch.setattr("photovax.service.http.guard._UPLOADS_EACH", 1)
    begun, may_go = held_up(monkeypatch)
    with TestClient(build_app(idle.app.state.context.settings), base_url=HOME) as web:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, web, photo.read_bytes())
            try:
                assert begun.wait(60)
                answer = web.get("/v1/models")
                assert "1 requests are open" in detail_of(answer, 429, "too-many-requests")
                assert answer.headers["retry-after"] == "5"
                assert web.get("/v1/health").status_code == 503  # open to everyone
            finally:
                may_go.set()
            detail_of(first.result(), 422, "unreadable-photo")
        assert web.get("/v1/models").status_code == 200


def test_tokens_that_cannot_be_read_are_no_tokens(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    settings = settings_in(tmp_path, tokens=True)
    bearer = {"Authorization": f"Bearer {Tokens(settings.token_file).add('ann')}"}
    with TestClient(build_app(settings), base_url=HOME) as web:
        assert web.get("/v1/models", headers=bearer).status_code == 200
        settings.token_file.write_text('{"a": "ann",\n}')
        answer = web.get("/v1/models", headers=bearer)
        detail_of(answer, 503, "no-tokens")
        assert answer.headers["retry-after"] == "30"
    assert "tokens.json is not a file of tokens" in capfd.readouterr().err


def test_figures_are_told_while_the_database_is_away(idle, monkeypatch):
    def away(_: Jobs) -> None:
        raise Unreachable("away")

    monkeypatch.setattr(Jobs, "counts", away)
    told = idle.get("/metrics")
    assert told.status_code == 200
    assert "photovax_workers 0.0" in told.text
    assert "photovax_jobs" not in told.text


def test_pages_of_allowed_sites_can_ask(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    theirs = {"Origin": "https://news.example", "Sec-Fetch-Site": "cross-site"}
    settings = settings_in(tmp_path, origins=("https://news.example",), tokens=True)
    token = Tokens(settings.token_file).add("news")
    bearer = {"Authorization": f"Bearer {token}"}
    with TestClient(build_app(settings), base_url=HOME) as web:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        }
        first = web.options("/v1/immunizations", headers=theirs | asked)
        assert first.status_code == 200
        assert first.headers["access-control-allow-origin"] == "https://news.example"
        answer = post(web, photo.read_bytes(), headers=theirs | bearer)
        assert answer.status_code == 202
        assert answer.headers["access-control-allow-origin"] == "https://news.example"
        assert "Location" in answer.headers["access-control-expose-headers"]
        refused = post(web, photo.read_bytes(), headers=theirs)
        detail_of(refused, 401, "no-token")
        assert refused.headers["access-control-allow-origin"] == "https://news.example"
        other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        evil = post(web, photo.read_bytes(), headers=other | bearer)
        detail_of(evil, 403, "cross-site")
        assert "access-control-allow-origin" not in evil.headers
        assert web.options("/v1/immunizations", headers=other | asked).status_code == 400


@pytest.mark.parametrize("sent", ["", "/photos"], ids=["removed by the proxy", "kept"])
def test_a_proxy_may_have_it_under_a_path(tmp_path, photo, monkeypatch, sent):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    settings = settings_in(tmp_path, root_path="/photos", tokens=True)
    token = Tokens(settings.token_file).add("ann")
    bearer = {"Authorization": f"Bearer {token}"}
    with TestClient(build_app(settings), base_url=HOME) as web:
        page = web.get(f"{sent}/")
        assert 'src="page.js"' in page.text  # relative, as all addresses in it
        assert web.get(f"{sent}/page.js").status_code == 200
        detail_of(web.get(f"{sent}/v1/models"), 401, "no-token")
        files = {"photo": ("x.jpg", photo.read_bytes())}
        answer = web.post(f"{sent}/v1/immunizations", files=files, headers=bearer)
        links = answer.json()["links"]
        assert links["self"].startswith("/photos/v1/immunizations/")
        assert answer.headers["location"] == links["self"]
        there = links["self"].removeprefix("/photos" if not sent else "")
        known = web.get(there, headers=bearer)
        assert known.json()["state"] == "queued"
        assert known.headers["cache-control"] == "no-store"
        assert web.get(f"{sent}/v1/openapi.json").json()["servers"] == [{"url": "/photos"}]
    with TestClient(build_app(settings), base_url=f"{HOME}/photos") as web:
        client = Client(HOME, token=token, http=web)
        assert client.get(client.immunize(photo)).state == "queued"


def test_tokens_are_asked_for_and_keep_jobs_apart(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr("photovax.service.http.rates.time", clock)
    settings = settings_in(tmp_path, tokens=True, requests_per_minute=40)
    tokens = Tokens(settings.token_file)
    ann, bob = tokens.add("ann"), tokens.add("bob")
    with pytest.raises(UsageError, match="ann"):
        tokens.add("ann")
    assert ann not in settings.token_file.read_text()
    with TestClient(build_app(settings), base_url=HOME) as web:
        content = photo.read_bytes()
        refused = post(web, content)
        detail_of(refused, 401, "no-token")
        assert refused.headers["www-authenticate"] == "Bearer"
        detail_of(web.get("/metrics"), 401, "no-token")
        assert web.get("/").status_code == 200
        job = Client(HOME, token=ann, http=web).immunize(photo)
        theirs = {"Authorization": f"Bearer {bob}"}
        for part in ("", "/photo", "/certificate", "/original", "/flip", "/preview", "/events"):
            detail_of(web.get(job.links["self"] + part, headers=theirs), 404, "no-such-job")
        detail_of(web.delete(job.links["self"], headers=theirs), 404, "no-such-job")
        asked = {"prompt": "make it night"}
        edits = web.post(job.links["self"] + "/edits", headers=theirs, data=asked)
        detail_of(edits, 404, "no-such-job")
        assert Client(HOME, token=ann, http=web).get(job).state == "queued"
        Client(HOME, token=ann, http=web).delete(job)
        bearer = {"Authorization": f"Bearer {bob}"}
        statuses = [web.get("/v1/models", headers=bearer).status_code for _ in range(50)]
        assert statuses.count(200) >= 25
        limited = web.get("/v1/models", headers=bearer)
        detail_of(limited, 429, "too-many-requests")
        assert limited.headers["retry-after"] == "2"
        other = {"Authorization": f"Bearer {ann}"}
        assert web.get("/v1/models", headers=other).status_code == 200


@pytest.mark.parametrize(
    ("part", "whole", "pause"), [(0.1, 60.0, 60.0), (60.0, 0.2, 0.01)], ids=["still", "creeping"]
)
def test_uploads_that_do_not_come_are_ended(tmp_path, monkeypatch, part, whole, pause):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    monkeypatch.setattr("photovax.service.http.guard._PART_SECONDS", part)
    monkeypatch.setattr("photovax.service.http.guard._BODY_SECONDS", whole)
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\n'
    told = [head]
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=x")]
    path = "/v1/immunizations"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode()}
    scope |= {"headers": headers, "query_string": b"", "client": ("127.0.0.1", 1), "root_path": ""}
    sent: list[Any] = []
    parts = 0

    async def receive() -> dict[str, Any]:
        nonlocal parts
        parts += 1
        assert parts < 1000, "it takes whatever comes"
        if not told:
            await anyio.sleep(pause)
        return {"type": "http.request", "body": told.pop() if told else b"a", "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    app: Any = build_app(settings_in(tmp_path))
    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["type"] == "urn:photovax:problem:too-slow"
    assert pictures_in(tmp_path) == []


def test_what_nobody_thought_of_is_answered_and_logged_without_its_message(
    idle, monkeypatch, capfd
):
    prompt = secrets.token_hex(8)  # not in this source, of which lines are logged

    def broken(*_: object) -> None:
        raise RuntimeError(prompt)

    monkeypatch.setattr(Jobs, "get", broken)
    answer = idle.get("/v1/immunizations/" + "0" * 32)
    detail_of(answer, 500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert 'status="500"' in idle.get("/metrics").text
    said = capfd.readouterr().err
    assert "unexpected RuntimeError" in said
    assert prompt not in said
