"""What a service answers: jobs, models and refusals (problem details, RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import httpx2

from photovax.errors import PhotovaxError

__all__ = ["Model", "RemoteJob", "ServiceError", "check", "json_of", "unreachable"]


class ServiceError(PhotovaxError):
    """A request that the service refused, or a job that failed.

    Attributes:
        status: HTTP status; 200 if the request succeeded but its job failed, 0 without an answer.
        kind: Word for programs, such as ``too-many-pixels``.
        lost: Whether the service may have done what was asked, and its answer is what is missing.
    """

    def __init__(self, status: int, kind: str, detail: str, *, lost: bool = False) -> None:
        super().__init__(detail)
        self.status, self.kind, self.lost = status, kind, lost

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed soon, as while a proxy's service starts again."""
        return self.kind == "unreachable" or self.status in _PASSING


@dataclass(frozen=True)
class RemoteJob:
    """A job as described by the service.

    Attributes:
        id: Id of the job.
        kind: ``immunizations``, ``renewals``, ``checks`` or ``edits``.
        state: ``queued``, ``running``, ``done``, ``failed``, ``cancelled`` or ``expired``.
        done: Number of steps done.
        steps: Number of steps in all; 0 until known.
        seconds_left: Estimated time left while the job runs.
        created: Time at which the job was queued, RFC 3339.
        expires: Time at which pictures and result are deleted, RFC 3339.
        result: The result without its pictures.
        error: ``kind`` and ``message`` of the failure.
        links: Paths of the job's parts by name.
    """

    id: str
    kind: str
    state: str
    done: int
    steps: int
    seconds_left: float | None
    created: str
    expires: str | None
    result: dict[str, Any] | None
    error: dict[str, str] | None
    links: dict[str, str]

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.state not in ("queued", "running")

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Read the service's answer; unknown fields are ignored.

        Raises:
            ServiceError: If it is no job.
        """
        return cls(**_fields(data, cls))


@dataclass(frozen=True)
class Model:
    """A model of the service's register."""

    name: str
    version: str
    sha256: str
    since: str
    until: str | None
    supported: bool

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Read the service's answer; unknown fields are ignored.

        Raises:
            ServiceError: If it is no model.
        """
        return cls(**_fields(data, cls))


def _fields(data: Mapping[str, Any], kind: type[RemoteJob] | type[Model]) -> dict[str, Any]:
    try:
        return {field.name: data[field.name] for field in fields(kind)}
    except (KeyError, TypeError):
        raise ServiceError(200, "no-service", "no photovax service answers there") from None


_PASSING = (429, 502, 503, 504)
_LOST = (502, 504)  # a proxy's, of what is behind it


def json_of(answer: httpx2.Response) -> Any:
    """The JSON of an answer.

    Raises:
        ServiceError: If it is none, as of a web site that is no such service.
    """
    try:
        return answer.json()
    except ValueError:
        raise ServiceError(
            answer.status_code, "no-service", f"{answer.url}: no photovax service answers there"
        ) from None


def unreachable(error: httpx2.HTTPError) -> ServiceError:
    """The error of a request that got no answer."""
    # A request that was begun may have been taken.
    lost = isinstance(error, httpx2.NetworkError | httpx2.TimeoutException | httpx2.ProtocolError)
    lost = lost and not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
    return ServiceError(0, "unreachable", f"the service cannot be reached: {error}", lost=lost)


def check(answer: httpx2.Response) -> None:
    """Refuse an answer that is a refusal, whose body is read, or leads elsewhere.

    Raises:
        ServiceError: If its status is 300 or more.
    """
    if answer.status_code < 300:
        return
    if answer.status_code < 400:
        to = answer.headers.get("location", "another address")
        raise ServiceError(answer.status_code, "moved", f"the service is at {to}: use that URL")
    try:
        problem = answer.json()
        kind, detail = problem["type"].rpartition(":")[2], problem["detail"]
    except (ValueError, KeyError, TypeError):
        kind, detail = "unknown", f"the service answered {answer.status_code}"
    raise ServiceError(answer.status_code, kind, detail, lost=answer.status_code in _LOST)
