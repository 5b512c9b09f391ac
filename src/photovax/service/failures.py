"""What kind of failure an exception is, as clients and the table of jobs are told."""

from __future__ import annotations

import errno
import re

from photovax.errors import PhotovaxError

__all__ = ["NO_ROOM", "kind_of", "no_room"]


NO_ROOM = ("no-room", "there is no room left for the photo")
"""For programs, and for people."""


def kind_of(error: PhotovaxError) -> str:
    """An error's class as a word for programs: ``TooManyPixels`` is ``too-many-pixels``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


def no_room(error: OSError) -> bool:
    """Whether an error says that the disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
