"""Does a certificate hold, and is it about this photo?"""

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
    """What a certificate is held against: a file's SHA-256, and the hash of its picture.

    The SHA-256 is that of the file as it was before a C2PA manifest was put in, so that a
    certificate goes on to hold for a photo that was signed after it was certified.
    """

    sha256: str
    dhash: str

    @classmethod
    def of(cls, file: Path, photo: Photo) -> Seen:
        """A file and what was read from it."""
        return cls(photo_digest(file), dhash(photo.visible()))


@dataclass(frozen=True)
class Verification:
    """What became of a certificate's claims.

    Attributes:
        certificate: What it says; believe it only where ``valid``.
        reasons: Why it does not hold, a line each; none where it does.
        photo: Whether the photo is the one certified, whatever C2PA manifest it holds; None where
            none was given.
    """

    certificate: Certificate
    reasons: tuple[str, ...]
    photo: Literal["same file", "same picture", "another picture"] | None = None

    @property
    def valid(self) -> bool:
        """Whether everything asked holds."""
        return not self.reasons


def verify(
    text: str,
    keys: Mapping[str, PublicKey],
    *,
    photo: Seen | None = None,
    now: datetime | None = None,
) -> Verification:
    """Hold a certificate against trusted keys and, where given, a photo.

    Args:
        text: The signed JSON.
        keys: The issuer's public keys, got from the issuer, by id.
        photo: The file it is said to be about.
        now: Today, for tests.

    Raises:
        CertificateError: If it is not a certificate at all.
    """
    certificate, data, signature = parse_certificate(text)
    reasons = [*_doubts(certificate, data, signature, keys, now or datetime.now(UTC))]
    if photo is None:
        return Verification(certificate, tuple(reasons))
    seen = _compared(certificate.photo, photo)
    if seen == "same picture":
        reasons.append(
            "the photo shows the same picture but is another file: it was changed after it was "
            "certified, so it may not be immunized any more"
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
        return [f"key {certificate.key} is none of the keys that are trusted"]
    if not key.signed(data, signature):
        return ["the signature is not of this text: it was changed after it was signed"]
    issued = certificate.issued_at
    reasons = []
    if issued > now + _CLOCK_SKEW:
        reasons.append(f"it was issued in the future, {certificate.issued}")
    late = key.until is not None and issued > key.until + _CLOCK_SKEW
    if late or issued < key.since - _CLOCK_SKEW:
        reasons.append(f"it was issued, {certificate.issued}, when key {key.id} did not sign")
    return reasons


def _compared(
    facts: PhotoFacts, photo: Seen
) -> Literal["same file", "same picture", "another picture"]:
    if photo.sha256 == facts.sha256:
        return "same file"
    alike = distance(photo.dhash, facts.dhash) <= SAME_PICTURE
    return "same picture" if alike else "another picture"
