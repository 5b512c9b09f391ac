"""How many jobs may wait."""

from __future__ import annotations

from collections.abc import Mapping

from photovax.service.jobs.database import Connection
from photovax.service.jobs.job import QueueFull

__all__ = ["EVERYBODY", "require_room"]

EVERYBODY = "*"
"""Stands for all owners, who are named in hexadecimal digits."""


def require_room(connection: Connection, limits: Mapping[str, int]) -> None:
    """See whether another job may wait.

    Args:
        connection: To the table of jobs.
        limits: How many jobs may wait of each owner, or of ``EVERYBODY``.

    Raises:
        QueueFull: If as many do already.
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
            whose = "" if owner == EVERYBODY else " of yours"
            raise QueueFull(f"jobs{whose} that wait already: {count}; try again later")
