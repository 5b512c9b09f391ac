"""``photovax serve``: what it refuses before it starts."""

import socket

import pytest
from typer.testing import CliRunner

from photovax.cli import app
from photovax.cli.serve import _listening
from photovax.errors import CertificateError, UsageError
from photovax.service.http.tokens import Tokens
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.supervisor import Supervisor
from tests.serving import free_port


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0", "--name", "a.example"], "clients need tokens"),  # noqa: S104
        (["--tokens"], "clients need tokens"),
        (["--host", "0.0.0.0"], "--name"),  # noqa: S104
    ],
)
def test_it_is_not_exposed_without_tokens(tmp_path, options, message):
    if "name" in message:
        made = CliRunner().invoke(app, ["serve", "--new-token", "ann", "--data", str(tmp_path)])
        assert Tokens(tmp_path / "tokens.json").owner(made.stdout.strip())
    refused = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(refused.exception, UsageError)
    assert message in refused.exception.line


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (["--sign-key", "key.pem"], UsageError, "--sign-chain"),
        (["--sign-key", "no.pem", "--sign-chain", "no.pem"], CertificateError, "no.pem: not a"),
    ],
)
def test_what_a_provider_signs_with_is_looked_at_before_the_first_photo(
    options, error, match, tmp_path
):
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), *options])
    assert isinstance(done.exception, error)
    assert match in done.exception.line


def test_a_folder_in_use_is_told_in_a_line(tmp_path):
    settings = Settings(tmp_path)
    jobs = Jobs(settings.jobs, settings.pictures)
    running = Supervisor(settings, jobs)
    running.claim()
    try:
        done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path)])
    finally:
        running.stop()
        jobs.close()
    assert isinstance(done.exception, UsageError)
    assert "another service may be running on it" in str(done.exception)
    assert done.output == ""


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]")])
def test_it_prints_an_address_under_which_it_answers(host, shown, monkeypatch, tmp_path):
    built: list[Settings] = []
    monkeypatch.setattr("photovax.service.app.build_app", built.append)
    monkeypatch.setattr("photovax.service.app.claim", lambda _app: None)
    monkeypatch.setattr("photovax.cli.serve._listening", lambda *_: [])
    monkeypatch.setattr("uvicorn.Server.run", lambda *_: None)
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), "--host", host])
    assert done.output.startswith(f"http://{shown}:8765/ ")
    assert shown in built[0].hosts  # which are those of requests that are answered


def test_a_busy_port_is_told_before_the_address(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path), "--port", str(port)])
    assert isinstance(done.exception, UsageError)
    assert done.exception.line == (
        f"port {port} of 127.0.0.1 is in use; give another one with --port"
    )
    assert done.output == ""


def test_it_listens_on_each_address_of_a_name():
    port = free_port()
    sockets = _listening("localhost", port)
    try:
        assert {each.getsockname()[1] for each in sockets} == {port}
        with socket.create_connection(("localhost", port), timeout=5):
            pass
    finally:
        for each in sockets:
            each.close()
    with pytest.raises(UsageError, match=f"cannot listen on 192.0.2.1, port {port}"):
        _listening("192.0.2.1", port)
