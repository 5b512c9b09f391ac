"""The provider's Ed25519 keys: the signing key, and all public keys that still verify.

A folder holds ``signing.pem`` (private, readable by its owner only) and ``keys.json``, a JSON Web
Key Set (RFC 7517, RFC 8037) of all public keys, to be published as it is.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from photovax.certificates.locks import locked
from photovax.errors import CertificateError, UsageError
from photovax.pictures.atomic import write_text

__all__ = ["KeyRing", "PublicKey", "key_set", "read_keys", "timestamp"]

_PRIVATE, _PUBLIC = "signing.pem", "keys.json"


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies certificates.

    Attributes:
        id: First sixteen hexadecimal digits of the SHA-256 of ``raw``.
        raw: The key's 32 bytes.
        since: Time in UTC from which it signs.
        until: Time at which it was replaced; None while it signs.
    """

    id: str
    raw: bytes
    since: datetime
    until: datetime | None = None

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether this key made the signature of these bytes."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the key as a JSON Web Key."""
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "kid": self.id,
            "x": base64.urlsafe_b64encode(self.raw).decode().rstrip("="),
            "since": timestamp(self.since),
            "until": None if self.until is None else timestamp(self.until),
        }


def timestamp(moment: datetime) -> str:
    """Format a time as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_set(keys: Mapping[str, PublicKey]) -> dict[str, Any]:
    """Return keys as a JSON Web Key Set."""
    return {"keys": [key.to_json() for key in keys.values()]}


def read_keys(path: Path) -> dict[str, PublicKey]:
    """Read public keys from a key set file, or from a folder that holds one, by their ids.

    Raises:
        CertificateError: If the file cannot be read or is not a key set.
        UsageError: If there is no such file.
    """
    file = path / _PUBLIC if path.is_dir() else path
    if not file.exists():
        raise UsageError(
            f"{file}: no such file, so there are no public keys",
            hint="give the issuer's with --keys FILE, or the provider's folder with --data",
        )
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))["keys"]
        keys = [_parsed(each) for each in listed]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CertificateError(f"{file}: no keys can be read: {error}") from None
    return {key.id: key for key in keys}


def _parsed(data: Mapping[str, Any]) -> PublicKey:
    raw = base64.urlsafe_b64decode(data["x"] + "=" * (-len(data["x"]) % 4))
    if data["kty"] != "OKP" or data["crv"] != "Ed25519" or len(raw) != 32:
        raise ValueError(f"key {data.get('kid')} is no Ed25519 key")
    if data["kid"] != _key_id(raw):
        raise ValueError(f"key {data['kid']} is not what its id says")
    until = data.get("until")
    return PublicKey(
        id=data["kid"],
        raw=raw,
        since=_time(data["since"]),
        until=None if until is None else _time(until),
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return time


def _key_id(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


class KeyRing:
    """The keys of one provider.

    Args:
        folder: Folder of the keys.
        create: Whether a first key is created where there is none.

    Raises:
        CertificateError: If its files cannot be read or do not belong together, or there is no key.
        UsageError: If there is a private key without public keys.
        SaveError: If the first key cannot be written.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.folder = folder
        if not (folder / _PRIVATE).exists():
            if not create:
                raise CertificateError(f"there is no signing key in {folder}")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(folder):
                if not (folder / _PRIVATE).exists():  # another service may have created one
                    known = read_keys(folder) if (folder / _PUBLIC).exists() else {}
                    self._adopt(Ed25519PrivateKey.generate(), known)
        self._read()

    def __getstate__(self) -> dict[str, Any]:
        # For workers on other machines, which get the keys in memory and never as a file.
        return {**self.__dict__, "_private": self._private.private_bytes_raw()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        private = Ed25519PrivateKey.from_private_bytes(state["_private"])
        self.__dict__.update(state | {"_private": private})

    def reread(self) -> KeyRing:
        """The keys as they are in the folder now; these where it is on another machine."""
        return KeyRing(self.folder) if (self.folder / _PRIVATE).exists() else self

    @property
    def current(self) -> str:
        """Id of the signing key."""
        return _key_id(_raw(self._private))

    def sign(self, data: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._private.sign(data)

    def rotate(self) -> str:
        """Replace the signing key. Certificates of the old key stay valid.

        Returns:
            Id of the new key.

        Raises:
            SaveError: If the new key cannot be written.
        """
        with locked(self.folder):
            self._read()  # another process may have rotated them
            retired = self.current
            self._adopt(Ed25519PrivateKey.generate(), self.public)
            # Last: if it fails, two keys have no end, which does no harm.
            public = read_keys(self.folder)
            public[retired] = replace(public[retired], until=datetime.now(UTC))
            self._publish(public)
            self._read()
        return self.current

    def _adopt(self, private: Ed25519PrivateKey, known: Mapping[str, PublicKey]) -> None:
        """Publish a key, then make it the signing key."""
        raw = _raw(private)
        key = PublicKey(_key_id(raw), raw, datetime.now(UTC).replace(microsecond=0))
        self._publish({**known, key.id: key})
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        new = self.folder / f"{_PRIVATE}.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.folder / _PRIVATE)

    def _publish(self, keys: Mapping[str, PublicKey]) -> None:
        text = json.dumps(key_set(keys), indent=1) + "\n"
        write_text(text, self.folder / _PUBLIC, overwrite=True)

    def _read(self) -> None:
        file = self.folder / _PRIVATE
        try:
            private = serialization.load_pem_private_key(file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(f"{file}: no key can be read: {error}") from None
        if not isinstance(private, Ed25519PrivateKey):
            raise CertificateError(f"{file}: is no Ed25519 key")
        # Read after the private key, since a new key is published before it signs.
        public = read_keys(self.folder)
        if _key_id(_raw(private)) not in public:
            raise CertificateError(f"{file}: its public key is not in {_PUBLIC}")
        self._private, self.public = private, public


def _raw(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()
