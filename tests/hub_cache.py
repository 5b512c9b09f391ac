"""The hub's cache, as its client lays it out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def keep(
    cache: Path, repository: str, files: Path, *, commit: str = COMMIT, newest: bool = True
) -> Path:
    """Lay a folder out as the hub's client does, with blobs and links to them."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    blobs = folder / "blobs"
    for directory in (snapshot, blobs, folder / "refs"):
        directory.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(path for path in files.rglob("*") if path.is_file()):
        blob = blobs / f"{number:064x}"
        shutil.copyfile(file, blob)
        link = snapshot / file.relative_to(files)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if newest:
        (folder / "refs" / "main").write_text(commit)
    return snapshot


class Hub:
    """Stands for the hub: what it is asked, and what it answers."""

    def __init__(self, answers):
        self.answers = answers
        self.asked: list[tuple[str, str | None, list[str]]] = []

    def __call__(self, repository, *, revision, allow_patterns):
        self.asked.append((repository, revision, allow_patterns))
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(kind):
    """One of the hub's errors; its constructor wants a whole HTTP response."""
    error = kind.__new__(kind)
    Exception.__init__(error, "no")
    return error
