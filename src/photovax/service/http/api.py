"""The routes under /v1."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, File, Form, Header, Request, Response, UploadFile
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import load_recipe
from photovax.certificates.document import MAX_BYTES, total_of
from photovax.certificates.keys import key_set, read_keys
from photovax.certificates.register import Register, today
from photovax.errors import UsageError
from photovax.pictures.types import MEDIA_TYPES, FileType
from photovax.service.http.answers import Health, JobView, Limits, ModelView, ProblemView, job_view
from photovax.service.http.problems import Problem
from photovax.service.jobs.job import Job, State
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.intake import Intake, Order
from photovax.service.workers.supervisor import Supervisor
from photovax.version import VERSION

__all__ = ["routes"]


def _owner(request: Request) -> str:
    """Whose request it is, as the guard found."""
    return str(request.state.owner)


Owner = Annotated[str, Depends(_owner)]
Kind = Literal["immunizations", "renewals", "checks", "edits"]
Pictured = Literal["immunizations", "renewals"]
Id = Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=128)]
Picture = Annotated[UploadFile, File(description="Any common picture file.")]
MaybePicture = Annotated[UploadFile | None, File()]
CertificateText = Annotated[str, Form(max_length=MAX_BYTES, description="Signed JSON.")]
AskedType = Annotated[
    FileType,
    Form(alias="format", description="Of the result; same: PNG where the photo's does not do."),
]
AskedVisibility = Annotated[
    str | None,
    Form(
        pattern=f"^({'|'.join(VISIBILITY)})$",
        description="How much of the change may be seen, of the recipes that bound that.",
    ),
]

_STRONG = 16.0  # levels of 255: what the field's experiments go to
_POLL = 0.3
_KEEP_ALIVE = 15.0
_CHUNK = 1024**2
# Not as a model, which would be said to come as application/json.
_PROBLEM = {
    "description": "A problem document.",
    "content": {"application/problem+json": {"schema": ProblemView.model_json_schema()}},
}
_PROBLEMS: dict[int | str, dict[str, Any]] = dict.fromkeys(
    (400, 401, 403, 404, 408, 409, 410, 413, 421, 422, 429, 503, 507), _PROBLEM
)


def _gives(*media: str) -> dict[int | str, dict[str, Any]]:
    """For the document, which else leaves out what is not JSON of a model."""
    return {200: {"description": "The file.", "content": {each: {} for each in media}}}


def routes(settings: Settings, jobs: Jobs, supervisor: Supervisor) -> APIRouter:
    """All routes of one service."""
    router = APIRouter(prefix="/v1", responses=_PROBLEMS)
    intake = Intake(settings, jobs)
    recipes = {Path(name).stem: name for name in (settings.recipe, *settings.recipes)}
    loaded = {name: load_recipe(file) for name, file in recipes.items()}
    in_levels = [name for name, recipe in loaded.items() if recipe.levels is not None]
    first = next(iter(recipes))
    usual = settings.strength(loaded[first])
    if settings.visibility is not None:
        usual = usual.with_visibility(settings.visibility)  # the recipe must be one of those
    at_once = total_of(usual)
    if settings.total is not None and settings.total < at_once:
        raise UsageError(
            f"a total of {settings.total:g} is less than the {at_once:g} that photos are changed by"
        )
    most = settings.total or max(at_once, _STRONG)
    by_sight = [
        name
        for name, recipe in loaded.items()
        if recipe.constraint.bounds_seen and settings.levels is None
    ]

    def found(kind: str, job: str, own: str) -> Job:
        known = jobs.get(job)
        if known is None or known.kind != kind or known.owner != own:
            raise Problem(404, "no-such-job", "there is no such job")
        if known.state is State.EXPIRED:
            raise Problem(410, "expired", "the result has expired and was deleted")
        return known

    def finished(kind: str, job: str, own: str) -> Job:
        known = found(kind, job, own)
        if known.state is not State.DONE:
            raise Problem(409, "not-done", f"the job is {known.state.value}")
        return known

    def view(job: Job) -> JobView:
        return job_view(job, settings.keep_seconds, time.time())

    def accepted(job: Job, response: Response) -> JobView:
        answer = view(job)
        response.headers["Location"] = answer.links["self"]
        return answer

    def named(recipe: str | None) -> str | None:
        if recipe is not None and recipe not in recipes:
            known = ", ".join(recipes)
            raise Problem(422, "no-such-recipe", f"this service has these recipes: {known}")
        return recipes.get(recipe or "")

    @router.post("/immunizations", status_code=202)
    async def immunize(
        own: Owner,
        response: Response,
        photo: Picture,
        mask: MaybePicture = None,
        recipe: Annotated[str | None, Form()] = None,
        visibility: AskedVisibility = None,
        levels: Annotated[
            float | None,
            Form(ge=1, le=255, description="Largest change of 255, instead of what may be seen."),
        ] = None,
        file_type: AskedType = "same",
        strip_gps: Annotated[bool, Form(description="Leave out where it was taken.")] = False,
        forbid_ai: Annotated[
            bool, Form(description="Say in its XMP that AI may not train with it nor edit it.")
        ] = False,
        key: Key = None,
    ) -> JobView:
        """Immunize a photo."""
        file = named(recipe)
        if visibility is not None and levels is not None:
            raise Problem(422, "wrong-request", "send visibility or levels, not both")
        if visibility is not None and (recipe or first) not in by_sight:
            raise Problem(
                422,
                "wrong-request",
                "what is seen of the change is not bounded by this recipe here: leave visibility "
                "out",
            )
        if levels is not None and (recipe or first) not in in_levels:
            raise Problem(422, "wrong-request", "this recipe has no largest change: leave it out")
        if levels is not None and levels > most:
            raise Problem(422, "wrong-request", f"this service changes photos by {most:g} at most")
        asked = {
            "recipe": file,
            "visibility": visibility,
            "levels": levels,
            "suffix": "" if file_type == "same" else f".{file_type}",
            "strip_gps": strip_gps,
            "forbid_ai": forbid_ai,
        }
        uploads = {"photo": photo, "mask": mask}
        job = await intake.take(Order("immunizations", asked, uploads, own, key))
        return accepted(job, response)

    @router.post("/renewals", status_code=202)
    async def renew(
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
        """Bring a photo up to today's register within its first budget."""
        asked = {
            "recipe": named(recipe),
            "certificate": certificate,
            "suffix": "" if file_type == "same" else f".{file_type}",
        }
        uploads = {"photo": photo, "original": original, "mask": mask}
        job = await intake.take(Order("renewals", asked, uploads, own, key))
        return accepted(job, response)

    @router.post("/checks", status_code=202)
    async def check(
        own: Owner,
        response: Response,
        photo: Picture,
        original: MaybePicture = None,
        certificate: Annotated[str | None, Form(max_length=MAX_BYTES)] = None,
        key: Key = None,
    ) -> JobView:
        """Is this photo immunized, against what, how strongly: by its original or certificate."""
        if original is None and certificate is None:
            raise Problem(422, "wrong-request", "send the original, or the certificate, or both")
        uploads = {"photo": photo, "original": original}
        asked = {"certificate": certificate}
        job = await intake.take(Order("checks", asked, uploads, own, key))
        return accepted(job, response)

    @router.post("/immunizations/{job}/edits", status_code=202)
    def edit(
        own: Owner,
        response: Response,
        job: Id,
        prompt: Annotated[str, Form(min_length=1, max_length=200)],
        mode: Annotated[Literal["instruct", "img2img"], Form()] = "instruct",
        seed: Annotated[int, Form(ge=0, le=2**31)] = 0,
    ) -> JobView:
        """Try an edit of the original and of the immunized photo, with the same noise."""
        asked = {"prompt": prompt, "mode": mode, "seed": seed}
        made = finished("immunizations", job, own)
        try:
            return accepted(intake.follow(made, asked, owner=own), response)
        except FileNotFoundError:
            raise Problem(410, "expired", "the result has expired and was deleted") from None

    @router.get("/{kind}/{job}")
    def show(own: Owner, kind: Kind, job: Id) -> JobView:
        """A job and how far it is."""
        return view(found(kind, job, own))

    @router.delete("/{kind}/{job}", status_code=204)
    def cancel(own: Owner, kind: Kind, job: Id) -> None:
        """Stop a job and delete everything that belongs to it."""
        jobs.cancel(found(kind, job, own).id)

    @router.get(
        "/{kind}/{job}/events",
        response_class=StreamingResponse,
        responses=_gives("text/event-stream"),
    )
    def events(own: Owner, kind: Kind, job: Id) -> StreamingResponse:
        """Progress as server-sent events, until the job has ended."""
        found(kind, job, own)
        return StreamingResponse(_events(jobs, job, view), media_type="text/event-stream")

    @router.get(
        "/{kind}/{job}/photo", response_class=Response, responses=_gives(*MEDIA_TYPES.values())
    )
    def photo(own: Owner, kind: Pictured, job: Id) -> Response:
        """The immunized photo."""
        made = finished(kind, job, own)
        name = (made.result or {}).get("file")
        if name is None:
            raise Problem(404, "no-photo", "nothing was lacking, so there is no new photo")
        suffix = Path(name).suffix
        return _file(jobs.output(made) / name, MEDIA_TYPES[suffix], f"immunized{suffix}")

    @router.get(
        "/{kind}/{job}/certificate", response_class=Response, responses=_gives("application/json")
    )
    def certificate(own: Owner, kind: Pictured, job: Id) -> Response:
        """The photo's certificate."""
        made = finished(kind, job, own)
        file = jobs.output(made) / "certificate.json"
        return _file(file, "application/json", "certificate.json")

    @router.get(
        "/immunizations/{job}/original", response_class=Response, responses=_gives("image/png")
    )
    def original(own: Owner, job: Id) -> Response:
        """The photo as it was decoded, for comparing."""
        made = finished("immunizations", job, own)
        return _file(jobs.output(made) / "original.png", "image/png", "original.png")

    @router.get("/immunizations/{job}/flip", response_class=Response, responses=_gives("image/png"))
    def flip(own: Owner, job: Id) -> Response:
        """Where the change is seen: FLIP's map, black where it is not, over purple to yellow."""
        made = finished("immunizations", job, own)
        if not (made.result or {}).get("flip"):
            raise Problem(404, "no-map", "it was not measured where the change is seen")
        return _file(jobs.output(made) / "flip.png", "image/png", "flip.png")

    @router.get(
        "/edits/{job}/pictures/{which}", response_class=Response, responses=_gives("image/png")
    )
    def edited(own: Owner, job: Id, which: Literal["original", "immunized"]) -> Response:
        """What the editor made of the one or the other."""
        made = finished("edits", job, own)
        return _file(jobs.output(made) / f"{which}.png", "image/png", f"edit-of-{which}.png")

    @router.get("/models")
    def models() -> list[ModelView]:
        """The register."""
        day = today()
        return [ModelView.of(model, day) for model in Register(settings.register)]

    @router.get("/limits")
    def limits() -> Limits:
        """What may be asked for."""
        return Limits(
            levels=most if first in in_levels else None,
            usual_levels=usual.levels,
            visibilities=list(VISIBILITY) if first in by_sight else [],
            usual_visibility=usual.visibility,
            recipes=list(recipes),
            bytes=settings.max_bytes,
            pixels=settings.max_pixels,
        )

    @router.get("/keys")
    def keys() -> dict[str, Any]:
        """The public keys, as at /.well-known/photovax-keys.json."""
        return key_set(read_keys(settings.keys))

    @router.get("/health", responses={503: {"model": Health, "description": "No worker runs."}})
    def health(response: Response) -> Health:
        """Whether the service does its work; 503 where no worker runs."""
        alive = supervisor.alive
        if not alive:
            response.status_code = 503
        return Health(
            status="ok" if alive else "no worker runs",
            workers=alive,
            queued=jobs.counts()["queued"],
            version=VERSION,
        )

    return router


async def _events(jobs: Jobs, job: str, view: Any) -> AsyncIterator[str]:
    last, said = "", time.monotonic()
    while True:
        known = await anyio.to_thread.run_sync(jobs.get, job)
        if known is None:
            return
        text = view(known).model_dump_json()
        if text != last:
            last, said = text, time.monotonic()
            name = "end" if known.state.final else "progress"
            yield f"event: {name}\ndata: {text}\n\n"
        elif time.monotonic() - said > _KEEP_ALIVE:
            said = time.monotonic()
            yield ": still here\n\n"
        if known.state.final:
            return
        await anyio.sleep(_POLL)


def _file(path: Path, media: str, name: str) -> Response:
    """A file that may be deleted while it is sent."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise Problem(410, "expired", "the result has expired and was deleted") from None

    def chunks() -> Iterator[bytes]:
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": f'attachment; filename="{name}"',
    }
    return StreamingResponse(chunks(), media_type=media, headers=headers)
