"""What routes are given: the service they answer for, whose request it is, the job it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request
from fastapi import Path as InPath

from photovax.service.http.answers import JobView, job_view
from photovax.service.http.offer import Offer
from photovax.service.http.problems import Problem
from photovax.service.jobs.job import Job, State
from photovax.service.jobs.table import Jobs
from photovax.service.settings import Settings
from photovax.service.workers.intake import Intake
from photovax.service.workers.supervisor import Supervisor

__all__ = [
    "Context",
    "Id",
    "Kind",
    "Named",
    "Owner",
    "Service",
    "finished",
    "provide",
]

Id = Annotated[str, InPath(pattern="^[0-9a-f]{32}$")]
Kind = Literal["immunizations", "renewals", "checks", "edits"]


@dataclass(frozen=True)
class Context:
    """The parts of one service.

    Attributes:
        settings: What the provider set.
        offer: What clients may ask for.
        jobs: The table of jobs.
        intake: Takes requests in.
        supervisor: Keeps the workers running.
    """

    settings: Settings
    offer: Offer
    jobs: Jobs
    intake: Intake
    supervisor: Supervisor

    def view(self, job: Job) -> JobView:
        """A job as its owner sees it."""
        return job_view(job, self.settings.keep_seconds)


def provide(app: FastAPI, context: Context) -> None:
    """Let an application's routes answer for this service."""
    app.state.context = context


def _service(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _owner(request: Request) -> str:
    """Whose request it is, as the guard found."""
    return str(request.state.owner)


Service = Annotated[Context, Depends(_service)]
Owner = Annotated[str, Depends(_owner)]


def _named(service: Service, own: Owner, kind: Kind, job: Id) -> Job:
    return _found(service, own, kind, job)


Named = Annotated[Job, Depends(_named)]
"""The job of the path, whatever its kind and state, as long as its result is kept."""


def finished(service: Context, own: str, kind: str, job: str) -> Job:
    """A job that is done.

    Raises:
        Problem: If there is no such job of that kind and owner, or it is in another state.
    """
    known = _found(service, own, kind, job)
    if known.state is not State.DONE:
        raise Problem(409, "not-done", f"the job is {known.state.value}")
    return known


def _found(service: Context, own: str, kind: str, job: str) -> Job:
    known = service.jobs.get(job)
    if known is None or known.kind != kind or known.owner != own:
        raise Problem(404, "no-such-job", "there is no such job")
    if known.state is State.EXPIRED:
        raise Problem(410, "expired", "the result has expired and was deleted")
    return known
