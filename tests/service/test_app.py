"""The service: its API, what it refuses, what it forgets, and what it never says."""

import concurrent.futures
import io
import json
import os
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import load_recipe
from photovax.certificates.container import holds_manifest
from photovax.certificates.credential import self_made
from photovax.certificates.document import parse_certificate
from photovax.certificates.keys import read_keys
from photovax.certificates.verification import Seen, verify
from photovax.cli import app
from photovax.client import Client, RemoteJob, ServiceError
from photovax.demo import SAMPLE
from photovax.errors import CertificateError, UnreadablePhoto, UsageError
from photovax.metrics.visibility import flip_picture
from photovax.pictures.photo import read_photo
from photovax.service.app import build_app
from photovax.service.http.rates import Rates
from photovax.service.http.tokens import Tokens
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.supervisor import Supervisor
from photovax.service.workers.worker import _work
from tests.mutated import mutated
from tests.places import ROOT, SHARED
from tests.serving import free_port, recipe_file, serve, wait_until_up

CASES = SHARED / "cases/make_cases.py"
HOME = "http://127.0.0.1"
LIMIT = 400_000
FLIP = find_spec("flip_evaluator") is not None
MUTATED = int(os.environ.get("PHOTOVAX_MUTATED", "8"))  # each takes a third of a second


