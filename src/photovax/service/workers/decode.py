"""Decodes uploaded pictures in a separate process with limits on memory and time.

The service calls ``decoded``. Run as a program, this file is the separate process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photovax.errors import PhotoError, TooManyPixels, UnreadablePhoto

if TYPE_CHECKING:  # each picture starts a process that imports this file
    from photovax.service.settings import Settings

__all__ = ["decode", "decoded", "limit"]

_TOO_MUCH = "decoding took more memory or time than allowed"
_SLACK = 64 * 1024**2


def decoded(file: Path, parcel: Path, settings: Settings) -> dict[str, str]:
    """Decode a picture file into a parcel. The file is deleted in any case.

    Returns:
        Suffixes of the picture's own file type for its result, or .png: if it is changed as a
        ``whole``, and if it is ``masked``.

    Raises:
        PhotoError: If it cannot be read. The message names no file.
        OSError: If the disk is full.
    """
    arguments = (
        settings.max_pixels,
        settings.decode_bytes,
        settings.decode_seconds,
        5 * settings.max_pixels + _SLACK,
    )
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - our own program, and paths of our own making
            [sys.executable, "-m", __name__, file, parcel, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * settings.decode_seconds + 10,
            env={**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadablePhoto(_TOO_MUCH) from None
    finally:
        file.unlink(missing_ok=True)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:  # killed, or too little memory for an answer
        parcel.unlink(missing_ok=True)
        raise UnreadablePhoto(_TOO_MUCH) from None
    if done.returncode == 0:
        return answer
    parcel.unlink(missing_ok=True)
    if done.returncode < 0:  # killed between its answer and its end
        raise UnreadablePhoto(_TOO_MUCH)
    if answer["kind"] == "OSError":
        raise OSError(answer["errno"], answer["message"])
    kind = TooManyPixels if answer["kind"] == "TooManyPixels" else UnreadablePhoto
    raise kind(answer["message"])


def limit(memory: int, seconds: int, size: int) -> None:
    """Limit memory (bytes), processor time (seconds) and file size (bytes) of this process."""
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, size),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def decode(file: Path, parcel: Path, pixels: int) -> tuple[int, dict[str, Any] | None]:
    """Decode a picture file into a parcel.

    Returns:
        The exit code and the answer; no answer if memory was too small.
    """
    from photovax.pictures.outputs import own_suffix
    from photovax.pictures.photo import read_photo
    from photovax.service.workers.parcels import write_parcel

    try:
        photo = read_photo(file, max_pixels=pixels)
        write_parcel(photo, parcel)
    except PhotoError as error:
        if isinstance(error.__cause__, MemoryError):
            return 3, None
        reason = str(error).removeprefix(f"{file}: ").replace(str(file), "it")
        return error.exit_code, {"kind": type(error).__name__, "message": reason}
    except OSError as error:
        said = {"kind": "OSError", "errno": error.errno or 0, "message": error.strerror or ""}
        return 4, said
    return 0, {
        "whole": own_suffix(photo, masked=False),
        "masked": own_suffix(photo, masked=True),
    }


def _main(file: Path, parcel: Path, pixels: int, memory: int, seconds: int, size: int) -> int:
    # Imported before the limits apply, which are for the picture and not for the program.
    import photovax.pictures.outputs
    import photovax.pictures.photo
    import photovax.service.workers.parcels  # noqa: F401

    limit(memory, seconds, size)
    code, answer = decode(file, parcel, pixels)
    if answer is not None:
        print(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])))
