"""The bodies of answers."""

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
    """A job and its progress."""

    id: str
    kind: str
    state: str = Field(description="queued, running, done, failed, cancelled or expired")
    done: int = Field(description="number of steps done")
    steps: int = Field(description="number of steps in all; 0 until known")
    seconds_left: float | None = Field(
        description="estimated time until the last step; null before the first and after the last, "
        "when the result is measured"
    )
    created: datetime
    expires: datetime | None = Field(description="time at which pictures and result are deleted")
    result: dict[str, Any] | None
    error: dict[str, str] | None = Field(description="kind and message of the failure")
    links: dict[str, str]


class ModelView(BaseModel):
    """A model of the register."""

    name: str
    version: str
    sha256: str
    since: date
    until: date | None
    supported: bool

    @classmethod
    def of(cls, model: Registered, day: date) -> ModelView:
        """Describe a model without the place it is loaded from."""
        return cls(
            name=model.name,
            version=model.version,
            sha256=model.sha256,
            since=model.since,
            until=model.until,
            supported=model.supported(day),
        )


class Limits(BaseModel):
    """What clients may ask of the service."""

    levels: float | None = Field(
        description="the largest value of levels (of 255) for the default recipe; null where "
        "levels cannot be sent"
    )
    usual_levels: float | None = Field(
        description="largest change in levels of 255 by default; null where it is not bounded"
    )
    visibilities: list[str] = Field(
        description="values of visibility for the default recipe; none where it does not bound "
        "the visibility of the change"
    )
    usual_visibility: str | None = Field(
        description="default value of visibility; null where it has no word"
    )
    radii: dict[str, float] = Field(
        description="limit on the change for each of these visibilities, in thresholds of vision"
    )
    requests: list[str] = Field(
        description="instructions that the editor of POST …/edits was trained on; there are others"
    )
    recipes: list[str] = Field(description="names of recipes; the first is the default")
    bytes: int = Field(description="largest size of one upload, all parts together")
    pixels: int = Field(description="largest number of pixels of one picture")


class Health(BaseModel):
    """Whether the service works."""

    status: str
    workers: int
    queued: int
    version: str


def job_view(job: Job, keep_seconds: float, root_path: str = "") -> JobView:
    """Describe a job to its owner.

    Args:
        job: The job.
        keep_seconds: Time for which its result is kept.
        root_path: Path under which clients see the service.
    """
    result = {key: value for key, value in (job.result or {}).items() if key != "output"}
    here = f"{root_path}/v1/{job.kind}/{job.id}"
    links = {"self": here, "events": f"{here}/events"}
    if job.state == "done" and result.get("file") is not None:
        links |= {"photo": f"{here}/photo", "certificate": f"{here}/certificate"}
    if job.state == "done" and job.kind == "immunizations":
        links |= {"original": f"{here}/original", "edits": f"{here}/edits"}
        links |= {name: f"{here}/{name}" for name in ("flip", "preview") if result.get(name)}
    if job.state == "done" and job.kind == "edits":
        links |= {name: f"{here}/pictures/{name}" for name in ("original", "immunized")}
    left = None
    if job.state == "running" and job.started is not None and 0 < job.done < job.steps:
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
