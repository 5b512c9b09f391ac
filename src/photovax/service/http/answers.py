"""What the API answers, as clients see it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from pydantic import BaseModel, Field

from photovax.certificates.register import Registered
from photovax.service.jobs.job import Job

__all__ = ["Health", "JobView", "ModelView", "ProblemView", "job_view"]


class ProblemView(BaseModel):
    """A problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class JobView(BaseModel):
    """A job and how far it is."""

    id: str
    kind: str
    state: str = Field(description="queued, running, done, failed, cancelled or expired")
    done: int = Field(description="steps done")
    steps: int = Field(description="steps in all; 0 until that is known")
    seconds_left: float | None = Field(description="estimated, while it runs")
    created: datetime
    expires: datetime | None = Field(description="when pictures and result are deleted")
    result: dict[str, Any] | None
    error: dict[str, str] | None = Field(description="kind and message, where it failed")
    links: dict[str, str]


class ModelView(BaseModel):
    """A model on the register."""

    name: str
    version: str
    sha256: str
    since: date
    until: date | None
    supported: bool

    @classmethod
    def of(cls, model: Registered, day: date) -> ModelView:
        """Without the place it is loaded from."""
        return cls(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            since=model.since,
            until=model.until,
            supported=model.supported(day),
        )


class Limits(BaseModel):
    """What may be asked of a service."""

    levels: float | None = Field(
        description="of 255, the most that may be asked for as the largest change of the usual "
        "recipe; null where that cannot be asked for"
    )
    usual_levels: float | None = Field(
        description="largest change of 255 where none is asked for; null where there is no bound"
    )
    visibilities: list[str] = Field(
        description="words for how much of the change by the usual recipe may be seen; none where "
        "that is not bounded"
    )
    usual_visibility: str | None = Field(
        description="the one where none is asked for; null where that has no word"
    )
    recipes: list[str] = Field(description="the first is the usual one")
    bytes: int = Field(description="of one upload, all its parts together")
    pixels: int = Field(description="of one picture")


class Health(BaseModel):
    """Whether the service does its work."""

    status: str
    workers: int
    queued: int
    version: str


def job_view(job: Job, keep_seconds: float) -> JobView:
    """A job as its owner sees it."""
    result = {key: value for key, value in (job.result or {}).items() if key != "output"}
    here = f"/v1/{job.kind}/{job.id}"
    links = {"self": here, "events": f"{here}/events"}
    if job.state == "done" and result.get("file") is not None:
        links |= {"photo": f"{here}/photo", "certificate": f"{here}/certificate"}
    if job.state == "done" and job.kind == "immunizations":
        links |= {"original": f"{here}/original", "edits": f"{here}/edits"}
        if result.get("flip"):
            links["flip"] = f"{here}/flip"
    if job.state == "done" and job.kind == "edits":
        links |= {name: f"{here}/pictures/{name}" for name in ("original", "immunized")}
    left = None
    if job.state == "running" and job.started is not None and job.done:
        left = round((job.read - job.started) / job.done * (job.steps - job.done), 1)
    return JobView(
        id=job.id,
        kind=job.kind,
        state=job.state.value,
        done=job.done,
        steps=job.steps,
        seconds_left=left,
        created=datetime.fromtimestamp(job.created, UTC),
        expires=None
        if job.finished is None
        else datetime.fromtimestamp(job.finished + keep_seconds, UTC),
        result=None if job.result is None else result,
        error=job.error,
        links=links,
    )
