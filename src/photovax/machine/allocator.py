"""Settings of the GNU C library's allocator: keep freed memory, or return it to the system.

A step's tensors are large. The library maps such blocks when they are allocated and unmaps them
when they are freed, and the system clears every page again. On a CPU this takes about a quarter of
a step's time. For somewhat smaller blocks the library keeps more memory than needed. The settings
do not change results.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

__all__ = ["KEPT", "chosen_by_user", "is_glibc", "kept_memory", "returned_memory"]

KEPT = 1.2
"""Largest factor by which a step needs more memory if freed memory is kept."""

# Parameters of mallopt, from malloc.h of glibc.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_LARGE = 2**20
_MAPPINGS = 65_536  # glibc's default

# If one of these is set, the user has chosen the allocator's settings.
_SETTINGS = (
    "GLIBC_TUNABLES",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Context that keeps freed memory for the next allocation and returns it on exit.

    It sets two options of glibc's allocator (``M_MMAP_MAX`` to 0, no trimming), which stay set. A
    pass of ``taef2`` at 384 pixels then takes 0.6 s on one core instead of 0.83 s, and 16 % more
    memory. It does nothing with other C libraries, or if the environment sets the allocator
    (``GLIBC_TUNABLES``, ``MALLOC_TRIM_THRESHOLD_`` …).
    """
    with _allocating({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}):
        yield


@contextmanager
def returned_memory() -> Iterator[None]:
    """Context that returns blocks of 1 MiB and more to the system as soon as they are freed.

    Its settings stay until ``kept_memory`` sets others. It does nothing where ``kept_memory`` does
    nothing.
    """
    options = {_M_MMAP_MAX: _MAPPINGS, _M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: _LARGE}
    with _allocating(options):
        yield


@contextmanager
def _allocating(options: Mapping[int, int]) -> Iterator[None]:
    libc = _glibc()
    try:
        if libc is not None:
            for name, value in options.items():
                libc.mallopt(name, value)
        yield
    finally:
        if libc is not None:
            libc.malloc_trim(0)


def is_glibc() -> bool:
    """Whether this process runs on the GNU C library."""
    return platform.libc_ver()[0] == "glibc"


def chosen_by_user() -> tuple[str, ...]:
    """The environment variables with which the user has set the allocator, which is then left."""
    return tuple(name for name in _SETTINGS if name in os.environ)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The GNU C library; None if there is another, or the user has set its allocator."""
    if not is_glibc() or chosen_by_user():
        return None
    return ctypes.CDLL(None)
