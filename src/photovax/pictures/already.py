"""Whether a photo's file, or the record beside it, says that it is immunized already."""

from __future__ import annotations

import json
import re
from pathlib import Path

from photovax.digests import file_digest
from photovax.errors import UsageError
from photovax.pictures.content_credentials import CERTIFICATE, IMMUNIZATION, manifest_store
from photovax.pictures.outputs import record_of
from photovax.pictures.photo import Photo
from photovax.pictures.pillow import printable_name

__all__ = ["refuse_immunized", "said_by"]

_LABELS = (IMMUNIZATION.encode(), CERTIFICATE.encode())
# XMP's history and tool, which programs fill in that keep a photo's history.
_TOOL = re.compile(
    rb"(?:softwareAgent|CreatorTool)\s{0,8}(?:=\s{0,8}[\"']|>)[^\"'<>]{0,256}photovax",
    re.IGNORECASE,
)


def refuse_immunized(source: Path, photo: Photo) -> None:
    """Refuse a photo that is immunized already.

    A second change adds to the first, so that more is seen of it than the budget allows.

    Args:
        source: File of the photo.
        photo: Photo that was read from it.

    Raises:
        UsageError: If its C2PA manifest has an assertion of photovax, its XMP names photovax as a
            tool, or the record beside it is of this very file.
    """
    if (why := said_by(source, photo)) is not None:
        raise UsageError(
            f"{printable_name(source)}: is immunized already, as {why} says; a second change would "
            "add to the first",
            hint="give the original, or to change it once more: --again",
        )


def said_by(source: Path, photo: Photo) -> str | None:
    """What says that a photo is immunized, in words; None if nothing does."""
    with source.open("rb") as file:
        store = manifest_store(file) or b""
    if any(label in store for label in _LABELS):
        return "its C2PA manifest"
    if _TOOL.search(photo.metadata.xmp or b""):
        return "its XMP"
    record = record_of(source)
    try:
        said = json.loads(record.read_bytes())
        recorded = "photovax" in said and said["sha256"] == file_digest(source)
    except (OSError, ValueError, LookupError, TypeError):  # none, or of another program
        return None
    return f"its record {printable_name(record.name)}" if recorded else None
