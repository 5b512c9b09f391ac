"""How much memory there is and is taken, as Linux tells it; elsewhere nothing is told."""

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
"""Float32 copies of a photo that a descent holds between its passes, and the checks of its file,
beside the original."""

LIBRARIES = 96 * 2**20
"""Bytes that libraries take for themselves while they compute, beside the tensors they make."""


def available_bytes(system: Path = Path("/")) -> int | None:
    """Bytes that this process and new ones may still take before the system swaps or kills.

    What the machine has left, or the narrowest of the control groups (versions 1 and 2) that this
    process is in. Groups that a container hides cannot be read and do not count.

    Args:
        system: The folder that ``proc`` and ``sys`` are in.

    Returns:
        None where the system does not tell.
    """
    machine = _bytes(_text(system / "proc/meminfo"), "MemAvailable")
    if machine is None:
        return None
    return min([machine, *_left_in_groups(system)])


def resident_bytes(process: int | str = "self") -> int:
    """Bytes of memory that a process holds now; 0 where the system does not tell."""
    return _bytes(_text(Path(f"/proc/{process}/status")), "VmRSS") or 0


def peak_resident_bytes(process: int | str = "self") -> int:
    """The most that a process ever held; 0 where the system does not tell.

    Not ``ru_maxrss``, which in a new process begins with what the one that started it held.
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
        # Inside a container its own group is at the root of what is mounted.
        for each in (group, *group.parents):
            found = _left_in(mount / each.relative_to("/"), version=1 if controllers else 2)
            if found is not None:
                left.append(found)
    return left


def _left_in(group: Path, *, version: int) -> int | None:
    """What a group's limit leaves; None without a limit."""
    limit, used, idle = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    most, held = _text(group / limit).strip(), _text(group / used).strip()
    if not (most.isdecimal() and held.isdecimal()):  # a word says that there is no limit
        return None
    # Files that were read long ago count as used, and go first when memory is asked for.
    return int(most) - int(held) + (_bytes(_text(group / "memory.stat"), idle) or 0)


def _bytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:?\s+(\d+)( kB)?$", text, re.MULTILINE)
    return found and int(found[1]) * (1024 if found[2] else 1)


def _text(file: Path) -> str:
    """What the system says there; nothing where it says nothing."""
    with suppress(OSError):
        return file.read_text()
    return ""
