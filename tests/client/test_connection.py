"""The client of a service: it waits past broken connections, and not for ever."""

import json
from collections.abc import Callable
from functools import partial

import httpx2
import pytest

from photovax.client import Client, RemoteJob, ServiceError
from photovax.errors import OutputExists

HOME = "http://127.0.0.1"
VIEW = {
    "id": "1",
    "kind": "checks",
    "state": "queued",
    "done": 0,
    "steps": 0,
    "seconds_left": None,
    "created": "",
    "expires": None,
    "result": None,
    "error": None,
    "links": {"self": "/job", "events": "/events"},
}


class Clock:
    """Time that goes by only where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("photovax.client.connection.time", clock)
    return clock


def _client(answer: Callable[[httpx2.Request], httpx2.Response]) -> Client:
    http = httpx2.Client(base_url=HOME, transport=httpx2.MockTransport(answer), timeout=60)
    return Client(HOME, http=http)


def _page(text: str, _: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, text=text)


def test_it_waits_past_broken_connections(clock):
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        if len(asked) in (2, 3):
            raise httpx2.ConnectError("away")
        state = "done" if len(asked) > 5 else "running"
        job = json.dumps({**VIEW, "state": state})
        return httpx2.Response(200, text=job if request.url.path == "/job" else f"data: {job}\n\n")

    assert _client(answer).wait(RemoteJob.of(VIEW)).state == "done"
    # The first stream ends early, then the service is away twice.
    assert asked == ["/events", "/job", "/job", "/job", "/events", "/job"]


def test_it_waits_past_a_proxy_whose_service_starts_again(clock):
    statuses = iter([502, 504, 429, 503])

    def answer(request: httpx2.Request) -> httpx2.Response:
        if status := next(statuses, None):
            return httpx2.Response(status, text="<html>Bad Gateway</html>")
        job = json.dumps({**VIEW, "state": "done"})
        return httpx2.Response(200, text=job if request.url.path == "/job" else f"data: {job}\n\n")

    assert _client(answer).wait(RemoteJob.of(VIEW)).state == "done"


def test_a_lost_answer_is_asked_for_again_with_the_same_key(clock, photo_file):
    keys: list[str] = []
    sent: list[bytes] = []

    def once(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["idempotency-key"])
        sent.append(request.read())
        if len(keys) == 1:
            raise httpx2.ReadTimeout("slow")
        return httpx2.Response(502) if len(keys) == 2 else httpx2.Response(202, json=VIEW)

    assert _client(once).immunize(photo_file).id == "1"
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert all(photo_file.read_bytes() in each for each in sent)

    def nowhere(request: httpx2.Request) -> httpx2.Response:
        keys.append("")
        raise httpx2.ConnectError("refused")

    with pytest.raises(ServiceError, match="cannot be reached"):
        _client(nowhere).immunize(photo_file)
    assert len(keys) == 4  # nobody has taken it


def test_what_is_no_service_is_told_in_a_line(photo_file):
    def moved(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(301, headers={"location": "https://photos.example.org/v1/checks"})

    with pytest.raises(
        ServiceError, match=r"is at https://photos\.example\.org/v1/checks: use that"
    ):
        _client(moved).check(photo_file)
    for page in ("<html>", '{"some": "thing"}', "[1]"):
        with pytest.raises(ServiceError, match="no photovax service answers there"):
            _client(partial(_page, page)).check(photo_file)
    with pytest.raises(ServiceError, match="no photovax service answers there"):
        _client(partial(_page, "[1]")).models()


def test_a_photo_is_written_whole_and_replaces_none(tmp_path, monkeypatch):
    client = _client(lambda _: httpx2.Response(200, content=b"new"))
    job = RemoteJob.of({**VIEW, "links": {"photo": "/photo"}})
    client.save_photo(job, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"new"
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(OutputExists):
        client.save_photo(job, tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_a_service_that_is_away_is_given_up_after_a_minute(clock):
    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("away")

    with pytest.raises(ServiceError, match="cannot be reached: away"):
        _client(away).wait(RemoteJob.of(VIEW))
    assert 60 <= clock.now - 1000 < 62


def test_requests_that_are_not_answered_count_by_their_time(clock):
    def silent(request: httpx2.Request) -> httpx2.Response:
        clock.now += request.extensions["timeout"]["read"]
        raise httpx2.ReadTimeout("silent")

    with pytest.raises(ServiceError, match="cannot be reached: silent"):
        _client(silent).wait(RemoteJob.of(VIEW))
    # The first one shows that it is away, and from then on there is a minute.
    assert 60 + 60 <= clock.now - 1000 < 60 + 62


def test_the_type_of_a_result_is_asked_for_by_one_word(photo_file):
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.read())
        return httpx2.Response(202, json=VIEW)

    _client(answer).immunize(photo_file, file_type="webp")
    assert b'name="file_type"' in sent[0]
    assert b'name="format"' not in sent[0]
