"""Routes of results: photos, certificates, pictures to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response

from photovax.pictures.types import MEDIA_TYPES
from photovax.service.http.context import Id, Owner, Service, finished
from photovax.service.http.files import given, sent
from photovax.service.http.problems import Problem
from photovax.service.jobs.job import Job

__all__ = ["router"]

router = APIRouter(prefix="/v1")


def _made(service: Service, own: Owner, kind: Literal["immunizations", "renewals"], job: Id) -> Job:
    return finished(service, own, kind, job)


def _immunized(service: Service, own: Owner, job: Id) -> Job:
    return finished(service, own, "immunizations", job)


Made = Annotated[Job, Depends(_made)]
Immunization = Annotated[Job, Depends(_immunized)]


@router.get("/{kind}/{job}/photo", response_class=Response, responses=given(*MEDIA_TYPES.values()))
def photo(service: Service, made: Made) -> Response:
    """Return the immunized photo."""
    name = (made.result or {}).get("file")
    if name is None:
        raise Problem(404, "no-photo", "the certificate lacked no model, so there is no new photo")
    suffix = Path(name).suffix
    media = MEDIA_TYPES[suffix]
    return sent(service.jobs.pictures, made, name, media, f"immunized{suffix}")


@router.get(
    "/{kind}/{job}/certificate", response_class=Response, responses=given("application/json")
)
def certificate(service: Service, made: Made) -> Response:
    """Return the photo's certificate."""
    if (made.result or {}).get("file") is None:
        raise Problem(
            404, "no-certificate", "the certificate lacked no model, so there is no new one"
        )
    name = "certificate.json"
    return sent(service.jobs.pictures, made, name, "application/json", name)


@router.get("/immunizations/{job}/original", response_class=Response, responses=given("image/png"))
def original(service: Service, made: Immunization) -> Response:
    """Return the decoded original, for comparison."""
    return sent(service.jobs.pictures, made, "original.png", "image/png", "original.png")


@router.get("/immunizations/{job}/flip", response_class=Response, responses=given("image/png"))
def flip(service: Service, made: Immunization) -> Response:
    """Return FLIP's map of visible change: black means none, purple to yellow more."""
    if not (made.result or {}).get("flip"):
        raise Problem(404, "no-map", "the map of visible change was not measured")
    return sent(service.jobs.pictures, made, "flip.png", "image/png", "flip.png")


@router.get("/immunizations/{job}/preview", response_class=Response, responses=given("image/png"))
def preview(service: Service, made: Immunization) -> Response:
    """Return the immunized photo as PNG, where some browsers do not show its own type."""
    if not (made.result or {}).get("preview"):
        raise Problem(404, "no-preview", "browsers show the photo itself")
    return sent(service.jobs.pictures, made, "preview.png", "image/png", "preview.png")


@router.get("/edits/{job}/pictures/{which}", response_class=Response, responses=given("image/png"))
def edited(
    service: Service, own: Owner, job: Id, which: Literal["original", "immunized"]
) -> Response:
    """Return the edit of the original or of the immunized photo."""
    made = finished(service, own, "edits", job)
    name = f"edit-of-{which}.png"
    return sent(service.jobs.pictures, made, f"{which}.png", "image/png", name)
