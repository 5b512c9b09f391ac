"""Where results go: their names, and every check before one is written."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photovax.errors import SaveError, UsageError
from photovax.pictures.atomic import as_save_error, check_free, check_writable
from photovax.pictures.compression import Compression
from photovax.pictures.exif import has_dpi
from photovax.pictures.iptc import LARGEST_IN_JPEG
from photovax.pictures.photo import Photo
from photovax.pictures.pillow import heic_ready, printable_name
from photovax.pictures.texts import comment_of, jpeg_xmp
from photovax.pictures.types import (
    HEIC_SUFFIXES,
    INEXACT_SUFFIXES,
    JPEG_SUFFIXES,
    OTHER_SUFFIXES,
    OWN_SUFFIXES,
    PICTURE_SUFFIXES,
    WRITTEN_SUFFIXES,
)

__all__ = ["Destination", "copy_times", "own_suffix", "plan_outputs", "record_of", "result_name"]

_LOSSY = {".webp": "lossy WebP", ".avif": "AVIF", **dict.fromkeys(HEIC_SUFFIXES, "lossy HEIC")}
# Bytes of a segment, less its identifier.
_JPEG_BLOCKS = {"EXIF": 65_533, "XMP": 65_504, "IPTC": LARGEST_IN_JPEG, "comment": 65_533}

# Longest side in pixels: of libwebp, and of libjpeg.
_LONGEST = {".webp": ("WebP", 16383), **dict.fromkeys(JPEG_SUFFIXES, ("JPEG", 65500))}
_WITHOUT_DPI = (".webp", ".avif", *HEIC_SUFFIXES)


@dataclass(frozen=True)
class Destination:
    """The file that a result is written to, and whether it may be.

    It is made once, checked before the work, and handed to ``write_photo`` or ``Immunizer.save``,
    which repeat only the atomic check that no file is replaced without permission.

    Attributes:
        path: The file.
        overwrite: Whether files that exist may be replaced.
        source: Photo that the result is made from, which is never replaced; None if there is
            none.
        facts: What the record of the result says beside its own fields, for JSON.
    """

    path: Path
    overwrite: bool = False
    source: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """The file type: the suffix in lower case.

        Raises:
            SaveError: If files of this type are not written, or not without a package that is
                missing.
        """
        suffix = self.path.suffix.lower()
        if suffix not in WRITTEN_SUFFIXES:
            raise SaveError(
                f"{self._name}: {self.path.suffix or 'no suffix'} is not a type that is written; "
                "use .png, .tif, .webp, .jpg, .avif or .heic"
            )
        if suffix in HEIC_SUFFIXES:
            heic_ready(self._name, SaveError)
        return suffix

    @property
    def record(self) -> Path:
        """The record of the photo; see ``record_of``."""
        return record_of(self.path)

    def fitting(self, compression: Compression | None) -> Compression | None:
        """The compression, if files of this type can have it; None otherwise."""
        fits = compression is not None and compression.fits(self.suffix)
        return compression if fits else None

    def check(self, *, recorded: bool = True) -> None:
        """Refuse before the work what could not be written after it.

        Args:
            recorded: Whether a record is written as well, whose name must be free too.

        Raises:
            UsageError: If the file is the source itself.
            OutputExists: If the file or its record exists and must not be replaced.
            SaveError: If the type is not written, the folder is missing or takes no new files, or
                no such name.
        """
        if self.source is not None:
            self.check_apart(self.source)
        _ = self.suffix
        # os.path returns False where Path raises, as for names that are too long.
        if os.path.isdir(self.path):
            raise SaveError(f"{self._name}: is a folder; name a file")
        if not os.path.isdir(self.path.parent):
            folder = printable_name(self.path.parent)
            raise SaveError(f"{self._name}: there is no folder {folder}; make it first")
        check_writable(self.path)
        for file in (self.path, self.record) if recorded else (self.path,):
            with as_save_error(file), suppress(FileNotFoundError):
                os.lstat(file)
            check_free(file, overwrite=self.overwrite)

    def check_apart(self, source: Path) -> None:
        """Refuse to write over a photo, even where files may be replaced.

        Raises:
            UsageError: If both are the same file.
        """
        same = False
        with suppress(OSError, ValueError):  # one of them does not exist, or cannot
            same = os.path.samefile(self.path, source)
        if same:
            raise UsageError(
                f"{self._name} is the photo itself, which is never replaced", hint="use another -o"
            )

    def check_fits(
        self, photo: Photo, *, masked: bool, compression: Compression | None = None
    ) -> None:
        """Refuse a photo that the type of the file cannot hold.

        Args:
            photo: The photo that is to be written.
            masked: Whether pixels outside a mask must stay as they are.
            compression: Compression of lossy files, ignored for other types.

        Raises:
            SaveError: If WebP is to hold a grey photo, JPEG, lossy AVIF or lossy HEIC transparency,
                JPEG more metadata than fits, WebP or JPEG a longer side than they take, or a lossy
                file a mask.
        """
        name, suffix = self._name, self.suffix
        self.check_sides(photo)
        fitting = self.fitting(compression)
        transparent = photo.alpha is not None and bool((photo.alpha < 255).any())
        if suffix == ".webp" and photo.grey:
            raise SaveError(f"{name}: the photo is grey, which WebP cannot hold; use .png or .tif")
        if masked and (suffix in INEXACT_SUFFIXES or fitting is not None):
            kind = _LOSSY.get(suffix, "JPEG")
            raise SaveError(
                f"{name}: {kind} would change pixels outside the mask, too; use .png or .tif"
            )
        if transparent and (suffix == ".avif" or suffix in HEIC_SUFFIXES):
            kind = "AVIF" if suffix == ".avif" else "HEIC"
            if photo.grey:
                raise SaveError(
                    f"{name}: the photo is grey and transparent, which {kind} cannot hold; use .png"
                )
            # libavif keeps alpha exactly at its highest quality; libheif does not.
            if fitting is not None and (fitting.quality < 100 or kind == "HEIC"):
                raise SaveError(
                    f"{name}: the photo is transparent, which lossy {kind} would change; use .png",
                    hint="or give --lossless",
                )
        if suffix not in JPEG_SUFFIXES:
            return
        if transparent:
            raise SaveError(
                f"{name}: the photo is transparent, which JPEG cannot hold; use .png, .tif or .webp"
            )
        known = photo.metadata
        held = {
            "EXIF": known.exif,
            "XMP": jpeg_xmp(known, photo.gain_map),
            "IPTC": known.iptc,
            "comment": comment_of(known),
        }
        for kind, block in held.items():
            if block is not None and len(block) > _JPEG_BLOCKS[kind]:
                raise SaveError(
                    f"{name}: the photo has {len(block)} bytes of {kind}, and JPEG holds "
                    f"{_JPEG_BLOCKS[kind]}; use .png or .tif"
                )

    def check_sides(self, photo: Photo) -> None:
        """Refuse a photo that is longer than the type of the file takes.

        Raises:
            SaveError: If WebP or JPEG takes no such side.
        """
        kind, longest = _LONGEST.get(self.suffix, ("", math.inf))
        if max(photo.height, photo.width) > longest:
            raise SaveError(
                f"{self._name}: the photo is {photo.width} x {photo.height}, and {kind} takes "
                f"{longest} a side; use .png"
            )

    def notes(self, photo: Photo) -> tuple[str, ...]:
        """Lines, one for each property of a photo that the file does not keep."""
        notes = photo.notes
        if photo.gain_map is not None and self.suffix not in JPEG_SUFFIXES:
            notes = (*notes, f"an HDR gain map: kept in .jpg, but not in {self.suffix}")
        dpi = photo.metadata.dpi
        # EXIF, which has a place for it, too, is kept by all types.
        if dpi is not None and self.suffix in _WITHOUT_DPI and not has_dpi(photo.metadata.exif):
            shown = " x ".join(f"{each:g}" for each in dict.fromkeys(dpi))
            kept = f"a resolution of {shown} dots per inch: kept in .png, .tif and .jpg"
            notes = (*notes, f"{kept}, but not in {self.suffix}")
        return notes

    @property
    def _name(self) -> str:
        return printable_name(self.path)


def own_suffix(photo: Photo, *, masked: bool) -> str:
    """The suffix of a photo's own file type; .png if that is not written or cannot hold it.

    For HEIC it is .png, too: few programs show one without loss.

    Args:
        photo: The photo that is to be written.
        masked: Whether pixels outside a mask must stay as they are.
    """
    suffix = OWN_SUFFIXES.get(photo.format, ".png")
    if suffix in HEIC_SUFFIXES:
        return ".png"
    try:
        Destination(Path(f"photo{suffix}")).check_fits(photo, masked=masked)
    except SaveError:
        return ".png"
    return suffix


def _place(path: str) -> str:
    """What paths of one file have in common, on disks that ignore case, too."""
    return os.path.abspath(path).casefold()


def result_name(name: str, *, suffix: str | None, addition: str, whole: bool = False) -> str:
    """The file name of a photo's result.

    Args:
        name: File name of the photo; a suffix that is not a picture's counts as part of the name.
        suffix: Suffix of the result; None for the photo's own if that can be written, else .png.
        addition: What is added before the suffix, such as ``.immunized``.
        whole: Whether to keep the photo's suffix as a part of the name.
    """
    stem, own = os.path.splitext(name)
    if whole or own.lower() not in PICTURE_SUFFIXES:
        stem = name
    if suffix is None:
        suffix = own if own.lower() in WRITTEN_SUFFIXES else OTHER_SUFFIXES.get(own.lower(), ".png")
    return f"{stem}{addition}{suffix}"


def short_name(result: str, source: str) -> str | None:
    """The path of a result that has the photo's whole name, as it is without; None if it has not.

    Args:
        result: Path of the result.
        source: Path of the photo.
    """
    folder, name = os.path.split(result)
    own = os.path.basename(source)
    stem = os.path.splitext(own)[0]
    if stem == own or not name.startswith(own):
        return None
    return os.path.join(folder, stem + name[len(own) :])


def copy_times(source: str, result: str) -> None:
    """Give a result the times of access and of change of its photo.

    Raises:
        SaveError: If the disk refuses.
    """
    with as_save_error(Path(result)):
        found, own = os.stat(source), os.stat(result)
        if own.st_mtime_ns != found.st_mtime_ns:
            os.utime(result, ns=(found.st_atime_ns, found.st_mtime_ns))


def record_of(photo: Path) -> Path:
    """The path of a photo's record, the JSON file that says how it was immunized."""
    return photo.with_name(f"{photo.name}.json")


def plan_outputs(
    sources: Mapping[str, str], *, suffix: str | None = ".png", addition: str = ".immunized"
) -> dict[str, str]:
    """The paths of the results of several photos, all different.

    Where two results would have one path (of photo.jpg and photo.png), or that of another photo,
    the whole file name is kept: photo.jpg.immunized.png. Paths that differ only in case count as
    equal, as on many disks, and so do x.png and ./x.png. Nothing is looked up on disk.

    Args:
        sources: The path of each photo, and the folder of its result.
        suffix: As for ``result_name``.
        addition: As for ``result_name``.

    Returns:
        Path of the result by path of the photo, in the order of the photos.
    """

    def planned(source: str, *, whole: bool) -> str:
        name = result_name(os.path.basename(source), suffix=suffix, addition=addition, whole=whole)
        return os.path.join(sources[source], name)

    plan = {source: planned(source, whole=False) for source in sources}
    while True:
        taken = Counter(_place(path) for path in (*plan.values(), *plan))
        changed = {
            source: whole
            for source, result in plan.items()
            if taken[_place(result)] > 1 and (whole := planned(source, whole=True)) != result
        }
        if not changed:
            return plan
        plan |= changed
