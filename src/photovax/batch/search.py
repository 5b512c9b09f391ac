"""The search for photos in folders, on disks and in stores."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Collection, Iterator

from photovax.batch.storage import Files, is_url
from photovax.errors import PhotovaxError, UnreadablePhoto
from photovax.pictures.pillow import printable_name
from photovax.pictures.types import PICTURE_SUFFIXES

__all__ = ["Search"]

_JUNK_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
_RECORD_HEAD = b'"photovax"'


class Search:
    """A search for photos, which counts what it leaves out.

    Args:
        files: Files and objects.
        recursive: Whether to enter folders in folders.
        results: Whether to take results of photovax, too.
        beyond: Folder of results, which is not entered; None without one.

    Attributes:
        found: Photos, in order.
        failed: Photos and folders that cannot be read, with the reason.
        left_out: Number of files that are no photos by their names, by suffix.
        results: Number of files that are results of photovax.
        folders: Number of folders that were not entered.
    """

    def __init__(self, files: Files, *, recursive: bool, results: bool, beyond: str | None) -> None:
        self._files, self._recursive, self._with_results = files, recursive, results
        self._beyond = beyond if beyond is None or is_url(beyond) else os.path.realpath(beyond)
        self.found: list[str] = []
        self.failed: list[tuple[str, PhotovaxError]] = []
        self.left_out: Counter[str] = Counter()
        self.results = self.folders = 0

    def file(self, path: str, *, alone: bool) -> None:
        """Take a file or object that was named."""
        try:
            regular = is_url(path) or stat.S_ISREG(os.stat(path).st_mode)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            name = printable_name(path)
            self.failed.append((path, UnreadablePhoto(f"{name}: cannot be read: {why}")))
            return
        if not alone and not self._with_results and regular and self._is_result(path):
            self.results += 1
        else:
            self.found.append(path)

    def folder(self, path: str) -> None:
        """Take the photos in a folder."""
        if is_url(path):
            self._stored(path)
            return
        waiting = [path]
        while waiting:
            waiting += reversed(list(self._entered(waiting.pop())))

    def _entered(self, path: str) -> Iterator[str]:
        """Take the photos directly in a folder, and yield its folders."""
        try:
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            name = printable_name(path)
            reason = UnreadablePhoto(f"{name}: cannot be read: {error.strerror}")
            self.failed.append((path, reason))
            return
        names = {entry.name for entry in listed}
        for entry in listed:
            name = entry.name
            if _is_junk(name):
                continue
            if _is_folder(entry):
                if self._beyond is not None and os.path.realpath(entry.path) == self._beyond:
                    continue
                # Links to folders may lead in circles.
                if self._recursive and not entry.is_symlink():
                    yield entry.path
                else:
                    self.folders += 1
                continue
            self._file(entry.path, names)

    def _stored(self, url: str) -> None:
        """Take the photos in a folder of a store, which lists all that is below it at once."""
        try:
            listed = self._files.listed(url)
        except OSError as error:
            self.failed.append((url, UnreadablePhoto(f"{url}: cannot be read: {error}")))
            return
        folders: dict[str, set[str]] = {}
        for found in sorted(listed):
            folder, _, name = found.rpartition("/")
            folders.setdefault(folder, set()).add(name)
        skipped = set()
        for folder, names in sorted(folders.items()):
            parts = folder[len(url) + 1 :].split("/") if folder != url else []
            inside = self._beyond is not None and f"{folder}/".startswith(f"{self._beyond}/")
            if (inside and self._beyond != url) or any(map(_is_junk, parts)):
                continue
            if parts and not self._recursive:
                skipped.add(parts[0])
                continue
            for name in sorted(names):
                if name and not _is_junk(name):
                    self._file(f"{folder}/{name}", names)
        self.folders += len(skipped)

    def _file(self, path: str, names: Collection[str]) -> None:
        """Take a file of a folder with these names, or leave it out."""
        name = os.path.basename(path)
        suffix = os.path.splitext(name)[1].lower()
        if f"{name}.json" in names and not self._with_results and self._is_result(path):
            self.results += 1
        elif suffix in PICTURE_SUFFIXES:
            self.found.append(path)
        elif not (suffix == ".json" and name[:-5] in names):
            self.left_out[suffix or name.lower()] += 1

    def _is_result(self, path: str) -> bool:
        """Whether a record of photovax lies beside a picture."""
        try:
            return _RECORD_HEAD in self._files.read(f"{path}.json", most=64)
        except OSError:
            return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; not if that cannot be found out."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to what lies in a folder that is closed
        return False


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS
