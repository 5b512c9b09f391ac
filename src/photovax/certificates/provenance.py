"""The original of a photo as the parent in its C2PA manifest, so that provenance goes on."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa

from photovax.certificates.likeness import SAME_PICTURE, dhash, distance
from photovax.errors import CertificateError, UsageError, first_line
from photovax.metrics.registration import unmoved
from photovax.pictures.content_credentials import manifest_store
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.pillow import MAX_PIXELS, printable_name

__all__ = ["READING", "Original", "read_original"]

READING = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
"""Settings of the C2PA library: no other machine is asked."""

# Pillow's names of formats that the library reads, and their media types.
_TYPES = {
    "AVIF": "image/avif",
    "GIF": "image/gif",
    "HEIF": "image/heic",
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "TIFF": "image/tiff",
    "WEBP": "image/webp",
}
_PREVIEWS = "c2pa.thumbnail"
_METADATA = ("c2pa.metadata", "cawg.metadata", "stds.")
_PLACE = re.compile(r"gps|latitude|longitude|location", re.IGNORECASE)
_REASON = "photovax.immunized"


@dataclass(frozen=True)
class Original:
    """The photo that an immunized photo was made from.

    Attributes:
        data: Bytes of its file.
        kind: Media type.
        state: ``Trusted``, ``Valid`` or ``Invalid``, by the C2PA library; empty if it has no
            manifest.
        redacted: Addresses of the assertions in its manifests that must not be passed on.
    """

    data: bytes
    kind: str
    state: str
    redacted: tuple[str, ...]

    def add_to(self, builder: c2pa.Builder) -> None:
        """Name it as the parent of a builder's photo, with its manifests.

        It is not named by its file's name, which may tell more than a photo does.
        """
        ingredient = {"relationship": "parentOf"}
        builder.add_ingredient(ingredient, self.kind, io.BytesIO(self.data))

    def actions(self) -> list[dict[str, Any]]:
        """What was left out of its manifests, as C2PA's actions."""
        return [
            {"action": "c2pa.redacted", "reason": _REASON, "parameters": {"redacted": each}}
            for each in self.redacted
        ]


def read_original(path: Path, photo: Photo, *, max_pixels: int = MAX_PIXELS) -> Original:
    """Read the original of an immunized photo.

    Previews in its manifests are left out, since they show the photo without immunization. Metadata
    with a location is left out if the immunized photo has none.

    Args:
        path: File of the original.
        photo: Immunized photo.
        max_pixels: Largest number of pixels of the original.

    Raises:
        PhotoError: If the original cannot be read.
        UsageError: If it is another picture, or of a type that C2PA does not know.
        CertificateError: If its manifest cannot be read.
    """
    name = printable_name(path)
    given = read_photo(path, max_pixels=max_pixels)
    kind = _TYPES.get(given.format)
    if kind is None:
        allowed = ", ".join(sorted({each.removeprefix("image/") for each in _TYPES.values()}))
        raise UsageError(f"{name}: the original is {given.format}, and C2PA knows {allowed}")
    shown, seen = given.visible(), photo.visible()
    bits = distance(dhash(shown), dhash(seen))
    same = shown.shape[:2] == seen.shape[:2]
    # Hashes of flat areas, as around a drawing, are of the change alone.
    if not same or (bits > SAME_PICTURE and not unmoved(shown, seen)):
        raise UsageError(
            f"{name}: not the original, but another picture ({given.width} x {given.height}, and "
            f"the photo is {photo.width} x {photo.height}; {bits} of 64 bits of their hashes "
            f"differ, where {SAME_PICTURE} may)"
        )
    data = path.read_bytes()
    if manifest_store(io.BytesIO(data)) is None:
        return Original(data, kind, "", ())
    try:
        with (
            c2pa.Context.from_dict(READING) as context,
            c2pa.Reader(kind, io.BytesIO(data), context=context) as reader,
        ):
            state = json.loads(reader.json())["validation_state"]
            manifests = json.loads(reader.detailed_json())["manifests"]
    except (c2pa.C2paError, KeyError) as error:
        raise CertificateError(
            f"{name}: its Content Credentials cannot be read: {first_line(error)}"
        ) from None
    placeless = photo.metadata == photo.metadata.without_gps()
    return Original(data, kind, state, tuple(_unwanted(manifests, placeless=placeless)))


def _unwanted(manifests: dict[str, Any], *, placeless: bool) -> Iterator[str]:
    """Addresses of previews, and of places if the photo has none."""
    for label, manifest in manifests.items():
        for name, content in manifest["assertion_store"].items():
            metadata = placeless and name.startswith(_METADATA)
            if name.startswith(_PREVIEWS) or (metadata and _PLACE.search(json.dumps(content))):
                yield f"self#jumbf=/c2pa/{label}/c2pa.assertions/{name}"
