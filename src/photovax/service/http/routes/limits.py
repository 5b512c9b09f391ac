"""Route of the limits."""

from __future__ import annotations

from fastapi import APIRouter

from photovax.attack.budgets import VISIBILITY
from photovax.service.http.answers import Limits
from photovax.service.http.context import Service

__all__ = ["router"]

router = APIRouter(prefix="/v1")


@router.get("/limits")
def limits(service: Service) -> Limits:
    """Return what clients may ask for."""
    offer, settings = service.offer, service.settings
    return Limits(
        levels=offer.most_levels,
        usual_levels=offer.usual.levels,
        visibilities=offer.visibilities,
        usual_visibility=offer.usual.visibility,
        radii={word: VISIBILITY[word]["radius"] for word in offer.visibilities},
        requests=offer.requests,
        recipes=list(offer.recipes),
        bytes=settings.max_bytes,
        pixels=settings.max_pixels,
    )
