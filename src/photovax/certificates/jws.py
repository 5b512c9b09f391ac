"""JSON Web Signatures (RFC 7515) with Ed25519 (RFC 8037), in which certificates are signed.

They are written as flattened JSON (section 7.2.2), and read as such or as compact text
(section 7.1). Only one header is allowed, so that no other algorithm or extension can be asked for.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from photovax.errors import CertificateError

__all__ = ["MEMBERS", "flattened", "from_compact", "header_of", "opened", "signing_input"]

MEMBERS = ("protected", "payload", "signature")
"""Members of a flattened JWS, in the order of the compact form."""

_COMPACT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_TYPE = "photovax-certificate"


def header_of(key: str) -> dict[str, str]:
    """The header of a certificate that a key signs, by the key's id."""
    return {"alg": "EdDSA", "kid": key, "typ": _TYPE}


def signing_input(header: Mapping[str, str], payload: bytes) -> bytes:
    """The bytes that are signed, section 5.1."""
    protected = json.dumps(header, separators=(",", ":")).encode()
    return b".".join([_encoded(protected), _encoded(payload)])


def flattened(signed: bytes, signature: bytes) -> dict[str, str]:
    """The JSON members of signed bytes and their signature."""
    parts = (*signed.split(b"."), _encoded(signature))
    return {name: part.decode() for name, part in zip(MEMBERS, parts, strict=True)}


def from_compact(text: str) -> dict[str, str] | None:
    """The JSON members of a compact JWS; None for other text."""
    text = text.strip()
    return dict(zip(MEMBERS, text.split("."), strict=True)) if _COMPACT.fullmatch(text) else None


def opened(members: Mapping[str, Any]) -> tuple[bytes, bytes, bytes, bytes]:
    """The header, the payload, the bytes that are signed and the signature, none of them verified.

    Raises:
        CertificateError: If members are missing, unknown, or not in their only encoding.
    """
    if set(members) != set(MEMBERS):
        raise CertificateError(
            f"not a certificate: a signed one has the members {', '.join(MEMBERS)} and no other"
        )
    header, payload, signature = (_decoded(name, members[name]) for name in MEMBERS)
    return header, payload, f"{members['protected']}.{members['payload']}".encode(), signature


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(name: str, value: object) -> bytes:
    try:
        if not isinstance(value, str):
            raise ValueError("not a text")
        data = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
        if _encoded(data).decode() != value:
            raise ValueError("not in its shortest form")
    except (ValueError, binascii.Error) as error:
        raise CertificateError(f"not a certificate: {name} is not base64url: {error}") from None
    return data
