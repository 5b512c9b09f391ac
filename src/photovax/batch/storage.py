"""Files on disks and in object stores, by path or by URL such as ``s3://bucket/folder/a.jpg``.

Stores are reached through fsspec, which imports the package of a store when its first URL is seen.
An object appears whole or not at all, and is created only where there is none if the store can do
that (S3 and others with conditional writes); fsspec looks before it writes elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from photovax.digests import file_digest
from photovax.errors import OutputExists, SaveError, UsageError, first_line
from photovax.pictures.pillow import printable_name

__all__ = ["Files", "Stamp", "is_url", "joined", "stamp_of", "without_slash"]

Stamp = tuple[int, int]
"""Size in bytes, and time of change in nanoseconds; of objects, a number for their version."""

_VERSIONS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "created")
_PACKAGES = {"s3fs": "photovax[s3]"}


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether a place is in a store; a path has no ``://``, except in names nobody has."""
    return "://" in os.fspath(place)


def joined(folder: str, name: str) -> str:
    """A place below a folder."""
    return posixpath.join(folder, name) if is_url(folder) else os.path.join(folder, name)


def without_slash(url: str) -> str:
    """A URL without slashes at its end."""
    scheme, _, path = url.partition("://")
    return f"{scheme}://{path.rstrip('/')}"


def stamp_of(path: str) -> Stamp:
    """The stamp of a file on a disk.

    Raises:
        OSError: If there is none.
    """
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


@contextmanager
def _as_os_error(url: str) -> Iterator[None]:
    """Turn what the packages of stores raise, such as of missing credentials, into OSErrors."""
    try:
        yield
    except (OSError, UsageError):
        raise
    except Exception as error:
        raise OSError(f"{url}: {first_line(error)}") from error


