"""Back to disk, whole or not at all; and what the results are called."""

from __future__ import annotations

import os
import secrets
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin

from photovax.channels import as_image
from photovax.errors import OutputExists, SaveError, UsageError
from photovax.filetypes import PICTURE_SUFFIXES
from photovax.photo import Photo, printable_name
from photovax.tiff import write_tiff

__all__ = [
    "JPEG_SUFFIXES",
    "LEAST_LOSS",
    "check_apart",
    "check_fits",
    "check_free",
    "check_output",
    "default_output",
    "plan_outputs",
    "record_of",
    "write_bytes",
    "write_photo",
    "write_text",
]

_WEBP_SIDE = 16383

JPEG_SUFFIXES = {".jpeg", ".jpg"}
"""Of the one type with losses: decoded pixels are not those that were written."""

_JPEG_BLOCKS = {"EXIF": 65_533, "XMP": 65_504}  # bytes of a segment, less what names its kind

LEAST_LOSS: dict[str, Any] = {"quality": 100, "subsampling": "4:4:4"}
"""How JPEG files are written: a decoded channel is then seldom more than two levels off."""


def write_photo(
    photo: Photo,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a photo: the whole file appears at once, or nothing does.

    The suffix tells the type: .png, .tif/.tiff and .webp without loss, .jpg/.jpeg with as little
    as there can be. Pixels, alpha, colour profile, EXIF and XMP are kept by all that are without
    loss. WebP has no grey (it becomes RGB), no place for the resolution, and drops an alpha that
    is opaque everywhere; so does JPEG, which has no alpha at all.

    Args:
        photo: what to write.
        path: where; its folder must be there.
        overwrite: whether a file of that name may be replaced.
        verify: called with the finished file under a temporary name in the same folder, before
            it gets its own; if it raises, nothing is left behind.

    Raises:
        OutputExists: the file is there, or came to be while this one was written.
        SaveError: another type, no such folder, no space, not allowed, ...
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    writer = _WRITERS[path.suffix.lower()]
    _write_atomically(path, lambda file: writer(photo, file), overwrite=overwrite, verify=verify)


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Say at once what writing a photo would say after minutes of work.

    Raises:
        OutputExists: the file is there.
        SaveError: a type that is not written, or no such folder.
    """
    name = printable_name(path)
    if path.suffix.lower() not in _WRITERS:
        raise SaveError(
            f"{name}: {path.suffix or 'no suffix'} is not a type that is written; use .png, .tif, "
            ".webp or .jpg"
        )
    if os.path.isdir(path):
        raise SaveError(f"{name}: is a folder; name a file")
    if not os.path.isdir(path.parent):
        folder = printable_name(path.parent)
        raise SaveError(f"{name}: there is no folder {folder}; make it first")
    check_free(path, overwrite=overwrite)


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Say at once that a file is there already.

    Raises:
        OutputExists: It is, and must not be replaced.
    """
    if not overwrite and os.path.lexists(path):
        raise _exists(path)


def check_fits(photo: Photo, path: Path, *, masked: bool) -> None:
    """Say at once that a file type cannot hold a photo.

    Args:
        photo: what is to be written.
        path: where.
        masked: whether pixels outside a mask must stay as they are.

    Raises:
        SaveError: WebP and grey; JPEG and transparency, a mask, or much EXIF or XMP.
    """
    name, suffix = printable_name(path), path.suffix.lower()
    if suffix == ".webp" and photo.grey:
        raise SaveError(f"{name}: the photo is grey, which WebP cannot hold; use .png or .tif")
    if suffix in JPEG_SUFFIXES and photo.alpha is not None and (photo.alpha < 255).any():
        raise SaveError(
            f"{name}: the photo is transparent, which JPEG cannot hold; use .png, .tif or .webp"
        )
    if suffix in JPEG_SUFFIXES and masked:
        raise SaveError(
            f"{name}: JPEG would change pixels outside the mask, too; use .png, .tif or .webp"
        )
    held = {"EXIF": photo.metadata.exif, "XMP": photo.metadata.xmp}
    for kind, block in held.items():
        if suffix in JPEG_SUFFIXES and block is not None and len(block) > _JPEG_BLOCKS[kind]:
            raise SaveError(
                f"{name}: the photo has {len(block)} bytes of {kind}, of which JPEG holds "
                f"{_JPEG_BLOCKS[kind]}; use .png or .tif"
            )


def check_apart(source: Path, output: Path) -> None:
    """Refuse to write a result over the photo that it came from, whatever else may be replaced.

    Raises:
        UsageError: Both are the same file.
    """
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{output} is the photo itself, which is never replaced; use another -o")


def write_text(text: str, path: Path, *, overwrite: bool = False) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Raises:
        OutputExists: the file is there.
        SaveError: no such folder, no space, not allowed, ...
    """
    write_bytes(text.encode(), path, overwrite=overwrite)


def write_bytes(
    data: bytes,
    path: Path,
    *,
    overwrite: bool = False,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a file, whole or not at all; ``verify`` is as for ``write_photo``.

    Raises:
        OutputExists: the file is there.
        SaveError: no such folder, no space, not allowed, ...
    """
    _write_atomically(path, lambda file: file.write(data), overwrite=overwrite, verify=verify)


def _write_atomically(
    path: Path,
    write: Callable[[BinaryIO], object],
    *,
    overwrite: bool,
    verify: Callable[[Path], None] | None = None,
) -> None:
    temporary = path.with_name(f".photovax-{secrets.token_hex(8)}{path.suffix.lower()}")
    try:
        with _as_save_error(path), temporary.open("x+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
        with _as_save_error(path):
            _put_in_place(temporary, path, overwrite=overwrite)
    finally:
        with suppress(OSError):
            temporary.unlink()


def default_output(source: Path, *, suffix: str | None = ".png") -> Path:
    """Where the result for a source goes: NAME.immunized.png beside it.

    Args:
        source: the input; a suffix that is not a picture's is taken for a part of the name.
        suffix: of the result; None for the source's own where that can be written, else .png.

    Returns:
        The path; nothing is looked up on disk.
    """
    name = source.stem if source.suffix.lower() in PICTURE_SUFFIXES else source.name
    return _output(source, name, suffix)


def _output(source: Path, name: str, suffix: str | None) -> Path:
    own = source.suffix if source.suffix.lower() in _WRITERS else ".png"
    return source.with_name(f"{name}.immunized{suffix or own}")


def record_of(photo: Path) -> Path:
    """The JSON file beside an immunized photo that says how it was made."""
    return photo.with_name(f"{photo.name}.json")


def plan_outputs(
    sources: Sequence[Path], *, folder: Path | None = None, suffix: str | None = ".png"
) -> dict[Path, Path]:
    """A result's path for each source of a batch, no two the same.

    Where two would be (photo.jpg and photo.png), or one would be another source, the full file
    name is used: photo.jpg.immunized.png. Names that differ in case only count as the same, as
    many disks see it.

    Args:
        sources: the inputs; repeated ones count once.
        folder: where the results go; beside each source when None.
        suffix: as for ``default_output``.

    Returns:
        Source to result, in the order of the sources.

    Raises:
        SaveError: two files of one name, from two folders, would meet in ``folder``.
    """

    def placed(path: Path) -> Path:
        return path if folder is None else folder / path.name

    plan = {source: placed(default_output(source, suffix=suffix)) for source in sources}
    while True:
        taken = Counter(_as_disks_see_it(path) for path in (*plan.values(), *plan))
        full = {source: placed(_output(source, source.name, suffix)) for source in plan}
        clashing = [
            source
            for source, result in plan.items()
            if taken[_as_disks_see_it(result)] > 1 and result != full[source]
        ]
        if not clashing:
            break
        plan |= {source: full[source] for source in clashing}
    homes = {_as_disks_see_it(result): source for source, result in plan.items()}
    for source, result in plan.items():
        if (other := homes[_as_disks_see_it(result)]) != source:
            raise SaveError(
                f"{printable_name(source)} and {printable_name(other)} would both become "
                f"{printable_name(result)}; give them separate folders"
            )
    return plan


def _as_disks_see_it(path: Path) -> str:
    return os.path.normpath(path).casefold()


def _exists(path: Path) -> OutputExists:
    return OutputExists(f"{printable_name(path)}: is there already; to replace it: --overwrite")


@contextmanager
def _as_save_error(path: Path) -> Iterator[None]:
    """One line for what the disk or an encoder objects to."""
    try:
        yield
    except (OSError, ValueError, TypeError, OverflowError, MemoryError, struct.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = " ".join(why.split()) or type(error).__name__
        raise SaveError(f"{printable_name(path)}: cannot be written: {reason}") from error


def _put_in_place(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
    else:
        try:
            path.hardlink_to(temporary)  # unlike a rename, never replaces
        except FileExistsError as error:
            raise _exists(path) from error
        except (OSError, NotImplementedError):  # no hard links on this disk
            _claim_and_replace(temporary, path)
    with suppress(OSError):  # a folder cannot be opened everywhere
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _claim_and_replace(temporary: Path, path: Path) -> None:
    """Take the name with an empty file, which only one can do, and replace that."""
    try:
        path.open("xb").close()
    except FileExistsError as error:
        raise _exists(path) from error
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink()
        raise


def _image(photo: Photo) -> Image.Image:
    channels = photo.pixels
    if photo.alpha is not None:
        channels = np.dstack([channels, photo.alpha])
    return as_image(channels)


def _write_png(photo: Photo, file: BinaryIO) -> None:
    known, more = photo.metadata, PngImagePlugin.PngInfo()
    if known.icc is not None and len(known.icc) > PngImagePlugin.MAX_TEXT_CHUNK:
        raise ValueError("its colour profile is longer than PNG readers accept; use .tif")
    if known.xmp is not None:
        more.add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + known.xmp)
    options = {"icc_profile": known.icc, "exif": known.exif, "dpi": known.dpi}
    _image(photo).save(file, "PNG", compress_level=6, pnginfo=more, **options)


def _write_webp(photo: Photo, file: BinaryIO) -> None:
    if max(photo.height, photo.width) > _WEBP_SIDE:
        raise ValueError(
            f"{photo.width} x {photo.height}, and WebP takes {_WEBP_SIDE} a side; use .png"
        )
    known = photo.metadata
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": known.xmp}
    given = {key: value for key, value in options.items() if value is not None}
    # exact: colour under full transparency stays too; effort: hardly smaller beyond this
    _image(photo).save(file, "WEBP", lossless=True, exact=True, quality=25, method=1, **given)


def _write_jpeg(photo: Photo, file: BinaryIO) -> None:
    known = photo.metadata
    options = {"icc_profile": known.icc, "exif": known.exif, "xmp": known.xmp, "dpi": known.dpi}
    given = {key: value for key, value in options.items() if value is not None}
    _image(replace(photo, alpha=None)).save(file, "JPEG", **LEAST_LOSS, **given)


_WRITERS: dict[str, Callable[[Photo, BinaryIO], None]] = {
    ".png": _write_png,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".webp": _write_webp,
    **dict.fromkeys(JPEG_SUFFIXES, _write_jpeg),
}
