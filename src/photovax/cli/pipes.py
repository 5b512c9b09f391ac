"""Standard input and output as a photo and a result: ``-``."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from photovax.errors import PhotovaxError, UsageError
from photovax.pictures.pillow import printable_name
from photovax.pictures.types import OWN_SUFFIXES, FileType

__all__ = ["Pipe", "piped"]

_DASH = "-"


@dataclass(frozen=True)
class Pipe:
    """Files that stand for standard input and output.

    Attributes:
        photos: Paths or URLs of photos and folders to read.
        output: Path or URL of the file or folder to write to, or None.
        to_stdout: Whether the result goes to standard output, so that nothing else may.
        folder: Folder of the files that stand for others; empty without any.
    """

    photos: Sequence[str]
    output: str | None
    to_stdout: bool = False
    folder: str = ""

    def shown(self, text: str) -> str:
        """A text with the names that users know."""
        return text.replace(os.path.join(self.folder, ""), "") if self.folder else text

    def send(self) -> None:
        """Write the result to standard output, if it goes there and there is one."""
        if self.to_stdout and self.output is not None and os.path.exists(self.output):
            sys.stdout.buffer.write(Path(self.output).read_bytes())
            sys.stdout.buffer.flush()


@contextmanager
def piped(
    photos: Sequence[str], output: str | None, file_type: FileType | None, *, as_json: bool
) -> Iterator[Pipe]:
    """Replace ``-`` by files of a temporary folder.

    A result for standard output has the photo's own type where none is given.

    Raises:
        UsageError: If ``-`` is used together with other photos or a folder, without an output, or
            would print a picture to a terminal.
    """
    reads, writes = _DASH in photos, output == _DASH
    if not reads and not writes:
        yield Pipe(photos, output)
        return
    if len(photos) > 1:
        raise UsageError(f"- is one photo, and {len(photos)} are given; give - alone")
    if writes and os.path.isdir(photos[0]):
        raise UsageError(
            f"{printable_name(photos[0])}: standard output takes the result of one file",
            hint="use -o FOLDER",
        )
    if reads and output is None:
        raise UsageError("a photo from standard input needs a place", hint="add -o FILE or -o -")
    if writes and as_json:
        raise UsageError("standard output cannot hold both a photo and JSON", hint="use -o FILE")
    if writes and sys.stdout.isatty():
        raise UsageError("a photo is not printed to a terminal", hint="add > FILE or | COMMAND")
    with _ended_in_order(), tempfile.TemporaryDirectory(prefix="photovax-") as folder:
        photo = photos[0]
        if reads:
            photo = os.path.join(folder, "standard input")
            Path(photo).write_bytes(sys.stdin.buffer.read())
        if writes:
            own = file_type is None or file_type == "same"
            suffix = _own_suffix(photo) if own else f".{file_type}"
            output = os.path.join(folder, f"standard output{suffix}")
        yield Pipe([photo], output, to_stdout=writes, folder=folder)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """A context in which SIGTERM ends the program as an exception does.

    Otherwise the photo would be left in the temporary folder.
    """

    def end(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _own_suffix(photo: str) -> str:
    from PIL import Image

    from photovax.pictures.pillow import formats_of

    try:
        with open(photo, "rb") as file:
            formats = formats_of(file, "standard input")
        with Image.open(photo, formats=formats) as image:
            return OWN_SUFFIXES.get(image.format or "", ".png")
    except (OSError, ValueError, SyntaxError, PhotovaxError):  # read_photo says what is wrong
        return ".png"
