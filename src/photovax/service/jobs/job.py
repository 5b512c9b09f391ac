"""One job: what is known of it, and the states it goes through."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from photovax.errors import PhotovaxError

__all__ = ["Clash", "Job", "LostJob", "QueueFull", "State", "Unreachable", "job_of", "new_id"]


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it but its removal."""
        return self not in (State.QUEUED, State.RUNNING)


class Clash(PhotovaxError):
    """An idempotency key that was used for another request."""


class QueueFull(PhotovaxError):
    """As many jobs wait as may."""


class LostJob(PhotovaxError):
    """The job was cancelled, or another worker has it now."""


class Unreachable(PhotovaxError):
    """The table of jobs cannot be read or written at this time."""


@dataclass(frozen=True)
class Job:
    """One row.

    Attributes:
        id: 128 random bits, in hexadecimal digits.
        kind: ``immunizations``, ``renewals``, ``checks`` or ``edits``.
        owner: Whose it is: a token's id, or nothing.
        request: SHA-256 over everything that was asked.
        parameters: What was asked, but for the pictures.
        state: Where it is.
        done: Steps done, of ``steps``.
        steps: How many there will be; 0 until that is known.
        result: What came out, but for the pictures.
        error: Why it failed: ``kind`` and ``message``.
        attempt: How often it was begun.
        created: Unix time; as are the others.
        started: When it was begun, the last time.
        finished: When it ended.
        read: When the row was read, by the same clock as the other times.
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
    """A job's id, which nobody can guess."""
    return secrets.token_hex(16)


def job_of(row: Any, now: float) -> Job:
    """The job in a row of the table, read at this time by the database's clock."""
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
