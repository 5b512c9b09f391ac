"""How many processor cores there are to compute on. Imports nothing heavy."""

from __future__ import annotations

import os

__all__ = ["cores"]


def cores() -> int:
    """Number of processor cores that this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
