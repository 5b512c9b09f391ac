"""Memory that is available and in use, from /proc and /sys; known on Linux only."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath

__all__ = [
    "LIBRARIES",
    "PHOTO_COPIES",
    "available_bytes",
    "peak_resident_bytes",
    "resident_bytes",
]

PHOTO_COPIES = 5
"""Float32 copies of a photo that are held between passes of a descent, and by the checks of its
file, in addition to the original."""

LIBRARIES = 96 * 2**20
"""Bytes that libraries allocate while they compute, in addition to tensors."""


def available_bytes(system: Path = Path("/")) -> int | None:
    """Available memory, in bytes, before the system swaps or kills processes.

    It is the least of what the machine has left and what each control group (version 1 or 2) of
    this process has left. Groups that a container hides cannot be read and do not count.

    Args:
        system: Folder that contains ``proc`` and ``sys``.

    Returns:
        The number of bytes; None where the system does not report it.
    """
    machine = _bytes(_text(system / "proc/meminfo"), "MemAvailable")
    if machine is None:
        return None
    return min([machine, *_left_in_groups(system)])


def resident_bytes(process: int | str = "self") -> int:
    """Resident memory of a process, in bytes; 0 where the system does not report it."""
    return _bytes(_text(Path(f"/proc/{process}/status")), "VmRSS") or 0


def peak_resident_bytes(process: int | str = "self") -> int:
    """Peak resident memory of a process, in bytes; 0 where the system does not report it.

    ``ru_maxrss`` is not used: in a new process it starts at the value of the parent process.
    """
    return _bytes(_text(Path(f"/proc/{process}/status")), "VmHWM") or 0


def _left_in_groups(system: Path) -> list[int]:
    left = []
    for line in _text(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = system / "sys/fs/cgroup" / ("memory" if controllers else "")
        group = PurePosixPath(path)
        # Inside a container its own group is the root of the mounted file system.
        for each in (group, *group.parents):
            found = _left_in(mount / each.relative_to("/"), version=1 if controllers else 2)
            if found is not None:
                left.append(found)
    return left


def _left_in(group: Path, *, version: int) -> int | None:
    """Bytes that a control group has left; None without a limit."""
    limit, used, idle = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    most, held = _text(group / limit).strip(), _text(group / used).strip()
    if not (most.isdecimal() and held.isdecimal()):  # "max" means no limit
        return None
    # The cache of inactive files counts as used, but is freed first when memory is needed.
    return int(most) - int(held) + (_bytes(_text(group / "memory.stat"), idle) or 0)


def _bytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:?\s+(\d+)( kB)?$", text, re.MULTILINE)
    return found and int(found[1]) * (1024 if found[2] else 1)


def _text(file: Path) -> str:
    """The content of a system file; empty if it cannot be read."""
    with suppress(OSError):
        return file.read_text()
    return ""
