"""Temporary folders of which none stays for good, however its process ends.

A process that is killed deletes nothing. So each folder has a lock, which the system frees when its
holder ends, and any later process deletes the folders whose lock is free. Process ids would not
tell: they repeat, and containers that share a folder have the same ones.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

__all__ = ["Scratch", "remove_left_over"]

_PREFIX = "photovax-scratch-"


class Scratch:
    """A temporary folder of this process, which only its user can read.

    Attributes:
        path: The folder; empty.

    Raises:
        OSError: If it cannot be created.
    """

    def __init__(self) -> None:
        while True:
            self._root = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._lock = _lock_of(self._root)
            with suppress(Timeout):  # another process took it for left over, and deletes it
                self._lock.acquire()
                break
        self.path = self._root / "files"
        # If it was deleted already, the lock was created with its folder, for all users.
        self.path.mkdir(mode=0o700)

    def close(self) -> None:
        """Delete the folder."""
        self._lock.release()  # first, since Windows deletes no open file
        shutil.rmtree(self._root, ignore_errors=True)


def remove_left_over() -> None:
    """Delete the folders of processes that have ended, as far as this user may."""
    for root in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if not root.is_symlink():
            with suppress(OSError), _lock_of(root):  # held, or another user's
                shutil.rmtree(root, ignore_errors=True)


def _lock_of(root: Path) -> BaseFileLock:
    # A thread may close what another one has opened.
    return FileLock(root / "lock", blocking=False, thread_local=False)
