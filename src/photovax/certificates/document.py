"""What a certificate says, and how it is signed; ``verification.py`` tells whether one holds.

A certificate is JSON. Its signature is Ed25519 over all of it but ``signature``, as UTF-8 with
sorted keys and no spaces. Numbers are rounded to four decimals when it is made, so that this is
RFC 8785's form and other languages' libraries write the same bytes; they are never rounded when it
is verified, so that the signature is of the very numbers that are read.
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
from photovax.certificates.keys import KeyRing
from photovax.errors import CertificateError

__all__ = [
    "Budget",
    "Certificate",
    "Effect",
    "ModelFacts",
    "PhotoFacts",
    "canonical",
    "fingerprint",
    "parse_certificate",
    "signed",
    "total_of",
]

MAX_BYTES = 64 * 1024
_DECIMALS = 4

Measured = Literal["against the original", "against the protected photo", "at least, carried over"]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class PhotoFacts(_Facts):
    """The file the certificate is about.

    Attributes:
        sha256: Of the whole file, or of what it was before a C2PA manifest was put in; see
            ``photovax.certificates.container``.
        dhash: Of its picture; see ``likeness.py``.
        width: In pixels.
        height: In pixels.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    dhash: str = Field(pattern="^[0-9a-f]{16}$")
    width: int
    height: int


class Effect(_Facts):
    """What a change does to a model; see ``photovax.metrics.latent.LatentEffect``."""

    shift: float
    damage: float | None


class ModelFacts(_Facts):
    """A model, and how far it is thrown off.

    Attributes:
        name: As in the register, or what the issuer called it.
        sha256: Of the autoencoder's weights, on which effects are measured.
        attacked: Of all the weights that the recipe attacked.
        size: Short side in pixels at which it was fed the photo.
        effect: Of the photo.
        floor: Of random noise with the same largest change.
        verdict: PASS, WEAK or FAIL; see ``photovax.check``.
        survival: The shift that is left after what is done to photos on their way, by name.
        measured: How.
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


class Budget(_Facts):
    """How far the photo may be from its original, and how far it is at most.

    Attributes:
        norm: ``linf`` or ``l2``, or another registered budget.
        unit: ``levels`` of 255, or ``length`` over the picture in units of [0, 1].
        total: All that may ever be used, renewals included.
        used: What has been used.
    """

    norm: str
    unit: Literal["levels", "length"]
    total: float
    used: float

    @property
    def left(self) -> float:
        """What a renewal without the original may add, in the same unit."""
        return max(0.0, self.total - self.used)


class Certificate(_Facts):
    """Everything but the signature.

    Attributes:
        kind: What this file is.
        version: Of this format.
        serial: Random, to speak of it.
        issued: RFC 3339, UTC.
        key: The id of the key that signed.
        software: What made it.
        photo: The file.
        recipe: Digest of the recipe, or ``unknown``.
        budget: Of changes.
        visible: Largest change in levels, length, PSNR in dB, SSIM, share of pixels changed; and,
            in certificates since they are measured, JOD on a 4K and a full-HD display, and FLIP.
        models: Those that the photo was measured on.
        not_covered: What nobody may read into this.
        renews: SHA-256 of the certificate that this one replaces.
    """

    kind: Literal["photovax certificate"]
    version: Literal[1]
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
        """When it was issued.

        Raises:
            CertificateError: If it does not say so in RFC 3339.
        """
        try:
            moment = datetime.fromisoformat(self.issued)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise CertificateError(f"the date of issue is no date: {self.issued!r}")
        return moment


def canonical(data: Any) -> bytes:
    """JSON as it is signed.

    Raises:
        CertificateError: If there is a number that JSON has not.
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
    except ValueError as error:  # also what UTF-8 cannot hold
        raise CertificateError(f"not fit for a certificate: {error}") from None


def _numbers(data: Any, decimals: int | None = None) -> Any:
    """Data with whole numbers as such, and others with so many decimals, or as they are."""
    if isinstance(data, float) and math.isfinite(data):
        rounded = data if decimals is None else round(data, decimals)
        return int(rounded) if rounded.is_integer() else rounded
    if isinstance(data, Mapping):
        return {key: _numbers(value, decimals) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_numbers(value, decimals) for value in data]
    return data


def signed(certificate: Certificate, ring: KeyRing) -> str:
    """The certificate as signed JSON text.

    Raises:
        CertificateError: If it names another key than the one that signs.
    """
    if certificate.key != ring.current:
        raise CertificateError(f"made for key {certificate.key}, but {ring.current} signs")
    body = json.loads(canonical(_numbers(certificate.model_dump(), _DECIMALS)))
    value = base64.b64encode(ring.sign(canonical(body))).decode()
    body["signature"] = {"algorithm": "Ed25519", "value": value}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def fingerprint(text: str) -> str:
    """SHA-256 of a signed certificate, however its JSON is laid out."""
    return hashlib.sha256(canonical(_object(text))).hexdigest()


def parse_certificate(text: str) -> tuple[Certificate, bytes, bytes]:
    """A certificate, the bytes that were signed, and the signature; nothing is verified.

    Raises:
        CertificateError: If it is not a certificate of this format.
    """
    data = _object(text)
    found = data.pop("signature", None)
    try:
        if not isinstance(found, dict) or found.get("algorithm") != "Ed25519":
            raise CertificateError("not signed with Ed25519")
        signature = base64.b64decode(found["value"], validate=True)
        return Certificate.model_validate(data), canonical(data), signature
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CertificateError(f"not a certificate: {where}: {first['msg']}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateError(f"its signature cannot be read: {error}") from None


def _object(text: str) -> dict[str, Any]:
    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a name stands twice in one object")
        return dict(pairs)

    try:
        if len(text) > MAX_BYTES:
            raise ValueError(f"longer than {MAX_BYTES} characters")
        data = json.loads(text, object_pairs_hook=unique)
        if not isinstance(data, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError) as error:
        raise CertificateError(f"not a certificate: {error}") from None
    return data


def total_of(recipe: Recipe) -> float:
    """The most that a recipe changes, as certificates put it: in levels, or a length for l2."""
    return recipe.constraint.most
