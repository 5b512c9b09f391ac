"""How much memory there is, and how many workers a service starts in it."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from photovax.machine.device import free_bytes
from photovax.machine.memory import available_bytes, peak_resident_bytes, resident_bytes
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers import processes, supervisor
from photovax.service.workers.room import lacking_bytes, worker_bytes
from tests.service.asking import begun

KIB, MIB, GIB = 2**10, 2**20, 2**30
UNLIMITED_1 = "9223372036854771712"


def _system(folder: Path, groups: str, files: dict[str, object]) -> Path:
    """A machine with 8 GiB left, and these control groups."""
    everything = {
        "proc/meminfo": f"MemTotal: {16 * MIB} kB\nMemFree: 1 kB\nMemAvailable:  {8 * MIB} kB\n",
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{name}": content for name, content in files.items()},
    }
    for name, content in everything.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(str(content))
    return folder


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        pytest.param("", {}, 8 * GIB, id="no groups"),
        pytest.param(
            "0::/a/b",
            {"a/b/memory.max": "max", "a/b/memory.current": 5, "a/memory.max": "max"},
            8 * GIB,
            id="no limit",
        ),
        pytest.param(
            "0::/a/b",
            {
                "a/b/memory.max": 9 * GIB,
                "a/b/memory.current": GIB // 2,
                "a/memory.max": 4 * GIB,
                "a/memory.current": 3 * GIB,
                "a/memory.stat": f"anon {GIB}\ninactive_file {GIB}\nactive_file 7",
            },
            2 * GIB,
            id="the limit of a group around it, less what can go",
        ),
        pytest.param(
            "0::/../hidden",
            {"memory.max": GIB, "memory.current": 2 * GIB},
            -GIB,
            id="a container's own, lowered meanwhile",
        ),
        pytest.param(
            "5:cpu:/x\n4:memory,hugetlb:/docker/hidden\n0::/",
            {
                "memory/memory.limit_in_bytes": 3 * GIB,
                "memory/memory.usage_in_bytes": GIB,
                "memory/memory.stat": "inactive_file 5\ntotal_inactive_file 7",
            },
            2 * GIB + 7,
            id="version 1",
        ),
        pytest.param(
            "4:memory:/",
            {"memory/memory.limit_in_bytes": UNLIMITED_1, "memory/memory.usage_in_bytes": GIB},
            8 * GIB,
            id="version 1, no limit",
        ),
    ],
)
def test_what_is_left_is_the_least_of_machine_and_groups(tmp_path, groups, files, left):
    assert available_bytes(_system(tmp_path, groups, files)) == left


def test_a_system_that_does_not_tell_sets_no_bound(tmp_path):
    assert available_bytes(tmp_path) is None
    assert resident_bytes("no-process") == peak_resident_bytes("no-process") == 0


@pytest.mark.skipif(resident_bytes() == 0, reason="needs /proc")
def test_the_peak_stays_when_memory_is_given_back():
    # In a process of its own: another test's peak would hide what is taken here.
    code = (
        "from photovax.machine.memory import peak_resident_bytes, resident_bytes\n"
        "before = resident_bytes()\n"
        f"taken = bytearray({128 * MIB})\n"
        f"taken[::{4 * KIB}] = b'x' * len(taken[::{4 * KIB}])\n"
        "del taken\n"
        "print(before, resident_bytes(), peak_resident_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)  # noqa: S603
    before, after, peak = (int(number) for number in done.stdout.split())
    assert peak > before + 100 * MIB
    assert peak >= after > 0


@pytest.mark.parametrize(
    ("available", "held", "lacking"),
    [
        (None, [5], 0),  # no bound
        (0, [], 0),  # never fewer than one
        (10, [10], 0),
        (9, [10], 1),
        (15, [5], 0),
        (14, [5], 1),  # the first may yet take 5 more
        (30, [5, 0], 0),
        (20, [5, 0], 5),
        (10, [99], 0),  # one that holds more than was foreseen makes no room
        (-5, [10], 15),
    ],
)
def test_room_is_kept_for_what_workers_that_run_may_yet_take(available, held, lacking):
    assert lacking_bytes(available, 10, held) == lacking


def test_a_worker_may_get_the_largest_picture_allowed():
    assert worker_bytes(GIB, 50_000_000) == GIB + 3_600_000_000


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_second_worker_waits_for_memory(tmp_path, monkeypatch, capfd):
    left, asked = [GIB], []

    def told() -> int:
        asked.append(left[0])
        return left[0]

    monkeypatch.setattr(processes, "available_bytes", told)
    monkeypatch.setattr(processes, "_SHORT_OF_MEMORY", 0.1)
    settings = begun(Settings(tmp_path, workers=2, device="cpu", max_pixels=100_000_000))
    service = supervisor.Supervisor(settings, Jobs(settings.jobs, settings.pictures))
    said = ""

    def short() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "1 of 2 workers run; another may take" in said

    service.start()
    try:
        _until(short)
        known = len(asked)
        _until(lambda: len(asked) > known + 3)
        assert service.alive == 1
        assert not capfd.readouterr().err  # said once
        left[0] = 64 * GIB
        _until(lambda: service.alive == 2)
    finally:
        service.stop()
    assert service.alive == 0


def test_memory_that_a_device_has_left(monkeypatch):
    assert free_bytes(torch.device("cpu")) == pytest.approx(available_bytes(), rel=0.5)
    assert free_bytes(torch.device("mps")) is None
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (3 * GIB, 8 * GIB))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda _: 2 * GIB)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda _: GIB)
    assert free_bytes(torch.device("cuda")) == 4 * GIB