def _store(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        UsageError: If there is no such kind of store, or its package is missing.
    """
    from fsspec.core import url_to_fs
    from fsspec.registry import known_implementations

    try:
        store, path = url_to_fs(url)
    except ImportError as error:
        scheme = url.partition("://")[0]
        name = known_implementations.get(scheme, {}).get("class", "")
        package = name.partition(".")[0]
        raise UsageError(
            f"{printable_name(url)}: needs the package {package or error.name}",
            hint=f'type: pip install "{_PACKAGES.get(package, package or error.name)}"',
        ) from error
    except ValueError as error:
        raise UsageError(f"{printable_name(url)}: {first_line(error)}") from error
    return store, path


class Files:
    """Files on disks and in stores.

    What ``listed`` told of a folder in a store is remembered, since to ask for each of a million
    objects takes hours.
    """

    def __init__(self) -> None:
        self._listed: dict[str, dict[str, Stamp]] = {}

    def listed(self, folder: str) -> Mapping[str, Stamp]:
        """All objects below a folder in a store, by URL.

        Raises:
            OSError: If the store refuses.
        """
        folder = without_slash(folder)
        store, path = _store(folder)
        with _as_os_error(folder):
            store.invalidate_cache()
            found = store.find(path, detail=True)
        cut = len(path)
        known = {folder + name[cut:]: _stamp(info) for name, info in found.items()}
        self._listed[f"{folder}/"] = known
        return known

    def is_folder(self, place: str) -> bool:
        """Whether a place is a folder; in stores, only what has something in it is.

        Raises:
            OSError: If a store refuses.
        """
        if not is_url(place):
            return os.path.isdir(place)
        store, path = _store(place)
        with _as_os_error(place), suppress(FileNotFoundError):
            return bool(store.info(path)["type"] == "directory")
        return False

    def check(self, url: str) -> None:
        """Refuse a URL of no known kind of store, or one whose package is missing.

        Raises:
            UsageError: If it is one.
        """
        _store(url)

    def stamp(self, place: str) -> Stamp:
        """The stamp of a file or object.

        Raises:
            OSError: If there is none.
        """
        if not is_url(place):
            return stamp_of(place)
        known = self._known(place)
        if known is not None:
            return known
        store, path = _store(place)
        with _as_os_error(place):
            store.invalidate_cache(store._parent(path))
            return _stamp(store.info(path))

    def exists(self, place: str) -> bool:
        """Whether there is a file, a link or an object."""
        if not is_url(place):
            return os.path.lexists(place)
        try:
            self.stamp(place)
        except FileNotFoundError:
            return False
        return True

    def digest(self, place: str) -> str:
        """The SHA-256 of a file or object, in hexadecimal digits.

        Raises:
            OSError: If there is none.
        """
        if not is_url(place):
            return file_digest(Path(place))
        return hashlib.sha256(self.read(place)).hexdigest()

    def read(self, place: str, *, most: int | None = None) -> bytes:
        """The content of a file or object.

        Args:
            place: Path or URL.
            most: Number of bytes to read at most; all when None.

        Raises:
            OSError: If there is none.
        """
        if not is_url(place):
            with open(place, "rb") as file:
                return file.read(-1 if most is None else most)
        self._known(place)  # for one that is not there
        store, path = _store(place)
        with _as_os_error(place):
            content: bytes = store.cat_file(path, end=most)
            return content

    def opened(self, url: str) -> BinaryIO:
        """An object, to be read piece by piece.

        Raises:
            OSError: If there is none.
        """
        store, path = _store(url)
        with _as_os_error(url):
            store.invalidate_cache(store._parent(path))
            file: BinaryIO = store.open(path, "rb")
            return file

    def names(self, folder: str) -> list[str]:
        """Names of the objects and folders in a folder of a store; none if there is none.

        Raises:
            OSError: If the store refuses.
        """
        store, path = _store(without_slash(folder))
        with _as_os_error(folder), suppress(FileNotFoundError):
            store.invalidate_cache()
            found = store.ls(path, detail=False)
            return [posixpath.basename(name.rstrip("/")) for name in found]
        return []

    def remove(self, folders: Sequence[str]) -> None:
        """Delete all objects below folders of one store, if there are any, in as few requests.

        Raises:
            OSError: If the store refuses.
        """
        places = [_store(without_slash(folder)) for folder in folders]
        if places:
            store = places[0][0]
            with _as_os_error(folders[0]), suppress(FileNotFoundError):
                store.invalidate_cache()
                store.rm([path for _, path in places], recursive=True)

    def fetch(self, url: str, path: Path) -> None:
        """Copy an object to a disk, piece by piece.

        Raises:
            OSError: If there is none, or the disk is full.
        """
        store, name = _store(url)
        with _as_os_error(url):
            store.get_file(name, str(path))

    def put(self, path: Path, url: str) -> None:
        """Copy a file to an object, piece by piece; one that is there is replaced.

        Raises:
            OSError: If the store refuses.
        """
        store, name = _store(url)
        with _as_os_error(url):
            store.put_file(str(path), name)

    def read_all(self, urls: list[str]) -> Iterator[bytes]:
        """The contents of objects of one store, read several at a time.

        Raises:
            OSError: If one cannot be read.
        """
        paths = [_store(url)[1] for url in urls]
        if paths:
            with _as_os_error(urls[0]):
                found: dict[str, bytes] = _store(urls[0])[0].cat(paths)
            for path in paths:
                yield found[path]

    def _known(self, url: str) -> Stamp | None:
        """What a listing told of an object; None where there was none.

        Raises:
            FileNotFoundError: If the object was not in it.
        """
        for folder, listed in self._listed.items():
            if url.startswith(folder):
                if url not in listed:
                    raise FileNotFoundError(f"{url}: there is no such object")
                return listed[url]
        return None

    def create(self, url: str, content: bytes, *, overwrite: bool) -> None:
        """Write an object, whole or not at all.

        Raises:
            OutputExists: If there is one that may not be replaced.
            SaveError: If the store refuses.
        """
        store, path = _store(url)
        try:
            with _as_os_error(url):
                store.pipe_file(path, content, mode="overwrite" if overwrite else "create")
        except FileExistsError as error:
            raise OutputExists(
                f"{printable_name(url)}: exists already", hint="to replace it: --overwrite"
            ) from error
        except OSError as error:
            raise SaveError(
                f"{printable_name(url)}: cannot be written: {first_line(error)}"
            ) from error


def _stamp(info: Mapping[str, Any]) -> Stamp:
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    number = hashlib.sha256(version.strip('"').encode()).digest()[:6]
    return int(info["size"] or 0), int.from_bytes(number)
