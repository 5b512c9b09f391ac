"""Memory that one step frees is kept for the next, where the C library would give it back.

A step's tensors are large. The GNU C library maps such blocks anew each time and unmaps them when
they are freed, and the system then clears every page again: about a quarter of a step's time on a
CPU. Results are the same to the bit.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["kept_memory"]

# From malloc.h: glibc's names for what mallopt sets.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4

# With one of these set, someone has chosen already.
_SETTINGS = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Inside, freed memory is kept for the next allocation; on leaving, it is given back.

    The first call sets two options of glibc's allocator (``M_MMAP_MAX`` to 0, no trimming) for the
    rest of the process. A pass of ``taef2`` at 384 pixels then takes 0.6 s of a core, not 0.83, and
    16 % more memory. Does nothing where the C library is another, or where the environment has
    allocator settings of its own (``GLIBC_TUNABLES``, ``MALLOC_TRIM_THRESHOLD_`` …).
    """
    libc = _set_glibc()
    try:
        yield
    finally:
        if libc is not None:
            libc.malloc_trim(0)


@cache
def _set_glibc() -> ctypes.CDLL | None:
    """The C library, once its allocator is set; None where it is not to be."""
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _SETTINGS):
        return None
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)
    return libc
