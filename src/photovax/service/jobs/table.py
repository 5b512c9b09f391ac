"""The table of jobs: requests, their state and progress, and the worker that has each.

A worker claims a job under a lease and renews the lease while it works. If the worker dies
(kill -9, power cut, out of memory), the lease ends and another worker claims the job. Updates by
a worker that no longer has the job are rejected, so each job completes once.

The table is in SQLite for one service, or in PostgreSQL for several services that share it and
the folder of pictures; see ``database.py``. A service must not disturb the jobs of the others.

No queue library is used: those that run on SQLite forget a task once a worker has fetched it, so
this table would still be needed to find and repeat lost jobs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from photovax.errors import UsageError, first_line
from photovax.service.jobs.database import Connection
from photovax.service.jobs.job import Clash, Job, LostJob, State, Unreachable, failure, job_of
from photovax.service.jobs.limits import require_room
from photovax.service.jobs.open import open_database
from photovax.service.jobs.pictures import open_pictures, output_name
from photovax.service.jobs.schema import SCHEMA, marks

__all__ = ["Jobs"]

_KEEP_ROWS = 86_400
# What was asked, which names the photo, and the client's key, which may be a file's name.
_CLEARED = "parameters = '{}', request = '', idempotency = NULL"
_DIED = "its worker died in each attempt, as when memory runs out: try a smaller photo"


class Jobs:
    """The jobs of one service or of several. Threads and processes may share the table.

    Every method raises ``Unreachable`` if the database fails.

    Args:
        place: Path of the SQLite file, created when missing, or URL of a PostgreSQL database.
        pictures: Folder, or URL of one in an object store, with a subfolder for each job.

    Attributes:
        pictures: The pictures of the jobs.

    Raises:
        UsageError: If a URL is malformed, no database or store answers there, or the table cannot
            be created.
    """

    def __init__(self, place: Path | str, pictures: Path | str) -> None:
        self._database = open_database(place)
        self.pictures = open_pictures(pictures)
        try:
            with self._database.alone() as connection:
                for statement in SCHEMA:
                    connection.execute(statement)
        except Unreachable as error:
            self.close()
            reason = first_line(error.__cause__ or error)
            raise UsageError(f"the table of jobs cannot be made: {reason}") from None

    @property
    def shared(self) -> bool:
        """Whether other services may use the same table."""
        return self._database.shared

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def add(
        self,
        job: str,
        kind: str,
        parameters: dict[str, Any],
        *,
        request: str,
        owner: str = "",
        idempotency: str | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Job:
        """Queue a job, or return the earlier job of the same request with the same key.

        Raises:
            Clash: If the key was used for another request.
            QueueFull: If a limit of ``check_room`` is reached.
            FileNotFoundError: If it edits the result of a job that was deleted meanwhile.
        """
        of = parameters.get("of")
        with self._database.alone() as connection:
            if (known := self._by_key(connection, owner, idempotency, request)) is not None:
                return known
            require_room(connection, limits or {})
            if of is not None and not _is_done(connection, of):
                raise FileNotFoundError(f"job {of} has no result any more")
            now = self._database.now(connection)
            row = connection.execute(
                "INSERT INTO jobs (id, kind, owner, idempotency, request, parameters, parent, "
                "state, created) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?) RETURNING *",
                (
                    *(job, kind, owner, idempotency, request, json.dumps(parameters)),
                    *(of, now),
                ),
            ).fetchone()
        return job_of(row, now)

    def check_room(self, limits: Mapping[str, int]) -> None:
        """Check that another job may be queued.

        Args:
            limits: Largest number of waiting jobs by owner, or by ``EVERYBODY`` for all owners.

        Raises:
            QueueFull: If a limit is reached.
        """
        with self._database.connection() as connection:
            require_room(connection, limits)

    def by_key(self, owner: str, idempotency: str | None, request: str) -> Job | None:
        """Return the job of an earlier request with this key, or None.

        Raises:
            Clash: If that was another request.
        """
        with self._database.connection() as connection:
            return self._by_key(connection, owner, idempotency, request)

    def get(self, job: str) -> Job | None:
        """Return a job, or None if the id is unknown."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
            return None if row is None else job_of(row, self._database.now(connection))

    def claim(self, worker: str, lease: float, *, attempts: int) -> Job | None:
        """Claim the oldest job that is waiting or whose worker is dead, or return None.

        A job that was begun ``attempts`` times without an end fails instead.
        """
        free = self._database.free
        with self._database.connection() as connection:
            now = self._database.now(connection)
            given_up = connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, parameters = '{}', error = ? "
                "WHERE id IN (SELECT id FROM jobs "
                f"WHERE state = 'running' AND lease < ? AND attempt >= ? {free}) RETURNING id",
                (now, failure("worker-died", _DIED), now, attempts),
            ).fetchall()
            row = connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, started = ?, "
                "attempt = attempt + 1, done = 0 WHERE id = (SELECT id FROM jobs "
                "WHERE state = 'queued' OR (state = 'running' AND lease < ? AND attempt < ?) "
                f"ORDER BY created LIMIT 1 {free}) RETURNING *",
                (worker, now + lease, now, now, attempts),
            ).fetchone()
        self.pictures.remove_all([each["id"] for each in given_up])
        return None if row is None else job_of(row, now)

    def progress(self, job: Job, worker: str, lease: float, done: int, steps: int) -> None:
        """Store progress and renew the lease.

        Raises:
            LostJob: If the worker no longer has the job.
        """
        with self._database.connection() as connection:
            self._own(
                connection,
                job,
                worker,
                "lease = ?, done = CASE WHEN done < ? THEN ? ELSE done END, "
                "steps = CASE WHEN steps < ? THEN ? ELSE steps END",
                self._database.now(connection) + lease,
                *(done, done, steps, steps),
            )

    def finish(self, job: Job, worker: str, result: dict[str, Any]) -> None:
        """End a job with its result.

        Raises:
            LostJob: If the worker no longer has the job.
        """
        with self._database.connection() as connection:
            self._own(
                connection,
                job,
                worker,
                "state = 'done', worker = NULL, done = steps, finished = ?, result = ?",
                self._database.now(connection),
                json.dumps({**result, "output": output_name(job.attempt)}),
            )

    def fail(self, job: Job, worker: str, kind: str, message: str) -> None:
        """End a job with the reason of its failure.

        Raises:
            LostJob: If the worker no longer has the job.
        """
        with self._database.connection() as connection:
            self._own(
                connection,
                job,
                worker,
                "state = 'failed', worker = NULL, finished = ?, parameters = '{}', error = ?",
                self._database.now(connection),
                failure(kind, message),
            )

    def release(self, worker: str, *, spare: bool = False) -> None:
        """End the lease of a dead worker, so that its job can be claimed at once.

        Args:
            worker: Name of the worker.
            spare: Whether the attempt does not count, because the job is not why the worker ended.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, attempt FROM jobs WHERE state = 'running' AND worker = ?", (worker,)
            ).fetchall()
            for row in rows:
                if spare:  # the next attempt has the same number and creates the same folder
                    self.pictures.remove(row["id"], row["attempt"])
                connection.execute(
                    "UPDATE jobs SET lease = 0, attempt = attempt - ? "
                    "WHERE id = ? AND state = 'running' AND worker = ?",
                    (int(spare), row["id"], worker),
                )

    def release_all(self) -> None:
        """End all leases. For the start of a service that shares its table with none."""
        with self._database.connection() as connection:
            connection.execute("UPDATE jobs SET lease = 0 WHERE state = 'running'")

    def cancel(self, job: str) -> bool:
        """Cancel a job and the edits of its result, and delete their pictures.

        Returns:
            Whether anything was cancelled.
        """
        with self._database.alone() as connection:  # so that no edit is added meanwhile
            ends = [
                each
                for each in (job, *_edits_of(connection, job))
                if connection.execute(
                    f"UPDATE jobs SET state = 'cancelled', finished = ?, {_CLEARED}, "
                    "result = NULL WHERE id = ? AND state NOT IN ('cancelled', 'expired')",
                    (self._database.now(connection), each),
                ).rowcount
            ]
        self.pictures.remove_all([job, *ends])
        return bool(ends)

    def overdue(self, workers: Sequence[str], seconds: float) -> list[tuple[str, str]]:
        """Fail the jobs that these workers have had for longer than ``seconds``.

        A job whose worker is dead waits for another worker; that time does not count.

        Returns:
            Ids of the jobs and names of their workers, which must be stopped.
        """
        message = f"the job took longer than the {seconds:g} s allowed"
        with self._database.connection() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, parameters = '{}', error = ? "
                f"WHERE state = 'running' AND started < ? AND worker IN ({marks(workers)}) "
                "RETURNING id, worker",
                (now, failure("too-long", message), now - seconds, *workers),
            ).fetchall()
        return [(row["id"], row["worker"]) for row in rows]

    def expire(self, seconds: float) -> list[str]:
        """Delete pictures, parameters and results of jobs that ended ``seconds`` ago.

        Returns:
            Ids of the jobs.
        """
        with self._database.connection() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                "SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') "
                "AND finished < ?",
                (now - seconds,),
            ).fetchall()
            # Edits hold copies of the photo, so they expire together with it.
            gone = [each for row in rows for each in (*_edits_of(connection, row["id"]), row["id"])]
        gone = list(dict.fromkeys(gone))
        if not gone:
            return []
        # Pictures first: if the process is killed in between, the next round repeats it. Another
        # service may do the same at the same time. A store takes its time, so no connection waits.
        self.pictures.remove_all(gone)
        with self._database.connection() as connection:
            # One with an edit that was asked for meanwhile expires with it, in the next round.
            gone = [job for job in gone if set(gone).issuperset(_edits_of(connection, job))]
            for job in gone:
                connection.execute(
                    f"UPDATE jobs SET state = 'expired', {_CLEARED}, result = NULL, "
                    "error = NULL, finished = coalesce(finished, ?) WHERE id = ?",
                    (now, job),
                )
        return gone

    def forget(self, seconds: float) -> None:
        """Delete the rows of jobs one day after they expired.

        Args:
            seconds: Time for which results are kept, as for ``expire``.
        """
        with self._database.connection() as connection:
            connection.execute(
                "DELETE FROM jobs WHERE state = 'expired' AND finished < ?",
                (self._database.now(connection) - seconds - _KEEP_ROWS,),
            )

    def sweep(self, age: float = 0) -> None:
        """Delete folders that belong to no job: uploads cut off when a service was killed.

        Args:
            age: Minimum age in seconds. Younger folders may be uploads in progress, also those of
                another service.
        """
        with self._database.connection() as connection:
            known = {
                row["id"]
                for row in connection.execute(
                    "SELECT id FROM jobs WHERE state NOT IN ('cancelled', 'expired')"
                ).fetchall()
            }
        self.pictures.sweep(known, age)

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT state, count(*) AS n FROM jobs GROUP BY state"
            ).fetchall()
            found = {row["state"]: row["n"] for row in rows}
        return {state.value: found.get(state.value, 0) for state in State}

    def let_go(self, job: Job, worker: str) -> None:
        """Record that a worker has stopped working on a job that it lost."""
        with self._database.connection() as connection:
            connection.execute(
                "UPDATE jobs SET worker = NULL WHERE id = ? AND worker = ? AND state != 'running'",
                (job.id, worker),
            )

    def deaf(self, workers: Sequence[str], seconds: float) -> list[tuple[str, str]]:
        """Jobs that ended ``seconds`` ago, and those of these workers that still work on them.

        Returns:
            Ids of the jobs, of which a worker may leave pictures, and names of their workers, which
            must be stopped.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, worker FROM jobs WHERE state NOT IN ('queued', 'running') "
                f"AND finished < ? AND worker IN ({marks(workers)})",
                (self._database.now(connection) - seconds, *workers),
            ).fetchall()
            for row in rows:
                connection.execute("UPDATE jobs SET worker = NULL WHERE id = ?", (row["id"],))
        return [(row["id"], row["worker"]) for row in rows]

    def _own(
        self, connection: Connection, job: Job, worker: str, change: str, *values: Any
    ) -> None:
        changed = connection.execute(
            f"UPDATE jobs SET {change} "
            "WHERE id = ? AND worker = ? AND attempt = ? AND state = 'running'",
            (*values, job.id, worker, job.attempt),
        ).rowcount
        if not changed:
            raise LostJob("the job was cancelled or belongs to another worker")

    def _by_key(
        self, connection: Connection, owner: str, idempotency: str | None, request: str
    ) -> Job | None:
        if idempotency is None:
            return None
        row = connection.execute(
            "SELECT * FROM jobs WHERE owner = ? AND idempotency = ?", (owner, idempotency)
        ).fetchone()
        if row is None:
            return None
        if row["request"] != request:
            raise Clash("this idempotency key was used for another request")
        return job_of(row, self._database.now(connection))


def _is_done(connection: Connection, job: str) -> bool:
    found = connection.execute("SELECT 1 FROM jobs WHERE id = ? AND state = 'done'", (job,))
    return found.fetchone() is not None


def _edits_of(connection: Connection, job: str) -> list[str]:
    rows = connection.execute(
        "SELECT id FROM jobs WHERE parent = ? AND state != 'expired'", (job,)
    ).fetchall()
    return [row["id"] for row in rows]
