"""One job: its row in the table, its states, and the errors of the table."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from photovax.errors import PhotovaxError

__all__ = [
    "Clash",
    "Job",
    "LostJob",
    "QueueFull",
    "State",
    "Unreachable",
    "failure",
    "job_of",
    "new_id",
]


class State(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self not in (State.QUEUED, State.RUNNING)


class Clash(PhotovaxError):
    """An idempotency key that was used for another request."""


class QueueFull(PhotovaxError):
    """The largest allowed number of jobs is waiting."""


class LostJob(PhotovaxError):
    """The job was cancelled or belongs to another worker now."""


class Unreachable(PhotovaxError):
    """The table of jobs cannot be read or written at present."""


@dataclass(frozen=True)
class Job:
    """One row of the table. Times are Unix times in seconds by the database's clock.

    Attributes:
        id: 128 random bits as hexadecimal digits.
        kind: ``immunizations``, ``renewals``, ``checks`` or ``edits``.
        owner: Id of the token that asked for it; empty where the service needs no tokens.
        request: SHA-256 of the whole request.
        parameters: The request without its pictures.
        state: The state.
        done: Number of steps done.
        steps: Number of steps in all; 0 until known.
        result: The result without its pictures.
        error: ``kind`` and ``message`` of the failure.
        attempt: Number of the current or last attempt, from 1; 0 before the first.
        created: Time at which the job was queued.
        started: Time at which the last attempt began.
        finished: Time at which the job ended.
        read: Time at which the row was read.
    """

    id: str
    kind: str
    owner: str
    request: str
    parameters: dict[str, Any]
    state: State
    done: int
    steps: int
    result: dict[str, Any] | None
    error: dict[str, str] | None
    attempt: int
    created: float
    started: float | None
    finished: float | None
    read: float


def new_id() -> str:
    """Return a new random id, which cannot be guessed."""
    return secrets.token_hex(16)


def failure(kind: str, message: str) -> str:
    """The reason of a failure as it is stored."""
    return json.dumps({"kind": kind, "message": message})


def job_of(row: Any, now: float) -> Job:
    """Convert a row of the table, read at time ``now`` by the database's clock."""
    return Job(
        id=row["id"],
        kind=row["kind"],
        owner=row["owner"],
        request=row["request"],
        parameters=json.loads(row["parameters"]),
        state=State(row["state"]),
        done=row["done"],
        steps=row["steps"],
        result=row["result"] and json.loads(row["result"]),
        error=row["error"] and json.loads(row["error"]),
        attempt=row["attempt"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        read=now,
    )
