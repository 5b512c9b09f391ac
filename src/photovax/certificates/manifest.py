"""Writes a C2PA manifest into a copy of an immunized photo, and reads a certificate from one."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import c2pa
import numpy as np

from photovax.certificates.container import holds_manifest, media_type, photo_digest
from photovax.certificates.credential import Credential
from photovax.certificates.provenance import READING, Original, read_original
from photovax.errors import CertificateError, SaveError, UsageError, first_line
from photovax.extras import extra_installed
from photovax.pictures.atomic import write_bytes
from photovax.pictures.content_credentials import CERTIFICATE, IMMUNIZATION
from photovax.pictures.multi_picture import with_larger_first
from photovax.pictures.outputs import Destination, record_of
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.pillow import MAX_PIXELS, printable_name
from photovax.pictures.rights import cawg_entries
from photovax.version import VERSION

__all__ = ["Signed", "embedded_certificate", "sign_photo"]

_TYPES = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/png": (".png",),
    "image/tiff": (".tif", ".tiff"),
    "image/webp": (".webp",),
    "image/avif": (".avif",),
    "image/heic": (".heic", ".heif", ".hif"),
}
_SOFTWARE = {"name": "photovax", "version": VERSION}
# A thumbnail would be a second picture of 400 KB.
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}, **READING}


@dataclass(frozen=True)
class Signed:
    """A signed photo.

    Attributes:
        path: Path of the file.
        assertions: Labels of the manifest's assertions.
        trusted: Whether the C2PA library's list of trusted signers has the signer.
        original: What the library says of the original's manifest: ``Trusted``, ``Valid``,
            ``Invalid``, or empty if it has none; None if no original was given.
    """

    path: Path
    assertions: tuple[str, ...]
    trusted: bool
    original: str | None = None


def sign_photo(
    photo: Path,
    output: Path,
    credential: Credential,
    *,
    certificate: str | None = None,
    original: Path | None = None,
    overwrite: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Signed:
    """Write a copy of an immunized photo with a C2PA manifest.

    The manifest says that the photo was edited, names the record or certificate of the
    immunization, and repeats what the XMP says on AI (``rights.cawg_entries``). All other bytes of
    the file stay the same; this is checked on the written file before it gets its name.

    Args:
        photo: JPEG, PNG, TIFF, WebP, AVIF or HEIC file, as saved by photovax.
        output: Path of the copy, of the same type.
        credential: The signer.
        certificate: The photo's signed certificate, to be embedded. Without one, the photo's record
            must be beside it.
        original: Photo before its immunization, to be named as the parent, with its manifests but
            for their previews (``photovax.certificates.provenance``). Without one, the parent is
            the photo before it was signed.
        overwrite: Whether a file of that name may be replaced.
        max_pixels: Largest number of pixels of the photo, and of the original.

    Raises:
        UsageError: If the photo has neither a record nor a certificate, has a manifest, or is of
            another type than ``output``, or the original is another picture.
        CertificateError: If the certificate is about another file, or C2PA rejects the signer.
        PhotoError: If the photo cannot be read.
        SaveError: If the copy cannot be written or would differ in more than the manifest.
    """
    name = printable_name(photo)
    destination = Destination(output, overwrite, source=photo)
    if original is not None:
        destination.check_apart(original)
    destination.check(recorded=False)
    before = read_photo(photo, max_pixels=max_pixels)
    kind = media_type(photo)
    if kind not in _TYPES:
        raise UsageError(
            f"{name}: only JPEG, PNG, TIFF, WebP, AVIF and HEIC can be signed; save the photo so"
        )
    if output.suffix.lower() not in _TYPES[kind]:
        raise UsageError(
            f"{name}: the signed copy must be of its type, {' or '.join(_TYPES[kind])}",
            hint=f"end -o in {_TYPES[kind][0]}",
        )
    if holds_manifest(photo):
        raise UsageError(f"{name}: holds a C2PA manifest already; sign it as photovax saved it")
    digest = photo_digest(photo)
    parent = None if original is None else read_original(original, before, max_pixels=max_pixels)
    manifest = _manifest(before, _evidence(photo, digest, certificate), parent)
    given = photo.read_bytes()
    data = _signed(given, kind, manifest, credential, name, parent)
    if (larger := with_larger_first(given, len(data) - len(given))) != given:
        # The index of pictures in a JPEG says how large the first one is, with its manifest.
        data = _signed(larger, kind, manifest, credential, name, parent)

    def verify(written: Path) -> None:
        if photo_digest(written) != digest or not _alike(
            before, read_photo(written, max_pixels=max_pixels)
        ):
            raise SaveError(
                f"{name}: signed, it would differ in more than the manifest; nothing was written. "
                "Sign it as photovax saved it"
            )

    store = json.loads(_read(io.BytesIO(data), kind))
    write_bytes(data, output, overwrite=overwrite, verify=verify)
    labels = [each["label"] for each in store["manifests"][store["active_manifest"]]["assertions"]]
    trusted = store.get("validation_state") == "Trusted"
    return Signed(output, tuple(labels), trusted, None if parent is None else parent.state)


def embedded_certificate(photo: Path) -> str:
    """Return the certificate in a signed photo as text, without verifying it.

    Raises:
        CertificateError: If there is no readable manifest or it holds no certificate.
    """
    name = printable_name(photo)
    if not holds_manifest(photo):
        raise CertificateError(f"{name}: a picture without a C2PA manifest, so without certificate")
    try:
        with photo.open("rb") as file:
            store = json.loads(_read(file, media_type(photo)))
        assertions = store["manifests"][store["active_manifest"]]["assertions"]
        found = next(each["data"] for each in assertions if each["label"] == CERTIFICATE)
    except (c2pa.C2paError, OSError, KeyError) as error:
        raise CertificateError(
            f"{name}: its C2PA manifest cannot be read: {first_line(error)}"
        ) from None
    except StopIteration:
        raise CertificateError(f"{name}: its C2PA manifest holds no certificate") from None
    return json.dumps(found, ensure_ascii=False)


def _evidence(photo: Path, digest: str, certificate: str | None) -> dict[str, dict[str, Any]]:
    """Assertions by label that show that a photo was immunized."""
    evidence: dict[str, dict[str, Any]] = {}
    record = record_of(photo)
    try:
        raw = record.read_bytes()
        if json.loads(raw)["sha256"] == digest:
            evidence[IMMUNIZATION] = {
                "record_sha256": hashlib.sha256(raw).hexdigest(),
                "photo_sha256": digest,
            }
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if certificate is not None:
        with extra_installed("certificates"):
            from photovax.certificates.document import as_json, parse_certificate
        if parse_certificate(certificate)[0].photo.sha256 != digest:
            raise CertificateError(
                f"{printable_name(photo)}: the certificate is about another file; give the photo "
                "as it was certified"
            )
        evidence[CERTIFICATE] = as_json(certificate)
    if not evidence:
        raise UsageError(
            f"{printable_name(photo)}: nothing shows that it was immunized: its record, "
            f"{printable_name(record)}, is missing, and no certificate was given",
            hint="give its --certificate, or put the record back",
        )
    return evidence


def _manifest(
    photo: Photo, evidence: dict[str, dict[str, Any]], parent: Original | None
) -> dict[str, Any]:
    edited = {"action": "c2pa.edited", "softwareAgent": _SOFTWARE}
    redacted = [] if parent is None else parent.actions()
    said: dict[str, Any] = {"c2pa.actions.v2": {"actions": [edited, *redacted]}}
    if entries := cawg_entries(photo.metadata):
        said["cawg.training-mining"] = {"entries": entries}
    assertions = [{"label": label, "data": data} for label, data in said.items()]
    # JSON, not CBOR, so that a certificate is read as it was written.
    assertions += [
        {"label": label, "data": data, "kind": "Json"} for label, data in evidence.items()
    ]
    manifest: dict[str, Any] = {"claim_generator_info": [_SOFTWARE], "assertions": assertions}
    return manifest if parent is None else manifest | {"redactions": list(parent.redacted)}


def _signed(
    data: bytes,
    kind: str,
    manifest: dict[str, Any],
    credential: Credential,
    name: str,
    parent: Original | None,
) -> bytes:
    """Return a file's bytes with the manifest; the library verifies its signature."""
    info = c2pa.C2paSignerInfo(credential.algorithm, credential.chain, credential.key, None)
    target = io.BytesIO()
    try:
        with (
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, context) as builder,
        ):
            # Adds the action c2pa.opened, which must come first, for the parent: the original, or
            # the photo before signing.
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            if parent is not None:
                parent.add_to(builder)
            builder.sign(signer, kind, io.BytesIO(data), target)
    except c2pa.C2paError as error:
        raise CertificateError(f"{name}: cannot be signed: {_one_line(error)}") from None
    return target.getvalue()


def _read(file: Any, kind: str | None) -> str:
    with (
        c2pa.Context.from_dict(_SETTINGS) as context,
        c2pa.Reader(kind, file, context=context) as reader,
    ):
        return str(reader.json())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _alike(first: Photo, second: Photo) -> bool:
    """Whether pixels, transparency, metadata and gain map are the same."""
    pairs = ((first.pixels, second.pixels), (first.alpha, second.alpha))
    known = [(each.metadata, each.gain_map) for each in (first, second)]
    return known[0] == known[1] and all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
    )
