"""The content of certificates and their signature; see ``verification.py`` for validity.

A certificate is a JSON Web Signature (``jws.py``) whose payload is JSON. Certificates of version 1
are read as well: plain JSON, with an Ed25519 signature over all fields but ``signature``, as UTF-8
with sorted keys and no spaces. Numbers are rounded to four decimals when a certificate is made, so
that this is the canonical form of RFC 8785, which other languages' libraries write as well.
Verification does not round: the signature must match the numbers as they are read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from photovax.attack.recipe import Recipe
from photovax.certificates import jws
from photovax.certificates.keys import KeyRing
from photovax.errors import CertificateError

__all__ = [
    "VERSION",
    "Budget",
    "Certificate",
    "Effect",
    "ModelFacts",
    "PhotoFacts",
    "as_json",
    "canonical",
    "fingerprint",
    "parse_certificate",
    "signed",
    "total_of",
]

VERSION: Literal[2] = 2
MAX_BYTES = 64 * 1024
_DECIMALS = 4

Measured = Literal[
    "against the original",
    "against the protected photo",
    "at least, carried over",
    "at least, against a former protected photo",
]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PhotoFacts(_Facts):
    """The certified file.

    Attributes:
        sha256: SHA-256 of the file without any C2PA manifest; see
            ``photovax.certificates.container``.
        dhash: Difference hash of the picture; see ``likeness.py``.
        width: Width in pixels.
        height: Height in pixels.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    dhash: str = Field(pattern="^[0-9a-f]{16}$")
    width: int
    height: int


class Effect(_Facts):
    """The effect of a change on a model; see ``photovax.metrics.latent.LatentEffect``."""

    shift: float
    damage: float | None


class ModelFacts(_Facts):
    """A model and the effect of the change on it.

    Attributes:
        name: Name in the register, or the issuer's name for it.
        sha256: SHA-256 of the autoencoder's weights, on which effects are measured.
        attacked: SHA-256 of all weights that the recipe attacked.
        size: Short side in pixels at which the model was fed the photo.
        effect: Effect of the immunization.
        floor: Effect of random noise with the same largest change.
        verdict: PASS, WEAK or FAIL; see ``photovax.check``.
        survival: Shift of the latent that is left after common processing, by name.
        measured: How the effect was measured.
        network: SHA-256 of the perturbation network that gave the change, or its start; None if
            none did, or it is not known.
    """

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    attacked: str
    size: int
    effect: Effect
    floor: Effect
    verdict: Literal["PASS", "WEAK", "FAIL"]
    survival: dict[str, float]
    measured: Measured
    network: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")


class Budget(_Facts):
    """The allowed and the actual distance of the photo from its original.

    Attributes:
        norm: ``linf`` or ``l2``, or another registered budget.
        unit: ``levels`` of 255, or ``length`` over the picture in units of [0, 1].
        total: Largest distance allowed, renewals included.
        used: Present distance, or an upper bound of it.
    """

    norm: str
    unit: Literal["levels", "length"]
    total: float
    used: float

    @property
    def left(self) -> float:
        """Largest change that a renewal without the original may add, in the same unit."""
        return max(0.0, self.total - self.used)


class Certificate(_Facts):
    """All fields but the signature.

    Attributes:
        kind: The constant ``photovax certificate``.
        version: Version of this format: 2, or 1 for older ones.
        serial: Random serial number.
        issued: Time of issue, RFC 3339 in UTC.
        key: Id of the signing key.
        software: Name and version of the software.
        photo: The certified file.
        recipe: Digest of the recipe, or ``unknown``.
        budget: The budget of changes.
        visible: Largest change in levels, length, PSNR in dB, SSIM, share of pixels changed; newer
            certificates also have JOD on a 4K and a full-HD display, and FLIP.
        models: The models that the photo was measured on.
        not_covered: Statements on what the certificate does not cover.
        renews: SHA-256 of the certificate that this one replaces.
    """

    kind: Literal["photovax certificate"]
    version: Literal[1, 2]
    serial: str
    issued: str
    key: str
    software: str
    photo: PhotoFacts
    recipe: str
    budget: Budget
    visible: dict[str, float | None]
    models: tuple[ModelFacts, ...] = Field(strict=False)
    not_covered: tuple[str, ...] = Field(strict=False)
    renews: str | None

    @property
    def issued_at(self) -> datetime:
        """The time of issue.

        Raises:
            CertificateError: If it is not RFC 3339.
        """
        try:
            moment = datetime.fromisoformat(self.issued)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise CertificateError(f"the time of issue is not RFC 3339: {self.issued!r}")
        return moment


