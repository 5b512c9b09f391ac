"""Dependencies of the routes: the service, the owner of the request, the job in the path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request
from fastapi import Path as InPath

from photovax.service.http.answers import JobView, job_view
from photovax.service.http.offer import Offer
from photovax.service.http.problems import Problem, expired
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
        settings: The settings.
        offer: What clients may ask for.
        jobs: The table of jobs.
        intake: Turns requests into jobs.
        supervisor: Keeps the workers running.
    """

    settings: Settings
    offer: Offer
    jobs: Jobs
    intake: Intake
    supervisor: Supervisor

    def view(self, job: Job) -> JobView:
        """Describe a job to its owner."""
        return job_view(job, self.settings.keep_seconds, self.settings.root_path)


def provide(app: FastAPI, context: Context) -> None:
    """Give an application's routes their service."""
    app.state.context = context


def _service(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _owner(request: Request) -> str:
    """The owner of the request, as found by the guard."""
    return str(request.state.owner)


Service = Annotated[Context, Depends(_service)]
Owner = Annotated[str, Depends(_owner)]


def _named(service: Service, own: Owner, kind: Kind, job: Id) -> Job:
    return _found(service, own, kind, job)


Named = Annotated[Job, Depends(_named)]
"""The job in the path, of any kind and in any state but expired."""


def finished(service: Context, own: str, kind: str, job: str) -> Job:
    """Return a job that is done.

    Raises:
        Problem: If no job of that kind and owner has the id, or it is in another state.
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
        raise expired()
    return known
