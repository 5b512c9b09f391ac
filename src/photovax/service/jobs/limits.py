"""Limits on the number of waiting jobs."""

from __future__ import annotations

from collections.abc import Mapping

from photovax.service.jobs.database import Connection
from photovax.service.jobs.job import QueueFull

__all__ = ["EVERYBODY", "require_room"]

EVERYBODY = "*"
"""Key of the limit for all owners together; ids of owners are hexadecimal digits."""


def require_room(connection: Connection, limits: Mapping[str, int]) -> None:
    """Check that another job may be queued.

    Args:
        connection: Connection to the table of jobs.
        limits: Largest number of waiting jobs by owner, or by ``EVERYBODY`` for all owners.

    Raises:
        QueueFull: If a limit is reached.
    """
    waiting = {
        row["owner"]: row["n"]
        for row in connection.execute(
            "SELECT owner, count(*) AS n FROM jobs WHERE state = 'queued' GROUP BY owner"
        ).fetchall()
    }
    for owner, most in limits.items():
        count = sum(waiting.values()) if owner == EVERYBODY else waiting.get(owner, 0)
        if count >= most:
            whose = "jobs" if owner == EVERYBODY else "of your jobs"
            raise QueueFull(f"{count} {whose} are waiting, of {most} allowed; try again later")
