"""Requests for work: what is taken once, what is refused, what may be asked for."""

import concurrent.futures
import io
from types import SimpleNamespace

from PIL import Image
from starlette.testclient import TestClient

from photovax.service.app import build_app
from photovax.service.jobs.job import QueueFull
from photovax.service.jobs.table import Jobs
from tests.service.asking import HOME, LIMIT, claimed, detail_of, pictures_in, post, settings_in


def test_the_same_key_gives_the_same_job(idle, photo, tmp_path):
    content = photo.read_bytes()
    headers = {"Idempotency-Key": "k"}
    first = post(idle, content, headers=headers)
    assert first.status_code == 202
    assert first.headers["location"] == f"/v1/immunizations/{first.json()['id']}"
    again = post(idle, content, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    assert pictures_in(tmp_path) == [first.json()["id"]]
    clash = post(idle, content, headers=headers, data={"levels": "3"})
    detail_of(clash, 409, "clash")
    assert post(idle, content).json()["id"] != first.json()["id"]


def test_the_same_key_gives_the_same_edit_and_a_full_queue_copies_nothing(
    idle, photo, tmp_path, monkeypatch
):
    links = post(idle, photo.read_bytes()).json()["links"]
    jobs, job = claimed(tmp_path)
    with jobs.pictures.work(job) as (_, output):
        output.mkdir()
        for name in ("original.png", "photo.png"):
            (output / name).write_bytes(b"x")
    jobs.finish(job, "w", {"file": "photo.png"})
    url, headers = f"{links['self']}/edits", {"Idempotency-Key": "k"}
    first = idle.post(url, data={"prompt": "a"}, headers=headers)
    assert first.status_code == 202
    again = idle.post(url, data={"prompt": "a"}, headers=headers)
    assert again.json()["id"] == first.json()["id"]
    detail_of(idle.post(url, data={"prompt": "b"}, headers=headers), 409, "clash")
    kept = sorted(pictures_in(tmp_path))
    assert kept == sorted([job.id, first.json()["id"]])

    def copied(*_: object) -> None:
        raise AssertionError("copied before it was known whether there is room")

    monkeypatch.setattr("photovax.service.workers.intake.shutil.copyfileobj", copied)
    monkeypatch.setattr(Jobs, "check_room", full)
    detail_of(idle.post(url, data={"prompt": "c"}), 503, "queue-full")
    assert sorted(pictures_in(tmp_path)) == kept


def full(*_: object) -> None:
    raise QueueFull("many jobs are waiting")


def test_the_last_room_on_the_disk_is_not_for_uploads(idle, photo, tmp_path, monkeypatch):
    usage = SimpleNamespace(free=4 * 4 * 100_000 - 1)  # four of the largest pictures, less a byte
    monkeypatch.setattr("photovax.service.workers.intake.shutil.disk_usage", lambda _: usage)
    detail_of(post(idle, photo.read_bytes()), 507, "no-room")
    assert pictures_in(tmp_path) == []
    usage.free += 1
    assert post(idle, photo.read_bytes()).status_code == 202


def test_what_is_refused_leaves_nothing(idle, photo, tmp_path):
    good = photo.read_bytes()
    noise = io.BytesIO()
    Image.effect_noise((320, 330), 50).save(noise, "PNG")
    assert "cut short" in detail_of(post(idle, good[:900]), 422, "unreadable-photo")
    detail_of(post(idle, b"GIF89a"), 422, "unreadable-photo")
    assert "105,600 pixels" in detail_of(post(idle, noise.getvalue()), 413, "too-many-pixels")
    detail_of(post(idle, b"0" * (LIMIT + 1)), 413, "too-large")
    detail_of(post(idle, good, data={"recipe": "/etc/passwd"}), 422, "no-such-recipe")
    detail_of(post(idle, good, data={"levels": "33"}), 422, "wrong-request")
    detail_of(post(idle, good, data={"levels": "nan"}), 422, "wrong-request")
    detail_of(post(idle, good, data={"file_type": "../x"}), 422, "wrong-request")
    detail_of(idle.post("/v1/immunizations"), 422, "wrong-request")
    detail_of(idle.post("/v1/checks", files={"photo": ("x", good)}), 422, "wrong-request")
    detail_of(
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
    detail_of(idle.get("/v1/immunizations/" + "0" * 32), 404, "no-such-job")
    assert idle.get("/..%2f..%2fapp.py").status_code == 404
    assert pictures_in(tmp_path) == []


def test_what_would_be_ignored_is_refused(idle, photo, tmp_path):
    one, two = (("photo", (name, photo.read_bytes())) for name in ("a.jpg", "b.jpg"))
    twice = idle.post("/v1/immunizations", files=[one, two])
    assert "photo was sent twice" in detail_of(twice, 422, "wrong-request")
    words = idle.post("/v1/immunizations", files=[one], data={"visibility": ["low", "high"]})
    assert "visibility was sent twice" in detail_of(words, 422, "wrong-request")
    unknown = post(idle, photo.read_bytes(), data={"visiblity": "low"})
    said = detail_of(unknown, 422, "wrong-request")
    assert "'visiblity' is unknown" in said
    assert "visibility" in said
    both = idle.post("/v1/checks", files=[one, ("mask", ("m", b"x"))], data={"certificate": "x"})
    assert "photo, original, certificate" in detail_of(both, 422, "wrong-request")
    assert pictures_in(tmp_path) == []


def test_visibility_is_refused_where_it_bounds_nothing(idle, photo, tmp_path):
    content = photo.read_bytes()
    assert post(idle, content, data={"visibility": "low"}).status_code == 202
    wrong = detail_of(post(idle, content, data={"visibility": "lo"}), 422, "wrong-request")
    assert "(low|medium|high)" in wrong
    both = post(idle, content, data={"visibility": "low", "levels": "8"})
    assert "not both" in detail_of(both, 422, "wrong-request")
    named = post(idle, content, data={"visibility": "low", "recipe": "x"})
    detail_of(named, 422, "no-such-recipe")
    for options in ({"levels": 8.0, "total": 8.0}, {"recipe": "fast-linf"}):
        with TestClient(build_app(settings_in(tmp_path, **options)), base_url=HOME) as web:
            told = web.get("/v1/limits").json()
            assert (told["visibilities"], told["usual_visibility"]) == ([], None)
            assert told["usual_levels"] == 8
            said = detail_of(post(web, content, data={"visibility": "low"}), 422, "wrong-request")
            assert said.endswith("leave visibility out")
    also = settings_in(tmp_path, recipes=("fast-linf",))
    with TestClient(build_app(also), base_url=HOME) as web:
        asked = {"visibility": "low", "recipe": "fast-linf"}
        detail_of(post(web, content, data=asked), 422, "wrong-request")


def test_many_uploads_at_once_lose_none(idle, photo, tmp_path):
    content = photo.read_bytes()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: post(idle, content), range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == len(pictures_in(tmp_path)) == 8
