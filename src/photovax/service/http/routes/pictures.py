"""What came out of jobs that are done: photos, their certificates, pictures to compare."""

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
    """The immunized photo."""
    name = (made.result or {}).get("file")
    if name is None:
        raise Problem(404, "no-photo", "nothing was lacking, so there is no new photo")
    suffix = Path(name).suffix
    return sent(service.jobs.output(made) / name, MEDIA_TYPES[suffix], f"immunized{suffix}")


@router.get(
    "/{kind}/{job}/certificate", response_class=Response, responses=given("application/json")
)
def certificate(service: Service, made: Made) -> Response:
    """The photo's certificate."""
    file = service.jobs.output(made) / "certificate.json"
    return sent(file, "application/json", "certificate.json")


@router.get("/immunizations/{job}/original", response_class=Response, responses=given("image/png"))
def original(service: Service, made: Immunization) -> Response:
    """The photo as it was decoded, for comparing."""
    return sent(service.jobs.output(made) / "original.png", "image/png", "original.png")


@router.get("/immunizations/{job}/flip", response_class=Response, responses=given("image/png"))
def flip(service: Service, made: Immunization) -> Response:
    """Where the change is seen: FLIP's map, black where it is not, over purple to yellow."""
    if not (made.result or {}).get("flip"):
        raise Problem(404, "no-map", "it was not measured where the change is seen")
    return sent(service.jobs.output(made) / "flip.png", "image/png", "flip.png")


@router.get("/edits/{job}/pictures/{which}", response_class=Response, responses=given("image/png"))
def edited(
    service: Service, own: Owner, job: Id, which: Literal["original", "immunized"]
) -> Response:
    """What the editor made of the one or the other."""
    made = finished(service, own, "edits", job)
    return sent(service.jobs.output(made) / f"{which}.png", "image/png", f"edit-of-{which}.png")
