"""The service as a process of its own, on a free port of this machine."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx2

QUICK = {"preset": "fast", "steps": 4, "size": 64, "views": [{"name": "short_side"}]}


def recipe_file(folder: Path, name: str = "quick", **options: Any) -> Path:
    """A recipe that a test can afford, but for what it asks otherwise."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**QUICK, **options}))
    return path


def free_port() -> int:
    """A port that nothing listens on, below those that systems give to whoever asks for any."""
    while True:
        port = random.SystemRandom().randint(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def environment() -> dict[str, str]:
    """This process's, without the developer's own database, folder of jobs and weights."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PHOTOVAX_")}


def serve(
    port: int,
    data: Path,
    recipe: Path,
    *options: str,
    log: IO[bytes] | None = None,
    first: str = ":",
) -> subprocess.Popen[bytes]:
    """Start it, after what the shell is to do first.

    Without a log its errors are shown with the test's.
    """
    command = [
        *(sys.executable, "-c", "from photovax.cli import main; main()", "serve"),
        *("--port", str(port), "--data", str(data), "--device", "cpu", "--recipe", str(recipe)),
        *options,
    ]
    command = ["/bin/bash", "-c", f'{first}; exec "$@"', "-", *command]
    return subprocess.Popen(  # noqa: S603
        command, stdout=log or subprocess.DEVNULL, stderr=log, env=environment()
    )


def wait_until_up(port: int, service: subprocess.Popen[bytes]) -> str:
    """Its address, once it answers."""
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
    while True:
        assert service.poll() is None, "the service has ended"
        try:
            httpx2.get(f"{url}/v1/models")
            return url
        except httpx2.HTTPError:
            assert time.monotonic() < end, "the service does not answer"
            time.sleep(0.1)


@contextmanager
def served(data: Path, recipe: Path, *options: str) -> Iterator[str]:
    """Its address, while it runs."""
    port = free_port()
    service = serve(port, data, recipe, *options)
    try:
        yield wait_until_up(port, service)
    finally:
        service.terminate()
        service.wait()
