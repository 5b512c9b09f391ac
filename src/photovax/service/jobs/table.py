"""The table of jobs: what is to be done, by whom, and how far it is.

A worker takes a job under a lease and renews it as it goes. A job whose worker died (kill -9,
power cut, out of memory) is therefore taken up again when its lease ends, and what a worker says
about a job that is no longer its own is not believed, so each job completes once.

In SQLite for one service, in PostgreSQL for several that share it and the folder of pictures; see
``database.py``. Whatever one service does here must do the others' jobs no harm.

No queue library stands in between: those that run on SQLite forget a task once a worker has
fetched it, so this table would have to find and repeat lost jobs all the same.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from photovax.errors import UsageError, first_line
from photovax.service.jobs.database import Connection
from photovax.service.jobs.job import Clash, Job, LostJob, State, Unreachable, job_of
from photovax.service.jobs.limits import require_room
from photovax.service.jobs.open import open_database
from photovax.service.jobs.schema import SCHEMA

__all__ = ["Jobs"]

_KEEP_ROWS = 86_400


class Jobs:
    """The jobs of one service, or of several; any number of threads and processes may hold one.

    Every method raises ``Unreachable`` if the database breaks down.

    Args:
        place: The file, made where it is missing; or the URL of a PostgreSQL database.
        pictures: The folder under which each job has its own.

    Raises:
        UsageError: If the URL is none, or leads to no database, or no table can be made there.
    """

    def __init__(self, place: Path | str, pictures: Path) -> None:
        self._database = open_database(place)
        self.pictures = pictures
        pictures.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        """Whether other services may have the same jobs."""
        return self._database.shared

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def folder(self, job: str) -> Path:
        """Where a job's pictures are."""
        return self.pictures / job

    def output(self, job: Job) -> Path:
        """Where the pictures go that this attempt makes."""
        return self._output(job.id, job.attempt)

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
        """Queue a job; or, where the key was used for the same request, the job of then.

        Raises:
            Clash: If the key was used for another request.
            QueueFull: As ``check_room``.
        """
        with self._database.alone() as connection:
            if (known := self._by_key(connection, owner, idempotency, request)) is not None:
                return known
            require_room(connection, limits or {})
            now = self._database.now(connection)
            row = connection.execute(
                "INSERT INTO jobs (id, kind, owner, idempotency, request, parameters, parent, "
                "state, created) VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', ?) RETURNING *",
                (
                    *(job, kind, owner, idempotency, request, json.dumps(parameters)),
                    *(parameters.get("of"), now),
                ),
            ).fetchone()
        return job_of(row, now)

    def check_room(self, limits: Mapping[str, int]) -> None:
        """See whether another job may wait.

        Args:
            limits: How many jobs may wait of each owner, or of ``EVERYBODY``.

        Raises:
            QueueFull: If as many do already.
        """
        with self._database.connection() as connection:
            require_room(connection, limits)

    def by_key(self, owner: str, idempotency: str | None, request: str) -> Job | None:
        """The job of a former request with this key.

        Raises:
            Clash: If that was another request.
        """
        with self._database.connection() as connection:
            return self._by_key(connection, owner, idempotency, request)

    def get(self, job: str) -> Job | None:
        """A job, or None where there is none of that id."""
        with self._database.connection() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
            return None if row is None else job_of(row, self._database.now(connection))

    def claim(self, worker: str, lease: float, *, attempts: int) -> Job | None:
        """Take the oldest job that waits, or whose worker is dead.

        One that was begun ``attempts`` times without an end is given up instead.
        """
        free = self._database.free
        with self._database.connection() as connection:
            now = self._database.now(connection)
            given_up = connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, parameters = '{}', error = ? "
                "WHERE id IN (SELECT id FROM jobs "
                f"WHERE state = 'running' AND lease < ? AND attempt >= ? {free}) RETURNING id",
                (now, _error("worker-died", "its worker died each time"), now, attempts),
            ).fetchall()
            row = connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, started = ?, "
                "attempt = attempt + 1, done = 0 WHERE id = (SELECT id FROM jobs "
                "WHERE state = 'queued' OR (state = 'running' AND lease < ? AND attempt < ?) "
                f"ORDER BY created LIMIT 1 {free}) RETURNING *",
                (worker, now + lease, now, now, attempts),
            ).fetchone()
        for each in given_up:
            shutil.rmtree(self.folder(each["id"]), ignore_errors=True)
        return None if row is None else job_of(row, now)

    def progress(self, job: Job, worker: str, lease: float, done: int, steps: int) -> None:
        """Say how far a job is, and that its worker lives.

        Raises:
            LostJob: If it is not the worker's any more.
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
        """End a job with what came out.

        Raises:
            LostJob: If it is not the worker's any more.
        """
        with self._database.connection() as connection:
            self._own(
                connection,
                job,
                worker,
                "state = 'done', worker = NULL, done = steps, finished = ?, result = ?",
                self._database.now(connection),
                json.dumps({**result, "output": self.output(job).name}),
            )

    def fail(self, job: Job, worker: str, kind: str, message: str) -> None:
        """End a job with the reason why nothing came out.

        Raises:
            LostJob: If it is not the worker's any more.
        """
        with self._database.connection() as connection:
            self._own(
                connection,
                job,
                worker,
                "state = 'failed', worker = NULL, finished = ?, parameters = '{}', error = ?",
                self._database.now(connection),
                _error(kind, message),
            )

    def release(self, worker: str, *, spare: bool = False) -> None:
        """Put the job of a worker that is known to be dead back into the queue at once.

        Args:
            worker: Its name.
            spare: Whether this attempt does not count, since the worker did not die of it.
        """
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, attempt FROM jobs WHERE state = 'running' AND worker = ?", (worker,)
            ).fetchall()
            for row in rows:
                if spare:  # the next attempt has the same number, and makes its folder anew
                    shutil.rmtree(self._output(row["id"], row["attempt"]), ignore_errors=True)
                connection.execute(
                    "UPDATE jobs SET lease = 0, attempt = attempt - ? "
                    "WHERE id = ? AND state = 'running' AND worker = ?",
                    (int(spare), row["id"], worker),
                )

    def release_all(self) -> None:
        """The same for every worker: for a service that starts, and shares its jobs with none."""
        with self._database.connection() as connection:
            connection.execute("UPDATE jobs SET lease = 0 WHERE state = 'running'")

    def cancel(self, job: str) -> bool:
        """End a job, and edits of what it gave, and delete their pictures.

        Returns:
            Whether there was anything to delete.
        """
        with self._database.connection() as connection:
            ends = [
                each
                for each in (job, *_edits_of(connection, job))
                if connection.execute(
                    "UPDATE jobs SET state = 'cancelled', finished = ?, parameters = '{}', "
                    "result = NULL WHERE id = ? AND state NOT IN ('cancelled', 'expired')",
                    (self._database.now(connection), each),
                ).rowcount
            ]
        for each in (job, *ends):
            shutil.rmtree(self.folder(each), ignore_errors=True)
        return bool(ends)

    def overdue(self, workers: Sequence[str], seconds: float) -> list[tuple[str, str]]:
        """Fail jobs that these workers have for longer; their ids, and the workers to stop.

        A job whose worker is dead waits for another, so its time does not count.
        """
        message = f"took longer than the {seconds:g} s allowed"
        with self._database.connection() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, parameters = '{}', error = ? "
                f"WHERE state = 'running' AND started < ? AND worker IN ({_marks(workers)}) "
                "RETURNING id, worker",
                (now, _error("too-long", message), now - seconds, *workers),
            ).fetchall()
        return [(row["id"], row["worker"]) for row in rows]

    def expire(self, seconds: float) -> list[str]:
        """Delete the pictures, parameters and results of jobs that ended so long ago."""
        with self._database.connection() as connection:
            now = self._database.now(connection)
            rows = connection.execute(
                "SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') "
                "AND finished < ?",
                (now - seconds,),
            ).fetchall()
            # Edits hold copies of the photo, so they go with it, however young they are.
            gone = [each for row in rows for each in (*_edits_of(connection, row["id"]), row["id"])]
            for job in dict.fromkeys(gone):
                # Pictures first: killed in between, the next round does it again. So may another
                # service at the same time.
                shutil.rmtree(self.folder(job), ignore_errors=True)
                connection.execute(
                    "UPDATE jobs SET state = 'expired', parameters = '{}', result = NULL, "
                    "error = NULL, finished = coalesce(finished, ?) WHERE id = ?",
                    (now, job),
                )
        return list(dict.fromkeys(gone))

    def forget(self, seconds: float) -> None:
        """Delete the rows of jobs that expired a day ago, their results being kept for so long."""
        with self._database.connection() as connection:
            connection.execute(
                "DELETE FROM jobs WHERE state = 'expired' AND finished < ?",
                (self._database.now(connection) - seconds - _KEEP_ROWS,),
            )

    def sweep(self, age: float = 0) -> None:
        """Delete folders that belong to no job: uploads that were under way at a kill.

        Args:
            age: Spare those that changed within so many seconds: they may be uploads that are
                under way now, here or in another service.
        """
        with self._database.connection() as connection:
            known = {
                row["id"]
                for row in connection.execute(
                    "SELECT id FROM jobs WHERE state NOT IN ('cancelled', 'expired')"
                ).fetchall()
            }
        for folder in self.pictures.iterdir():
            with suppress(FileNotFoundError):  # another service was faster
                if folder.name not in known and (
                    not age or time.time() - folder.stat().st_mtime > age
                ):
                    shutil.rmtree(folder, ignore_errors=True)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT state, count(*) AS n FROM jobs GROUP BY state"
            ).fetchall()
            found = {row["state"]: row["n"] for row in rows}
        return {state.value: found.get(state.value, 0) for state in State}

    def let_go(self, job: Job, worker: str) -> None:
        """Say that a worker has stopped work on a job that it lost."""
        with self._database.connection() as connection:
            connection.execute(
                "UPDATE jobs SET worker = NULL WHERE id = ? AND worker = ? AND state != 'running'",
                (job.id, worker),
            )

    def deaf(self, workers: Sequence[str], seconds: float) -> list[str]:
        """Those of these workers that went on for so long with a job that was ended."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, worker FROM jobs WHERE state NOT IN ('queued', 'running') "
                f"AND finished < ? AND worker IN ({_marks(workers)})",
                (self._database.now(connection) - seconds, *workers),
            ).fetchall()
            for row in rows:
                connection.execute("UPDATE jobs SET worker = NULL WHERE id = ?", (row["id"],))
        return [row["worker"] for row in rows]

    def _output(self, job: str, attempt: int) -> Path:
        return self.folder(job) / f"out-{attempt}"

    def _own(
        self, connection: Connection, job: Job, worker: str, change: str, *values: Any
    ) -> None:
        changed = connection.execute(
            f"UPDATE jobs SET {change} "
            "WHERE id = ? AND worker = ? AND attempt = ? AND state = 'running'",
            (*values, job.id, worker, job.attempt),
        ).rowcount
        if not changed:
            raise LostJob("the job was cancelled, or is another worker's now")

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


def _edits_of(connection: Connection, job: str) -> list[str]:
    rows = connection.execute(
        "SELECT id FROM jobs WHERE parent = ? AND state != 'expired'", (job,)
    ).fetchall()
    return [row["id"] for row in rows]


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _error(kind: str, message: str) -> str:
    return json.dumps({"kind": kind, "message": message})
