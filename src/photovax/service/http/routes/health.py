"""Route for probes."""

from __future__ import annotations

from fastapi import APIRouter, Response

from photovax.service.http.answers import Health
from photovax.service.http.context import Service
from photovax.version import VERSION

__all__ = ["router"]

router = APIRouter(prefix="/v1")

_NONE = "no worker runs, or none can load its models"


@router.get("/health", responses={503: {"model": Health, "description": _NONE}})
def health(service: Service, response: Response) -> Health:
    """Return whether the service works; 503 if no worker runs, or none can load its models."""
    alive = service.supervisor.alive
    if not alive:
        response.status_code = 503
    return Health(
        status="ok" if alive else _NONE,
        workers=alive,
        queued=service.jobs.counts()["queued"],
        version=VERSION,
    )
