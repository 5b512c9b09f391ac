"""Route of the public keys that certificates are verified with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from photovax.certificates.keys import key_set, read_keys
from photovax.service.http.context import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1")


@router.get("/keys")
def keys(service: Service) -> dict[str, Any]:
    """Return the public keys, as at /.well-known/photovax-keys.json."""
    return key_set(read_keys(service.settings.keys))
