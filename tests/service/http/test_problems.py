"""Failures of disk and database as problem documents."""

from starlette.testclient import TestClient

from photovax.service.app import build_app
from photovax.service.http.tokens import Tokens
from photovax.service.workers.supervisor import Supervisor
from tests.service.asking import HOME, detail_of, pictures_in, post, settings_in


def test_a_full_queue_and_a_full_disk_turn_requests_away(tmp_path, photo, monkeypatch):
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    content = photo.read_bytes()
    with TestClient(build_app(settings_in(tmp_path, queue=1)), base_url=HOME) as web:
        assert post(web, content).status_code == 202
        full = post(web, content)
        detail_of(full, 503, "queue-full")
        assert full.headers["retry-after"] == "30"
    settings = settings_in(tmp_path, queue=3, queue_each=1, tokens=True)
    ann, bob = (
        {"Authorization": f"Bearer {Tokens(settings.token_file).add(name)}"}
        for name in ("ann", "bob")
    )
    with TestClient(build_app(settings), base_url=HOME) as web:
        assert post(web, content, headers=ann).status_code == 202
        assert "1 of your jobs" in detail_of(post(web, content, headers=ann), 503, "queue-full")
        assert post(web, content, headers=bob).status_code == 202
    assert len(pictures_in(tmp_path)) == 3

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("photovax.service.workers.intake.decoded", no_space)
    with TestClient(build_app(settings_in(tmp_path)), base_url=HOME) as web:
        detail_of(post(web, content), 507, "no-room")
    assert len(pictures_in(tmp_path)) == 3


def test_a_table_out_of_reach_is_said_as_such(idle, tmp_path):
    for file in (tmp_path / "data").glob("jobs.sqlite*"):
        file.write_bytes(b"no database" * 1000)
    answer = idle.get("/v1/immunizations/" + "0" * 32)
    assert "out of reach" in detail_of(answer, 503, "unreachable")
    assert answer.headers["retry-after"] == "30"