def _settings(folder: Path, **options: Any) -> Settings:
    options = {
        "recipe": str(recipe_file(folder)),
        "device": "cpu",
        "total": 16.0,
        "max_bytes": LIMIT,
        "max_pixels": 100_000,
        **options,
    }
    return Settings(folder / "data", **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[TestClient]:
    """The service with a worker."""
    with TestClient(build_app(_settings(folder)), base_url=HOME) as client:
        yield client


@pytest.fixture(scope="module")
def client(web: TestClient) -> Client:
    return Client(HOME, http=web)


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The service without a worker, so that nothing moves."""
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    with TestClient(build_app(_settings(tmp_path)), base_url=HOME) as client:
        yield client


@pytest.fixture(scope="module")
def photo(folder: Path) -> Path:
    Image.open(SAMPLE).crop((150, 20, 246, 100)).save(folder / "aunt-mabel.jpg", quality=92)
    return folder / "aunt-mabel.jpg"


def _post(web: TestClient, content: bytes, **options: Any) -> Any:
    files = {"photo": ("x.jpg", content)}
    return web.post("/v1/immunizations", files=files, **options)


def _pictures(folder: Path) -> list[str]:
    return [path.name for path in (folder / "data/pictures").iterdir()]


def _problem(answer: Any, status: int, kind: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:photovax:problem:{kind}"
    assert body["status"] == status
    return str(body["detail"])


def test_a_photo_goes_in_and_comes_out_certified(client, photo, folder, tmp_path):
    seen: list[str] = []
    queued = client.immunize(photo, file_type="webp")
    job = client.wait(queued, callback=lambda state: seen.append(state.state))
    assert seen[-1] == "done"
    assert (job.done, job.steps) == (4, 4)
    client.save_photo(job, tmp_path / "photo.webp")
    client.save_certificate(job, tmp_path / "c.json")
    made, given = read_photo(tmp_path / "photo.webp"), read_photo(photo)
    change = np.abs(made.pixels.astype(int) - given.pixels).max()
    assert job.result["visible"]["linf"] == change <= 16
    assert (job.result["visible"]["jod_fhd"] is None) is (job.result["seen"] is None)
    held = verify(
        (tmp_path / "c.json").read_text(),
        read_keys(folder / "data/keys"),
        photo=Seen.of(tmp_path / "photo.webp", made),
    )
    assert held.valid
    assert held.certificate.budget.total == 16
    assert held.certificate.visible == pytest.approx(job.result["visible"], abs=1e-4)
    original = Image.open(io.BytesIO(client.picture(job, "original")))
    assert (np.asarray(original) == given.pixels).all()
    assert job.result["flip"] is ("flip" in job.links) is FLIP
    if FLIP:
        where = Image.open(io.BytesIO(client.picture(job, "flip")))
        assert np.array_equal(np.asarray(where), flip_picture(given.pixels, made.pixels))

    checked = client.wait(
        client.check(tmp_path / "photo.webp", original=photo, certificate=tmp_path / "c.json")
    )
    assert checked.result["visible"] == job.result["visible"]
    assert checked.result["seen"] == job.result["seen"]
    says = {
        "valid": True,
        "reasons": [],
        "photo": "same file",
        "lacking": [],
        "budget": {"norm": "linf", "unit": "levels", "total": 16, "used": change},
        "models": job.result["models"],
    }
    assert checked.result["certificate"] == says
    unheld = client.wait(client.check(tmp_path / "photo.webp", certificate=tmp_path / "c.json"))
    assert unheld.result == {"certificate": says}
    alone = client.wait(client.check(tmp_path / "photo.webp", original=photo))
    assert alone.result["models"] == checked.result["models"]
    assert "certificate" not in alone.result
    # Signed with a C2PA manifest after it was certified, it is the same photo still.
    data = (tmp_path / "photo.webp").read_bytes()
    size, manifest = struct.pack("<I", len(data) + 4), b"C2PA\4\0\0\0jumb"
    (tmp_path / "signed.webp").write_bytes(data[:4] + size + data[8:] + manifest)
    renewed = client.wait(client.renew(tmp_path / "signed.webp", tmp_path / "c.json"))
    assert renewed.result == {"lacking": [], "basis": None, "file": None}

    edited = client.wait(client.edit(job, "make it night"))
    first, second = (
        Image.open(io.BytesIO(client.picture(edited, which))) for which in ("original", "immunized")
    )
    assert first.size == second.size == (80, 64)
    client.delete(job)
    assert not {job.id, edited.id} & set(_pictures(folder))
    with pytest.raises(ServiceError) as caught:
        client.picture(job)
    assert (caught.value.status, caught.value.kind) == (409, "not-done")
    if FLIP:
        with pytest.raises(ServiceError, match="the job is cancelled"):
            client.picture(job, "flip")


def test_a_renewal_covers_a_new_model_within_the_total(
    client, web, photo, folder, tmp_path, editor_folder
):
    from photovax.certificates.register import Register, registered

    job = client.wait(client.immunize(photo, levels=8))
    client.save_photo(job, tmp_path / "photo.png")
    client.save_certificate(job, tmp_path / "c.json")
    register = Register(folder / "data/register.json")
    register.add(registered(str(editor_folder), name="newer", version="1"))
    try:
        assert [model.name for model in client.models()] == ["embedded", "newer"]
        for original in (photo, None):
            done = client.wait(
                client.renew(tmp_path / "photo.png", tmp_path / "c.json", original=original)
            )
            assert [gap["name"] for gap in done.result["lacking"]] == ["newer"]
            made = Image.open(io.BytesIO(client.picture(done)))
            change = np.abs(np.asarray(made).astype(int) - read_photo(photo).pixels).max()
            text = web.get(done.links["certificate"]).text
            says = parse_certificate(text)[0]
            assert change <= says.budget.used <= says.budget.total == 16
            assert says.renews is not None
            client.delete(done)
    finally:
        from photovax.certificates.register import today

        register.end("newer", "1", today().replace(year=2000))


def test_a_renewal_without_room_says_what_lacks(photo, tmp_path, editor_folder):
    from photovax.certificates.register import Register, registered

    settings = _settings(tmp_path, levels=8, total=None)
    with TestClient(build_app(settings), base_url=HOME) as web:
        client = Client(HOME, http=web)
        job = client.wait(client.immunize(photo))
        client.save_photo(job, tmp_path / "photo.png")
        client.save_certificate(job, tmp_path / "c.json")
        Register(settings.register).add(registered(str(editor_folder), name="newer", version="1"))
        with pytest.raises(ServiceError, match=r"not covered: newer 1\. 8 of 8 levels are used"):
            client.wait(client.renew(tmp_path / "photo.png", tmp_path / "c.json"))


def test_a_photo_says_that_ai_is_forbidden_where_that_was_asked(client, photo, tmp_path):
    for asked in (False, True):
        job = client.wait(client.immunize(photo, forbid_ai=asked))
        client.save_photo(job, tmp_path / f"{asked}.png")
        xmp = read_photo(tmp_path / f"{asked}.png").metadata.xmp or b""
        assert (b"DMI-PROHIBITED" in xmp) is asked


def test_a_check_says_nothing_of_a_certificate_that_does_not_hold(client, photo, tmp_path):
    job = client.wait(client.immunize(photo))
    client.save_certificate(job, tmp_path / "c.json")
    forged = json.loads((tmp_path / "c.json").read_text())
    forged["budget"]["used"] = 1
    (tmp_path / "c.json").write_text(json.dumps(forged))
    found = client.wait(client.check(photo, certificate=tmp_path / "c.json")).result
    assert not found["certificate"]["valid"]
    assert "models" not in found["certificate"]


def test_bad_certificates_fail_the_job_with_the_reason(client, photo, tmp_path):
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ServiceError, match="not signed with Ed25519") as caught:
        client.wait(client.renew(photo, tmp_path / "c.json"))
    assert caught.value.kind == "certificate-error"


def test_a_job_that_cannot_be_done_says_why_and_leaves_nothing(client, photo, folder, tmp_path):
    Image.new("L", (5, 5)).save(tmp_path / "mask.png")
    with pytest.raises(ServiceError, match="the mask is 5 x 5 pixels, the photo 96 x 80"):
        client.wait(client.immunize(photo, mask=tmp_path / "mask.png"))


def test_the_same_key_gives_the_same_job(idle, photo, tmp_path):
    content = photo.read_bytes()
    headers = {"Idempotency-Key": "k"}
    first = _post(idle, content, headers=headers)
    assert first.status_code == 202
    assert first.headers["location"] == f"/v1/immunizations/{first.json()['id']}"
    again = _post(idle, content, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    assert _pictures(tmp_path) == [first.json()["id"]]
    clash = _post(idle, content, headers=headers, data={"levels": "3"})
    _problem(clash, 409, "clash")
    assert _post(idle, content).json()["id"] != first.json()["id"]


def test_what_is_refused_leaves_nothing(idle, photo, tmp_path):
    good = photo.read_bytes()
    noise = io.BytesIO()
    Image.effect_noise((320, 330), 50).save(noise, "PNG")
    assert "cut short" in _problem(_post(idle, good[:900]), 422, "unreadable-photo")
    _problem(_post(idle, b"GIF89a"), 422, "unreadable-photo")
    assert "105,600 pixels" in _problem(_post(idle, noise.getvalue()), 413, "too-many-pixels")
    _problem(_post(idle, b"0" * (LIMIT + 1)), 413, "too-large")
    _problem(_post(idle, good, data={"recipe": "/etc/passwd"}), 422, "no-such-recipe")
    _problem(_post(idle, good, data={"levels": "17"}), 422, "wrong-request")
    _problem(_post(idle, good, data={"levels": "nan"}), 422, "wrong-request")
    _problem(_post(idle, good, data={"format": "../x"}), 422, "wrong-request")
    _problem(idle.post("/v1/immunizations"), 422, "wrong-request")
    _problem(idle.post("/v1/checks", files={"photo": ("x", good)}), 422, "wrong-request")
    _problem(
        idle.post(
            "/v1/immunizations",
            content=b"x",
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        ),
        400,
        "bad-request",
    )
    for url in ("/v1/immunizations/..%2f..%2fkeys", "/v1/immunizations/" + "0" * 31, "/v1/x/y"):
        assert idle.get(url).status_code in (404, 422)
    _problem(idle.get("/v1/immunizations/" + "0" * 32), 404, "no-such-job")
    assert idle.get("/..%2f..%2fapp.py").status_code == 404
    assert _pictures(tmp_path) == []


def test_an_upload_without_a_length_is_cut_at_the_limit(idle, tmp_path):
    def chunks() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\n'
        for _ in range(20):
            yield b"0" * 65536

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = idle.post("/v1/immunizations", content=chunks(), headers=headers)
    _problem(answer, 413, "too-large")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert _pictures(tmp_path) == []


def test_every_answer_has_strict_headers(idle):
    for url in ("/", "/v1/models", "/v1/nothing/x", "/nothing", "/metrics"):
        headers = idle.get(url).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert idle.get("/v1/models").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Host": "evil.example"}, 421, "wrong-host"),
        ({"Origin": "https://evil.example"}, 403, "cross-site"),
        ({"Origin": "null"}, 403, "cross-site"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "cross-site"),
    ],
)
def test_other_sites_cannot_ask(idle, photo, headers, status, kind):
    _problem(_post(idle, photo.read_bytes(), headers=headers), status, kind)


def test_tokens_are_asked_for_and_keep_jobs_apart(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    settings = _settings(tmp_path, tokens=True, requests_per_minute=40)
    tokens = Tokens(settings.token_file)
    ann, bob = tokens.add("ann"), tokens.add("bob")
    with pytest.raises(UsageError, match="already"):
        tokens.add("ann")
    assert ann not in settings.token_file.read_text()
    with TestClient(build_app(settings), base_url=HOME) as web:
        content = photo.read_bytes()
        refused = _post(web, content)
        _problem(refused, 401, "no-token")
        assert refused.headers["www-authenticate"] == "Bearer"
        _problem(web.get("/metrics"), 401, "no-token")
        assert web.get("/").status_code == 200
        job = Client(HOME, token=ann, http=web).immunize(photo)
        theirs = {"Authorization": f"Bearer {bob}"}
        for part in ("", "/photo", "/certificate", "/original", "/flip", "/events"):
            _problem(web.get(job.links["self"] + part, headers=theirs), 404, "no-such-job")
        _problem(web.delete(job.links["self"], headers=theirs), 404, "no-such-job")
        asked = {"prompt": "make it night"}
        edits = web.post(job.links["self"] + "/edits", headers=theirs, data=asked)
        _problem(edits, 404, "no-such-job")
        assert Client(HOME, token=ann, http=web).get(job).state == "queued"
        Client(HOME, token=ann, http=web).delete(job)
        bearer = {"Authorization": f"Bearer {bob}"}
        statuses = [web.get("/v1/models", headers=bearer).status_code for _ in range(50)]
        assert statuses.count(200) >= 25
        limited = web.get("/v1/models", headers=bearer)
        _problem(limited, 429, "too-many-requests")
        assert 1 <= int(limited.headers["retry-after"]) <= 3
        other = {"Authorization": f"Bearer {ann}"}
        assert web.get("/v1/models", headers=other).status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0", "--name", "a.example"], "clients need tokens"),  # noqa: S104
        (["--tokens"], "clients need tokens"),
        (["--host", "0.0.0.0"], "under which host name"),  # noqa: S104
    ],
)
def test_it_is_not_exposed_without_tokens(tmp_path, options, message):
    if "name" in message:
        made = CliRunner().invoke(app, ["serve", "--new-token", "ann", "--data", str(tmp_path)])
        assert Tokens(tmp_path / "tokens.json").owner(made.stdout.strip())
    refused = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(refused.exception, UsageError)
    assert message in str(refused.exception)


def test_mutated_pictures_never_break_it(idle, tmp_path):
    for content in mutated(MUTATED):
        answer = _post(idle, content)
        assert answer.status_code in (202, 413, 422), answer.text
        if answer.status_code == 202:
            assert idle.delete(answer.json()["links"]["self"]).status_code == 204
    assert idle.get("/v1/models").status_code == 200
    assert _pictures(tmp_path) == []


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_pictures_never_break_the_decoder(count):
    command = [sys.executable, "-m", "tests.mutated", str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)["ends"]
    assert sum(ends.values()) == count
    assert {"accepted", "UnreadablePhoto", "TooManyPixels"} <= set(ends)


def test_rates_fill_again(monkeypatch):
    now = 100.0
    monkeypatch.setattr("photovax.service.http.tokens.time.monotonic", lambda: now)
    rates = Rates(60)
    assert [rates.wait("a") for _ in range(61)] == [*[0.0] * 60, 1.0]
    assert rates.wait("b") == 0
    now += 1
    assert rates.wait("a") == 0
    assert rates.wait("a") > 0


def test_a_full_queue_and_a_full_disk_turn_requests_away(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    content = photo.read_bytes()
    with TestClient(build_app(_settings(tmp_path, queue=1)), base_url=HOME) as web:
        assert _post(web, content).status_code == 202
        full = _post(web, content)
        _problem(full, 503, "queue-full")
        assert full.headers["retry-after"] == "30"
    settings = _settings(tmp_path, queue=3, queue_each=1, tokens=True)
    ann, bob = (
        {"Authorization": f"Bearer {Tokens(settings.token_file).add(name)}"}
        for name in ("ann", "bob")
    )
    with TestClient(build_app(settings), base_url=HOME) as web:
        assert _post(web, content, headers=ann).status_code == 202
        assert "jobs of yours that wait already: 1" in _problem(
            _post(web, content, headers=ann), 503, "queue-full"
        )
        assert _post(web, content, headers=bob).status_code == 202
    assert len(_pictures(tmp_path)) == 3

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("photovax.service.workers.intake.decoded", no_space)
    with TestClient(build_app(_settings(tmp_path)), base_url=HOME) as web:
        _problem(_post(web, content), 507, "no-room")
    assert len(_pictures(tmp_path)) == 3


def test_uploads_that_fill_the_disk_are_turned_away(tmp_path, photo):
    port = free_port()
    settings = _settings(tmp_path)
    # No file of the service may grow beyond this: an upload meets it as it does a full disk.
    service = serve(port, settings.data, Path(settings.recipe), first="ulimit -S -f 2000")
    try:
        url = wait_until_up(port)
        files = {"photo": ("x.jpg", photo.read_bytes() + bytes(3_000_000))}
        _problem(httpx2.post(f"{url}/v1/immunizations", files=files), 507, "no-room")
        assert _pictures(tmp_path) == []
        with Client(url) as client:
            assert client.immunize(photo).state == "queued"
    finally:
        service.terminate()
        service.wait()


def test_a_client_waits_past_broken_connections(monkeypatch):
    monkeypatch.setattr("photovax.client._AGAIN", 0.01)
    monkeypatch.setattr("photovax.client._PATIENCE", 0.05)
    view = {
        "id": "1",
        "kind": "checks",
        "done": 0,
        "steps": 0,
        "seconds_left": None,
        "created": "",
        "expires": None,
        "result": None,
        "error": None,
        "links": {"self": "/job", "events": "/events"},
    }
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if len(asked) in (2, 3):
            raise httpx2.ConnectError("away")
        state = "done" if len(asked) > 5 else "running"
        job = json.dumps({**view, "state": state})
        return httpx2.Response(200, text=job if request.url.path == "/job" else f"data: {job}\n\n")

    job = RemoteJob.of({**view, "state": "queued"})
    http = httpx2.Client(base_url=HOME, transport=httpx2.MockTransport(answer))
    assert Client(HOME, http=http).wait(job).state == "done"
    # The first stream ends early, then the service is away twice.
    assert asked == ["/events", "/job", "/events", "/events", "/job", "/events", "/job"]

    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("away")

    http = httpx2.Client(base_url=HOME, transport=httpx2.MockTransport(away))
    with pytest.raises(ServiceError, match="cannot be reached: away"):
        Client(HOME, http=http).wait(job)


def test_what_may_be_asked_for_is_told(idle, photo, tmp_path):
    told = idle.get("/v1/limits").json()
    assert told == {
        "levels": 16.0,
        "usual_levels": 16.0,
        "visibilities": list(VISIBILITY),
        "usual_visibility": "medium",
        "recipes": ["quick"],
        "bytes": LIMIT,
        "pixels": 100_000,
    }
    content = photo.read_bytes()
    _problem(_post(idle, content, data={"levels": "17"}), 422, "wrong-request")
    length = {"budget": {"name": "l2", "options": {"radius": 8}}}
    recipe = recipe_file(tmp_path, "length", **length)
    settings = _settings(tmp_path, recipe=str(recipe), total=None)
    with TestClient(build_app(settings), base_url=HOME) as web:
        told = web.get("/v1/limits").json()
        assert told["levels"] is told["usual_levels"] is told["usual_visibility"] is None
        assert told["visibilities"] == []
        said = _problem(_post(web, content, data={"levels": "8"}), 422, "wrong-request")
        assert "no largest change" in said


def test_how_much_may_be_seen_is_asked_for(client, web, folder, photo):
    usual = load_recipe(str(folder / "quick.json"))
    for visibility in (None, *VISIBILITY):
        job = client.wait(client.immunize(photo, visibility=visibility))
        says = parse_certificate(web.get(job.links["certificate"]).text)[0]
        assert says.recipe == usual.with_visibility(visibility or "medium").digest()
        assert says.budget.used == job.result["visible"]["linf"] <= says.budget.total == 16


def test_visibility_is_refused_where_it_bounds_nothing(idle, photo, tmp_path):
    content = photo.read_bytes()
    assert _post(idle, content, data={"visibility": "low"}).status_code == 202
    wrong = _problem(_post(idle, content, data={"visibility": "lo"}), 422, "wrong-request")
    assert "(low|medium|high)" in wrong
    both = _post(idle, content, data={"visibility": "low", "levels": "8"})
    assert "not both" in _problem(both, 422, "wrong-request")
    named = _post(idle, content, data={"visibility": "low", "recipe": "x"})
    _problem(named, 422, "no-such-recipe")
    for options in ({"levels": 8.0, "total": 8.0}, {"recipe": "fast-linf"}):
        with TestClient(build_app(_settings(tmp_path, **options)), base_url=HOME) as web:
            told = web.get("/v1/limits").json()
            assert (told["visibilities"], told["usual_visibility"]) == ([], None)
            assert told["usual_levels"] == 8
            said = _problem(_post(web, content, data={"visibility": "low"}), 422, "wrong-request")
            assert said.endswith("leave visibility out")
    also = _settings(tmp_path, recipes=("fast-linf",))
    with TestClient(build_app(also), base_url=HOME) as web:
        asked = {"visibility": "low", "recipe": "fast-linf"}
        _problem(_post(web, content, data=asked), 422, "wrong-request")


def test_a_provider_sets_the_usual_visibility(idle, photo, tmp_path):
    settings = _settings(tmp_path, visibility="low", recipes=("fast-linf",))
    with TestClient(build_app(settings), base_url=HOME) as web:
        told = web.get("/v1/limits").json()
        assert (told["visibilities"], told["usual_visibility"]) == (list(VISIBILITY), "low")
    usual, linf = (load_recipe(name) for name in ("fast", "fast-linf"))
    assert settings.strength(usual) == usual.with_visibility("low")
    assert settings.strength(linf) == linf
    for options, match in (
        (["--visibility", "low", "--budget", "8"], "exclude each other"),
        (["--visibility", "lo"], "did you mean 'low'"),
        (["--visibility", "low", "--recipe", "fast-linf"], "leave out --visibility"),
    ):
        done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "other"), *options])
        assert isinstance(done.exception, UsageError)
        assert match in str(done.exception)


def test_a_total_below_the_budget_is_refused_at_the_start(tmp_path):
    with pytest.raises(
        UsageError, match="a total of 4 is less than the 16 that photos are changed"
    ):
        build_app(_settings(tmp_path, total=4))


def test_a_job_that_finds_no_room_says_so(tmp_path, photo):
    settings = _settings(tmp_path)
    jobs = Jobs(settings.jobs, settings.pictures)
    jobs.add("0" * 32, "checks", {}, request="x")
    jobs.folder("0" * 32).mkdir()

    class Full:
        def do(self, *_: object) -> None:
            raise OSError(28, "No space left on device")

    taken = jobs.claim("w", 30, attempts=1)
    assert taken is not None
    assert _work(Full(), jobs, taken, "w", 30) == "failed, OSError"
    ended = jobs.get("0" * 32)
    assert ended is not None
    assert (ended.error or {})["kind"] == "no-room"
    assert _pictures(tmp_path) == []
    jobs.close()


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

    app: Any = build_app(_settings(tmp_path))
    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["type"] == "urn:photovax:problem:too-slow"
    assert _pictures(tmp_path) == []


def test_what_nobody_thought_of_is_answered_and_logged_without_its_message(
    idle, monkeypatch, capfd
):
    prompt = secrets.token_hex(8)  # not in this source, of which lines are logged

    def broken(*_: object) -> None:
        raise RuntimeError(prompt)

    monkeypatch.setattr(Jobs, "get", broken)
    answer = idle.get("/v1/immunizations/" + "0" * 32)
    _problem(answer, 500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "500" in idle.get("/metrics").text
    said = capfd.readouterr().err
    assert "unforeseen RuntimeError" in said
    assert prompt not in said


def test_a_table_out_of_reach_is_said_as_such(idle, tmp_path):
    for file in (tmp_path / "data").glob("jobs.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    answer = idle.get("/v1/immunizations/" + "0" * 32)
    assert "out of reach" in _problem(answer, 503, "unreachable")
    assert answer.headers["retry-after"] == "30"


def test_a_provider_that_signs_puts_the_certificate_into_the_photo(photo, tmp_path):
    pytest.importorskip("c2pa", reason="needs pip install 'photovax[c2pa]'")
    from photovax.certificates.manifest import embedded_certificate

    made = self_made()
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    key.write_bytes(made.key)
    chain.write_bytes(made.chain)
    settings = _settings(tmp_path, sign_key=key, sign_chain=chain)
    with TestClient(build_app(settings), base_url=HOME) as web:
        client = Client(HOME, http=web)
        for kind in ("png", "jpg"):
            job = client.wait(client.immunize(photo, file_type=kind))
            file = tmp_path / f"photo.{kind}"
            client.save_photo(job, file)
            client.save_certificate(job, tmp_path / f"{kind}.json")
            assert job.result is not None
            assert job.result["signed"] is holds_manifest(file) is (kind == "png")
            text = (tmp_path / f"{kind}.json").read_text()
            public = read_keys(tmp_path / "data/keys")
            assert verify(text, public, photo=Seen.of(file, read_photo(file))).valid
    inside = embedded_certificate(tmp_path / "photo.png")
    assert json.loads(inside) == json.loads((tmp_path / "png.json").read_text())


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (["--sign-key", "key.pem"], UsageError, "--sign-key and --sign-chain go together"),
        (["--sign-key", "no.pem", "--sign-chain", "no.pem"], CertificateError, "no.pem: not a"),
    ],
)
def test_what_a_provider_signs_with_is_looked_at_before_the_first_photo(
    options, error, match, tmp_path
):
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(done.exception, error)
    assert match in str(done.exception)


def test_health_and_figures(client, web, idle):
    end = time.monotonic() + 60
    while (health := web.get("/v1/health")).status_code == 503 and time.monotonic() < end:
        time.sleep(0.1)  # until the first worker is there
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert idle.get("/v1/health").status_code == 503
    text = web.get("/metrics").text
    assert 'photovax_jobs{state="running"}' in text
    assert re.search(r'photovax_requests_total\{route="/v1/health",status="200"\} [1-9]', text)
    assert not re.search("[0-9a-f]{32}", text)


def test_the_api_describes_itself(idle):
    document = idle.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/v1/immunizations", "/v1/renewals", "/v1/checks", "/v1/models"} <= set(
        document["paths"]
    )
    (key,) = idle.get("/.well-known/photovax-keys.json").json()["keys"]
    assert "d" not in key
    assert idle.get("/docs").status_code == 404


def test_the_service_itself_loads_no_models():
    code = (
        "import sys, photovax.service.app, photovax.client\n"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_the_page_asks_for_nothing_from_elsewhere(idle):
    page = idle.get("/").text
    for name in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert not name.startswith(("http:", "https:", "//", "data:"))
        assert idle.get("/" + name.lstrip("/")).status_code == 200
    assert "<script>" not in page
    assert "style=" not in page
    assert " onclick=" not in page


def test_what_has_expired_says_so(idle, photo, tmp_path):
    links = _post(idle, photo.read_bytes()).json()["links"]
    _problem(idle.get(links["self"] + "/photo"), 409, "not-done")
    jobs = Jobs(tmp_path / "data/jobs.sqlite", tmp_path / "data/pictures")
    job = jobs.claim("w", 60, attempts=1)
    assert job is not None
    jobs.finish(job, "w", {"file": "photo.png", "flip": False})
    assert "flip" not in idle.get(links["self"]).json()["links"]
    _problem(idle.get(links["self"] + "/flip"), 404, "no-map")
    # Deleted between the look into the table and the opening of the file.
    _problem(idle.get(links["self"] + "/photo"), 410, "expired")
    jobs.expire(0)
    _problem(idle.get(links["self"]), 410, "expired")
    _problem(idle.get(links["self"] + "/flip"), 410, "expired")
    assert _pictures(tmp_path) == []


def test_many_uploads_at_once_lose_none(idle, photo, tmp_path):
    content = photo.read_bytes()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _post(idle, content), range(12)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == len(_pictures(tmp_path)) == 12


def test_uploads_that_wait_hold_up_nothing_else(idle, photo, monkeypatch):
    begun, may_go, content = threading.Event(), threading.Event(), photo.read_bytes()

    def slow(*_: object) -> None:
        begun.set()
        assert may_go.wait(120)
        raise UnreadablePhoto("waited")

    monkeypatch.setattr("photovax.service.workers.intake.decoded", slow)
    with concurrent.futures.ThreadPoolExecutor(61) as pool:
        waiting = [pool.submit(_post, idle, content) for _ in range(60)]
        try:
            assert begun.wait(30)
            for _ in range(50):  # the others come in meanwhile
                answer = pool.submit(idle.get, "/v1/models").result(timeout=30)
                assert answer.status_code == 200
        finally:
            may_go.set()
        assert {each.result().status_code for each in waiting} == {422}


def test_the_files_people_feed_such_tools_never_break_it(idle, tmp_path, tmp_path_factory):
    if not CASES.exists():
        pytest.skip(f"needs {CASES} (set PHOTOVAX_SHARED)")
    cases = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, CASES, cases], check=True, capture_output=True)  # noqa: S603
    tried = 0
    for case in json.loads((cases / "manifest.json").read_text("utf-8")):
        file = cases / case["file"]
        if case["expect"] == "error" and file.is_file():
            answer = _post(idle, file.read_bytes())
            assert answer.status_code in (413, 422), (case, answer.text)
            assert str(tmp_path) not in answer.text
            tried += 1
    assert tried > 3
    assert _pictures(tmp_path) == []


def test_served_for_real_it_survives_a_kill_and_logs_nothing_private(tmp_path, photo):
    port, settings, log = free_port(), _settings(tmp_path), tmp_path / "log"
    slow = recipe_file(tmp_path, "slow", steps=80)

    def start(keep: int = 3600) -> subprocess.Popen[bytes]:
        options = ("--also", str(slow), "--keep", str(keep))
        with log.open("ab") as out:
            return serve(port, settings.data, Path(settings.recipe), *options, log=out)

    service = start()
    try:
        with Client(wait_until_up(port)) as client:
            job = client.immunize(photo, recipe="slow")
            for state in client.follow(job):
                if state.done:
                    break
            os.kill(service.pid, signal.SIGKILL)
            service.wait()
            service = start()
            wait_until_up(port)
            done = client.wait(job)
            made = Image.open(io.BytesIO(client.picture(done)))
            assert made.size == (96, 80)
            assert client.wait(client.edit(done, "a very private prompt")).state == "done"
            named = {"photo": ("aunt-mabel.jpg", photo.read_bytes())}
            url = f"http://127.0.0.1:{port}/v1/checks"
            refused = httpx2.post(url, files=named, data={"certificate": "aunt-mabel"})
            with pytest.raises(ServiceError, match="certificate"):
                client.wait(RemoteJob.of(refused.json()))
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(
                    b"POST /v1/immunizations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9999\r\n\r\n"
                    b'--x\r\nContent-Disposition: form-data; name="photo"; filename="x"\r\n\r\nhalf'
                )
            assert client.models()
            assert job.id in _pictures(tmp_path)
            service.send_signal(signal.SIGTERM)
            assert service.wait(20) in (0, -signal.SIGTERM)
            service = start(keep=1)
            wait_until_up(port)
            end = time.monotonic() + 60
            while _pictures(tmp_path):
                assert time.monotonic() < end
                time.sleep(0.1)
    finally:
        service.kill()
        service.wait()
    said = log.read_text()
    assert said.count("immunizations attempt 2: done") == 1
    assert said.count("immunizations") == 1
    assert "checks attempt 1: failed, certificate-error" in said
    assert "aunt-mabel" not in said
    assert "private" not in said
    assert job.id not in said
