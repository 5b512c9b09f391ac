"""Many uploads at once: ``python -m benchmarks.uploads [--count 200] [PHOTO]``.

Starts the service on a free port of this machine, with one worker at work on what comes in, and
sends all photos at the same time. Printed: how many were queued and are still known, how long each
answer took, and the memory of the service, which loads no models.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import re
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import quantiles

import httpx2
from PIL import Image

from photovax.attack.presets import DEFAULT
from photovax.machine.cores import cores
from photovax.pictures.sample import SAMPLE
from tests.serving import free_port, serve, wait_until_up

PATIENCE = 1800.0
BOUND = 100.0
"""MB by which the service may grow."""


def memory(service: subprocess.Popen[bytes], field: str) -> float:
    """``VmRSS`` or ``VmHWM`` (the most so far) of a process, in MB."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    found = re.search(rf"{field}:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


async def upload(client: httpx2.AsyncClient, content: bytes) -> tuple[str, float]:
    """Send one photo: where its job is, and the seconds until that was answered."""
    began = time.perf_counter()
    answer = await client.post("/v1/immunizations", files={"photo": ("photo", content)})
    answer.raise_for_status()
    return answer.json()["links"]["self"], time.perf_counter() - began


async def load(url: str, content: bytes, count: int, service: subprocess.Popen[bytes]) -> None:
    """Send them all, print, and delete the jobs."""
    limits = httpx2.Limits(max_connections=count)
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE, limits=limits) as client:
        before, began = memory(service, "VmRSS"), time.perf_counter()
        found = await asyncio.gather(*(upload(client, content) for _ in range(count)))
        seconds = time.perf_counter() - began
        jobs = {job for job, _ in found}
        known = 0
        for job in jobs:
            known += (await client.get(job)).json()["state"] in ("queued", "running", "done")
        parts = quantiles([took for _, took in found], n=20, method="inclusive")
        print(f"{count} sent, {len(jobs)} queued, {known} still known after {seconds:.1f} s")
        print(
            f"answer after {min(took for _, took in found):.1f} s at first, "
            f"half {parts[9]:.1f} s, 95 % {parts[18]:.1f} s"
        )
        most = memory(service, "VmHWM")
        print(f"memory {before:.0f} MB before, {most:.0f} MB at most")
        for job in jobs:
            await client.delete(job)
        assert known == count
        assert most < before + BOUND


def main() -> None:
    """Start the service, measure, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        photo = options.photo or Path(name) / "photo.jpg"
        if options.photo is None:
            with Image.open(SAMPLE) as sample:
                sample.crop((150, 20, 246, 100)).save(photo, quality=92)
        port, data = free_port(), Path(name) / "data"
        rate = ("--per-minute", str(10 * options.count))
        service = serve(port, data, Path(DEFAULT), *rate)
        print(f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}")
        try:
            asyncio.run(
                load(wait_until_up(port, service), photo.read_bytes(), options.count, service)
            )
        finally:
            service.terminate()
            service.wait()


if __name__ == "__main__":
    main()
