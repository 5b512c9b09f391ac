"""Verifies certificates: whether one is valid, and for which photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from photovax.certificates.container import photo_digest
from photovax.certificates.document import Certificate, PhotoFacts, parse_certificate
from photovax.certificates.keys import PublicKey
from photovax.certificates.likeness import SAME_PICTURE, dhash, distance
from photovax.pictures.photo import Photo

__all__ = ["Seen", "Verification", "verify"]

_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Seen:
    """Digests of a photo that a certificate is compared with.

    Attributes:
        sha256: SHA-256 of the file without any C2PA manifest, so that a certificate stays valid
            for a photo that is signed afterwards.
        dhash: Difference hash of the picture; see ``likeness.py``.
    """

    sha256: str
    dhash: str

    @classmethod
    def of(cls, file: Path, photo: Photo) -> Seen:
        """Return the digests of a file and of the photo read from it."""
        return cls(photo_digest(file), dhash(photo.visible()))


@dataclass(frozen=True)
class Verification:
    """The result of a verification.

    Attributes:
        certificate: The certificate's statements; trustworthy only if ``valid``.
        reasons: Reasons why it is not valid; empty if it is.
        photo: How the photo compares with the certified one, any C2PA manifest aside; None if no
            photo was given.
    """

    certificate: Certificate
    reasons: tuple[str, ...]
    photo: Literal["same file", "same picture", "another picture"] | None = None

    @property
    def valid(self) -> bool:
        """Whether the certificate is valid."""
        return not self.reasons


def verify(
    text: str,
    keys: Mapping[str, PublicKey],
    *,
    photo: Seen | None = None,
    now: datetime | None = None,
) -> Verification:
    """Verify a certificate with trusted keys and, if given, a photo.

    Args:
        text: The signed JSON.
        keys: Public keys by id, obtained from the issuer.
        photo: Digests of the photo that it should be about.
        now: Present time, for tests.

    Raises:
        CertificateError: If the text is not a certificate.
    """
    certificate, data, signature = parse_certificate(text)
    reasons = [*_doubts(certificate, data, signature, keys, now or datetime.now(UTC))]
    if photo is None:
        return Verification(certificate, tuple(reasons))
    seen = _compared(certificate.photo, photo)
    if seen == "same picture":
        reasons.append(
            "the photo shows the same picture but is another file: it was changed after it was "
            "certified, so it may no longer be immunized"
        )
    elif seen == "another picture":
        reasons.append("the certificate is about another picture")
    return Verification(certificate, tuple(reasons), seen)


def _doubts(
    certificate: Certificate,
    data: bytes,
    signature: bytes,
    keys: Mapping[str, PublicKey],
    now: datetime,
) -> list[str]:
    key = keys.get(certificate.key)
    if key is None:
        return [f"key {certificate.key} is not among the trusted keys"]
    if not key.signed(data, signature):
        return ["the signature does not match: the certificate was changed after it was signed"]
    issued = certificate.issued_at
    reasons = []
    if issued > now + _CLOCK_SKEW:
        reasons.append(f"it was issued in the future, {certificate.issued}")
    late = key.until is not None and issued > key.until + _CLOCK_SKEW
    if late or issued < key.since - _CLOCK_SKEW:
        reasons.append(f"it was issued {certificate.issued}, when key {key.id} did not sign")
    return reasons


def _compared(
    facts: PhotoFacts, photo: Seen
) -> Literal["same file", "same picture", "another picture"]:
    if photo.sha256 == facts.sha256:
        return "same file"
    alike = distance(photo.dhash, facts.dhash) <= SAME_PICTURE
    return "same picture" if alike else "another picture"