def canonical(data: Any) -> bytes:
    """Return JSON in the canonical form that is signed.

    Raises:
        CertificateError: If a number is not finite or a text is not Unicode.
    """
    try:
        text = json.dumps(
            _numbers(data),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return text.encode()
    except ValueError as error:  # also text that UTF-8 cannot encode
        raise CertificateError(f"cannot be written into a certificate: {error}") from None


def _numbers(data: Any, decimals: int | None = None) -> Any:
    """Convert whole numbers to integers, and round others if ``decimals`` is given."""
    if isinstance(data, float) and math.isfinite(data):
        rounded = data if decimals is None else round(data, decimals)
        return int(rounded) if rounded.is_integer() else rounded
    if isinstance(data, Mapping):
        return {key: _numbers(value, decimals) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_numbers(value, decimals) for value in data]
    return data


def signed(certificate: Certificate, ring: KeyRing) -> str:
    """Return the certificate as signed JSON text.

    Raises:
        CertificateError: If it names another key than the signing one, or an older version.
    """
    if certificate.key != ring.current:
        raise CertificateError(
            f"the certificate names key {certificate.key}, but {ring.current} signs"
        )
    if certificate.version != VERSION:
        raise CertificateError(
            f"certificates are signed in version {VERSION}, not {certificate.version}"
        )
    payload = canonical(_numbers(certificate.model_dump(), _DECIMALS))
    data = jws.signing_input(jws.header_of(ring.current), payload)
    return json.dumps(jws.flattened(data, ring.sign(data)), indent=1) + "\n"


def fingerprint(text: str) -> str:
    """SHA-256 of a signed certificate, independent of its form and of the layout of its JSON."""
    data = as_json(text)
    if "payload" not in data:
        return hashlib.sha256(canonical(data)).hexdigest()
    return hashlib.sha256(".".join(data[name] for name in jws.MEMBERS).encode()).hexdigest()


def parse_certificate(text: str) -> tuple[Certificate, bytes, bytes]:
    """Return a certificate, the signed bytes and the signature, without verifying it.

    Raises:
        CertificateError: If the text is not a certificate of this format.
    """
    data = as_json(text)
    if "payload" not in data:
        return _first_version(data)
    header, payload, signed_bytes, signature = jws.opened(data)
    certificate = _certificate(_object(_text(payload)), version=VERSION)
    if _object(_text(header)) != jws.header_of(certificate.key):
        wanted = json.dumps(jws.header_of(certificate.key))
        raise CertificateError(f"not a certificate: its header is not {wanted}")
    return certificate, signed_bytes, signature


def _first_version(data: dict[str, Any]) -> tuple[Certificate, bytes, bytes]:
    found = data.pop("signature", None)
    try:
        if not isinstance(found, dict) or found.get("algorithm") != "Ed25519":
            raise CertificateError("not signed with Ed25519")
        signature = base64.b64decode(found["value"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateError(f"its signature cannot be read: {error}") from None
    return _certificate(data, version=1), canonical(data), signature


def _certificate(data: dict[str, Any], *, version: int) -> Certificate:
    try:
        certificate = Certificate.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CertificateError(f"not a certificate: {where}: {first['msg']}") from None
    if certificate.version != version:
        raise CertificateError(
            f"not a certificate: version {certificate.version} is not signed in this form"
        )
    return certificate


def as_json(text: str) -> dict[str, Any]:
    """A signed certificate of any form as a JSON object.

    Raises:
        CertificateError: If the text is neither JSON nor a compact JWS.
    """
    return jws.from_compact(text) or _object(text)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CertificateError("not a certificate: its content is not UTF-8") from None


def _object(text: str) -> dict[str, Any]:
    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a name occurs twice in one object")
        return dict(pairs)

    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"longer than {MAX_BYTES} characters")
        data = json.loads(text, object_pairs_hook=unique)
        if not isinstance(data, dict):
            raise ValueError("not an object")
        json.dumps(data, ensure_ascii=False).encode()  # half a character cannot be shown or sent
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"not a certificate: {error}") from None
    return data


def total_of(recipe: Recipe) -> float:
    """A recipe's largest change in the unit of certificates: levels, or a length for l2."""
    return recipe.constraint.most
