"""Temporary folders: those in use stay, and those of killed processes do not."""

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from filelock import FileLock

from photovax.machine.scratch import Scratch, remove_left_over

_KILLED = """
import os, signal
from photovax.machine.scratch import Scratch
(Scratch().path / "mask.png").write_bytes(b"secret")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_a_folder_is_private_and_goes_when_it_is_closed(place: Path) -> None:
    with closing(Scratch()) as scratch:
        (scratch.path / "mask.png").write_bytes(b"secret")
        assert [path.stat().st_mode & 0o077 for path in place.iterdir()] == [0]
    assert list(place.iterdir()) == []


def test_another_thread_may_close_it(place: Path) -> None:
    scratch = Scratch()
    thread = threading.Thread(target=scratch.close)
    thread.start()
    thread.join()
    assert list(place.iterdir()) == []


def test_only_folders_of_ended_processes_are_deleted(place: Path) -> None:
    other = place / "photovax-holiday"
    other.mkdir()
    done = subprocess.run([sys.executable, "-c", _KILLED], check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL
    assert len(list(place.rglob("mask.png"))) == 1
    with closing(Scratch()) as scratch:
        remove_left_over()
        assert list(place.rglob("mask.png")) == []
        assert scratch.path.exists()
        assert other.exists()


@pytest.mark.parametrize("moment", ["before", "during"])
def test_one_that_is_taken_for_left_over_when_it_is_made(
    monkeypatch: pytest.MonkeyPatch, place: Path, moment: str
) -> None:
    made = tempfile.mkdtemp
    other = ExitStack()

    def swept(**options: str) -> str:
        monkeypatch.setattr(tempfile, "mkdtemp", made)
        name = made(**options)
        if moment == "before":
            shutil.rmtree(name)
        else:
            other.enter_context(FileLock(Path(name) / "lock"))
        return name

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    with other, closing(Scratch()) as scratch:
        assert scratch.path.stat().st_mode & 0o077 == 0


def test_links_and_files_are_left_alone(place: Path) -> None:
    kept = place / "kept"
    kept.mkdir()
    (place / "photovax-scratch-link").symlink_to(kept)
    (place / "photovax-scratch-file").write_bytes(b"")
    remove_left_over()
    assert sorted(path.name for path in place.iterdir()) == [
        "kept",
        "photovax-scratch-file",
        "photovax-scratch-link",
    ]
    assert list(kept.iterdir()) == []
