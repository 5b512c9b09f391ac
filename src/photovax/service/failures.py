"""Exceptions as words for programs, in answers and in the table of jobs."""

from __future__ import annotations

import errno
import re

from photovax.errors import PhotovaxError

__all__ = ["NO_MEMORY", "NO_ROOM", "kind_of", "no_memory", "no_room"]


NO_ROOM = ("no-room", "there is no room left for the photo")
"""Word for programs, and message for people."""

NO_MEMORY = ("out-of-memory", "memory ran out while the photo was worked on; send a smaller one")
"""The same."""


def kind_of(error: PhotovaxError) -> str:
    """Convert an error's class to a word: ``TooManyPixels`` becomes ``too-many-pixels``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def no_room(error: OSError) -> bool:
    """Whether an error says that the disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def no_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out, on a CPU or another device."""
    # PyTorch has a class for devices only, and importing it takes seconds.
    named = type(error).__name__ in ("MemoryError", "OutOfMemoryError", "_ArrayMemoryError")
    return named or "can't allocate memory" in str(error)
