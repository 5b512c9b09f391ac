"""Routes that queue jobs: immunizations, renewals, checks, and edits."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Header, Request, Response, UploadFile

from photovax.attack.budgets import LEVELS, VISIBILITY
from photovax.certificates.document import MAX_BYTES
from photovax.pictures.types import FileType
from photovax.ranges import SEEDS
from photovax.service.http.answers import JobView
from photovax.service.http.context import Context, Id, Owner, Service, finished
from photovax.service.http.problems import Problem, expired
from photovax.service.jobs.job import Job
from photovax.service.workers.intake import Order

__all__ = ["router"]


async def _each_once(request: Request) -> None:
    """Refuse what would be ignored: fields that a route does not have, and second ones.

    Raises:
        Problem: If there is such a field.
    """
    form = await request.form()  # read already
    known = [field.alias for field in request.scope["route"].dependant.body_params]
    for name in form:
        if name not in known:
            raise Problem(
                *(422, "wrong-request"),
                f"the field {name[:40]!r} is unknown; there are {', '.join(known)}",
            )
        if len(form.getlist(name)) > 1:
            raise Problem(422, "wrong-request", f"the field {name} was sent twice; send it once")


router = APIRouter(prefix="/v1", dependencies=[Depends(_each_once)])

Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=128)]
Picture = Annotated[UploadFile, File(description="A picture file of any common type.")]
MaybePicture = Annotated[UploadFile | None, File()]
CertificateText = Annotated[str, Form(max_length=MAX_BYTES, description="Signed JSON.")]
AskedType = Annotated[
    FileType,
    Form(description="File type of the result; same is PNG where the photo's cannot hold it."),
]
AskedVisibility = Annotated[
    str | None,
    Form(
        pattern=f"^({'|'.join(VISIBILITY)})$",
        description="Visibility of the change, for recipes that bound it.",
    ),
]


@router.post("/immunizations", status_code=202)
async def immunize(
    service: Service,
    own: Owner,
    response: Response,
    photo: Picture,
    mask: MaybePicture = None,
    recipe: Annotated[str | None, Form()] = None,
    visibility: AskedVisibility = None,
    levels: Annotated[
        float | None,
        Form(
            gt=LEVELS.above,
            le=LEVELS.most,
            description="Largest change in levels of 255, instead of visibility.",
        ),
    ] = None,
    file_type: AskedType = "same",
    strip_gps: Annotated[bool, Form(description="Remove the place where it was taken.")] = False,
    forbid_ai: Annotated[
        bool, Form(description="Forbid AI training and AI edits in the XMP.")
    ] = False,
    key: Key = None,
) -> JobView:
    """Immunize a photo."""
    file = service.offer.file(recipe)
    service.offer.check(recipe, visibility=visibility, levels=levels)
    asked = {
        "recipe": file,
        "visibility": visibility,
        "levels": levels,
        "suffix": _suffix(file_type),
        "strip_gps": strip_gps,
        "forbid_ai": forbid_ai,
    }
    uploads = {"photo": photo, "mask": mask}
    job = await service.intake.take(Order("immunizations", asked, uploads, own, key))
    return _accepted(service, job, response)


@router.post("/renewals", status_code=202)
async def renew(
    service: Service,
    own: Owner,
    response: Response,
    photo: Picture,
    certificate: CertificateText,
    original: MaybePicture = None,
    mask: MaybePicture = None,
    recipe: Annotated[str | None, Form()] = None,
    file_type: AskedType = "same",
    key: Key = None,
) -> JobView:
    """Immunize a photo against the models of today's register within its first budget."""
    asked = {
        "recipe": service.offer.file(recipe),
        "certificate": certificate,
        "suffix": _suffix(file_type),
    }
    uploads = {"photo": photo, "original": original, "mask": mask}
    job = await service.intake.take(Order("renewals", asked, uploads, own, key))
    return _accepted(service, job, response)


@router.post("/checks", status_code=202)
async def check(
    service: Service,
    own: Owner,
    response: Response,
    photo: Picture,
    original: MaybePicture = None,
    certificate: Annotated[str | None, Form(max_length=MAX_BYTES)] = None,
    survival: Annotated[
        bool, Form(description="Measure what common treatments leave of the effect, too.")
    ] = False,
    key: Key = None,
) -> JobView:
    """Measure whether a photo is immunized, by its original, or verify its certificate."""
    if original is None and certificate is None:
        raise Problem(422, "wrong-request", "send the original, or the certificate, or both")
    uploads = {"photo": photo, "original": original}
    asked = {"certificate": certificate, "survival": survival}
    job = await service.intake.take(Order("checks", asked, uploads, own, key))
    return _accepted(service, job, response)


@router.post("/immunizations/{job}/edits", status_code=202)
def edit(
    service: Service,
    own: Owner,
    response: Response,
    job: Id,
    prompt: Annotated[str, Form(min_length=1, max_length=200)],
    mode: Annotated[Literal["instruct", "img2img"], Form()] = "instruct",
    seed: Annotated[int, Form(ge=SEEDS.least, le=SEEDS.most)] = 0,
    key: Key = None,
) -> JobView:
    """Edit the original and the immunized photo of a job with the same noise."""
    asked = {"prompt": prompt, "mode": mode, "seed": seed}
    made = finished(service, own, "immunizations", job)
    try:
        queued = service.intake.follow(made, asked, owner=own, idempotency=key)
        return _accepted(service, queued, response)
    except FileNotFoundError:
        raise expired() from None


def _suffix(file_type: FileType) -> str:
    return "" if file_type == "same" else f".{file_type}"


def _accepted(service: Context, job: Job, response: Response) -> JobView:
    answer = service.view(job)
    response.headers["Location"] = answer.links["self"]
    return answer
