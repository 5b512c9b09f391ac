"""What a manifest says of an immunized photo, put into a copy of its file and read back."""

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
from photovax.errors import CertificateError, SaveError, UsageError, first_line
from photovax.extras import extra_installed
from photovax.pictures.atomic import write_bytes
from photovax.pictures.outputs import Destination, record_of
from photovax.pictures.photo import Photo, printable_name, read_photo
from photovax.pictures.rights import cawg_entries
from photovax.version import VERSION

__all__ = ["CERTIFICATE", "IMMUNIZATION", "Signed", "embedded_certificate", "sign_photo"]

IMMUNIZATION = "photovax.immunization"
"""Assertion: SHA-256 of the record beside the photo, and of the photo before it was signed."""
CERTIFICATE = "photovax.certificate"
"""Assertion: the signed certificate, whole."""

_TYPES = {"image/png": (".png",), "image/tiff": (".tif", ".tiff"), "image/webp": (".webp",)}
_SOFTWARE = {"name": "photovax", "version": VERSION}
_SETTINGS = {
    # A thumbnail would be a second picture, and 400 KB. Nothing is asked of other machines.
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


@dataclass(frozen=True)
class Signed:
    """A signed photo.

    Attributes:
        path: The file.
        assertions: Labels of what its manifest says.
        trusted: Whether the signer is on a list of trusted ones that the C2PA library has.
    """

    path: Path
    assertions: tuple[str, ...]
    trusted: bool


def sign_photo(
    photo: Path,
    output: Path,
    credential: Credential,
    *,
    certificate: str | None = None,
    overwrite: bool = False,
) -> Signed:
    """Write a copy of an immunized photo with a C2PA manifest in it.

    The manifest says that the photo was edited; which record or certificate tells how; and about
    AI what its XMP says (``rights.cawg_entries``). Everything else of the file stays byte for
    byte, which is checked on the finished file, read anew, before it gets its name.

    Args:
        photo: PNG, TIFF or WebP, as photovax saved it.
        output: Where; of the same type.
        credential: What to sign with.
        certificate: The photo's signed certificate, to be put in whole. Without one, the record
            that was saved beside the photo must be there.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        UsageError: If the photo has neither a record nor a certificate, holds a manifest
            already, or is of another type than ``output``.
        CertificateError: If the certificate is about another file, or what is signed with does
            not do for C2PA.
        PhotoError: If the photo cannot be read.
        SaveError: If the copy cannot be written, or would differ in more than the manifest.
    """
    name = printable_name(photo)
    destination = Destination(output, overwrite, source=photo)
    destination.check(recorded=False)
    before = read_photo(photo)
    kind = media_type(photo)
    if kind is None:
        raise UsageError(f"{name}: only PNG, TIFF and WebP can be signed; save the photo as one")
    if output.suffix.lower() not in _TYPES[kind]:
        raise UsageError(
            f"{name}: the signed copy must be of its type, {' or '.join(_TYPES[kind])}",
            hint=f"end -o in {_TYPES[kind][0]}",
        )
    if holds_manifest(photo):
        raise UsageError(f"{name}: holds a C2PA manifest already; sign it as photovax saved it")
    digest = photo_digest(photo)
    manifest = _manifest(before, _evidence(photo, digest, certificate))
    data = _signed(photo.read_bytes(), kind, manifest, credential, name)

    def verify(written: Path) -> None:
        if photo_digest(written) != digest or not _alike(before, read_photo(written)):
            raise SaveError(
                f"{name}: signed, it would differ in more than the manifest; nothing was written. "
                "Sign it as photovax saved it"
            )

    store = json.loads(_read(io.BytesIO(data), kind))
    write_bytes(data, output, overwrite=overwrite, verify=verify)
    labels = [each["label"] for each in store["manifests"][store["active_manifest"]]["assertions"]]
    return Signed(output, tuple(labels), store.get("validation_state") == "Trusted")


def embedded_certificate(photo: Path) -> str:
    """The certificate in a signed photo, as text; its signature is not verified here.

    Raises:
        CertificateError: If there is no manifest that can be read, or no certificate in it.
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
    """What shows that a photo was immunized: assertions by label."""
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
            from photovax.certificates.document import parse_certificate
        if parse_certificate(certificate)[0].photo.sha256 != digest:
            raise CertificateError(
                f"{printable_name(photo)}: the certificate is about another file; give the photo "
                "as it was certified"
            )
        evidence[CERTIFICATE] = json.loads(certificate)
    if not evidence:
        raise UsageError(
            f"{printable_name(photo)}: nothing shows that it was immunized: its record, "
            f"{printable_name(record)}, is missing, and no certificate was given",
            hint="give its --certificate, or put the record back",
        )
    return evidence


def _manifest(photo: Photo, evidence: dict[str, dict[str, Any]]) -> dict[str, Any]:
    edited = {"action": "c2pa.edited", "softwareAgent": _SOFTWARE}
    said: dict[str, Any] = {"c2pa.actions.v2": {"actions": [edited]}}
    if entries := cawg_entries(photo.metadata):
        said["cawg.training-mining"] = {"entries": entries}
    assertions = [{"label": label, "data": data} for label, data in said.items()]
    # As JSON rather than CBOR, so that a certificate comes out as it went in.
    assertions += [
        {"label": label, "data": data, "kind": "Json"} for label, data in evidence.items()
    ]
    return {"claim_generator_info": [_SOFTWARE], "assertions": assertions}


def _signed(
    data: bytes, kind: str, manifest: dict[str, Any], credential: Credential, name: str
) -> bytes:
    """A file's bytes with the manifest in them; the library verifies what it signed."""
    info = c2pa.C2paSignerInfo(credential.algorithm, credential.chain, credential.key, None)
    target = io.BytesIO()
    try:
        with (
            c2pa.Context.from_dict(_SETTINGS) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(manifest, context) as builder,
        ):
            # Puts in c2pa.opened, of the photo as it is, which must come first.
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
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
    """Whether pixels, transparency and metadata are the same."""
    pairs = ((first.pixels, second.pixels), (first.alpha, second.alpha))
    return first.metadata == second.metadata and all(
        a is b or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs
    )
