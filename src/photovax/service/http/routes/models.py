"""The register of models."""

from __future__ import annotations

from fastapi import APIRouter

from photovax.certificates.register import Register, today
from photovax.service.http.answers import ModelView
from photovax.service.http.context import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1")


@router.get("/models")
def models(service: Service) -> list[ModelView]:
    """Return the register of models."""
    day = today()
    return [ModelView.of(model, day) for model in Register(service.settings.register)]
