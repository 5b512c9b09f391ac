"""The service as a whole: served for real, its page, what it loads."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from photovax.client import Client, RemoteJob, ServiceError
from tests.service.asking import detail_of, pictures_in, settings_in
from tests.serving import free_port, recipe_file, serve, wait_until_up


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


def test_uploads_that_fill_the_disk_are_turned_away(tmp_path, photo):
    port = free_port()
    settings = settings_in(tmp_path)
    # No file of the service may grow beyond this: an upload meets it as it does a full disk.
    service = serve(port, settings.data, Path(settings.recipe), first="ulimit -S -f 2000")
    try:
        url = wait_until_up(port, service)
        files = {"photo": ("x.jpg", photo.read_bytes() + bytes(3_000_000))}
        detail_of(httpx2.post(f"{url}/v1/immunizations", files=files), 507, "no-room")
        assert pictures_in(tmp_path) == []
        with Client(url) as client:
            assert client.immunize(photo).state == "queued"
    finally:
        service.terminate()
        service.wait()


def test_served_for_real_it_survives_a_kill_and_logs_nothing_private(tmp_path, photo):
    port, settings, log = free_port(), settings_in(tmp_path), tmp_path / "log"
    slow = recipe_file(tmp_path, "slow", steps=1_000_000)

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return serve(port, settings.data, Path(settings.recipe), "--also", str(slow), log=out)

    service = start()
    try:
        with Client(wait_until_up(port, service)) as client:
            job = client.immunize(photo, recipe="slow")
            for state in client.follow(job):
                if state.done:
                    break
            os.kill(service.pid, signal.SIGKILL)
            service.wait()
            recipe_file(tmp_path, "slow", steps=4)  # the file is read when the job begins
            service = start()
            wait_until_up(port, service)
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
            assert job.id in pictures_in(tmp_path)
            service.send_signal(signal.SIGTERM)
            assert service.wait(60) in (0, -signal.SIGTERM)
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


def test_services_of_tests_are_not_the_developers(monkeypatch, tmp_path):
    given: list[dict[str, str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: given.append(env))
    for name in ("DATABASE", "DATA", "WEIGHTS"):
        monkeypatch.setenv(f"PHOTOVAX_{name}", "mine")
    serve(1, tmp_path, tmp_path / "recipe.json")
    assert given[0]["PATH"] == os.environ["PATH"]
    assert "mine" not in given[0].values()
