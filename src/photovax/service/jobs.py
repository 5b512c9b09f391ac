"""The table of jobs: what is to be done, by whom, and how far it is. SQLite, in WAL mode.

A worker takes a job under a lease and renews it as it goes. A job whose worker died (kill -9,
power cut, out of memory) is therefore taken up again when its lease ends, and what a worker says
about a job that is no longer its own is not believed, so each job completes once.

No queue library stands in between: those that run on SQLite forget a task once a worker has
fetched it, so this table would have to find and repeat lost jobs all the same.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from photovax.service.job import Clash, Job, LostJob, QueueFull, State, job_of

__all__ = ["Jobs"]

_KEEP_ROWS = 86_400
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    idempotency TEXT,
    request TEXT NOT NULL,
    parameters TEXT NOT NULL,
    state TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    error TEXT,
    worker TEXT,
    lease REAL,
    attempt INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    UNIQUE (owner, idempotency)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created);
"""


class Jobs:
    """The jobs of one service; any number of threads and processes may hold one.

    Args:
        database: The file, made where it is missing.
        pictures: The folder under which each job has its own.
    """

    def __init__(self, database: Path, pictures: Path) -> None:
        self._database = database
        self.pictures = pictures
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pictures.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)

    def folder(self, job: str) -> Path:
        """Where a job's pictures are."""
        return self.pictures / job

    def output(self, job: Job) -> Path:
        """Where the pictures go that this attempt makes."""
        return self.folder(job.id) / f"out-{job.attempt}"

    def add(
        self,
        job: str,
        kind: str,
        parameters: dict[str, Any],
        *,
        request: str,
        owner: str = "",
        idempotency: str | None = None,
        limit: int | None = None,
    ) -> Job:
        """Queue a job; or, where the key was used for the same request, the job of then.

        Raises:
            Clash: If the key was used for another request.
            QueueFull: If ``limit`` jobs wait already.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if (known := self._by_key(connection, owner, idempotency, request)) is not None:
                return known
            if limit is not None:
                waiting = connection.execute(
                    "SELECT count(*) FROM jobs WHERE state = 'queued'"
                ).fetchone()[0]
                if waiting >= limit:
                    raise QueueFull(f"{waiting} jobs wait already; try again later")
            row = connection.execute(
                "INSERT INTO jobs (id, kind, owner, idempotency, request, parameters, state, "
                "created) VALUES (?, ?, ?, ?, ?, ?, 'queued', ?) RETURNING *",
                (job, kind, owner, idempotency, request, json.dumps(parameters), time.time()),
            ).fetchone()
            connection.execute("COMMIT")
        return job_of(row)

    def by_key(self, owner: str, idempotency: str | None, request: str) -> Job | None:
        """The job of a former request with this key.

        Raises:
            Clash: If that was another request.
        """
        with self._connection() as connection:
            return self._by_key(connection, owner, idempotency, request)

    def get(self, job: str) -> Job | None:
        """A job, or None where there is none of that id."""
        with self._connection() as connection:
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else job_of(row)

    def claim(self, worker: str, lease: float, *, attempts: int) -> Job | None:
        """Take the oldest job that waits, or whose worker is dead.

        One that was begun ``attempts`` times without an end is given up instead.
        """
        now = time.time()
        with self._connection() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, parameters = '{}', error = ? "
                "WHERE state = 'running' AND lease < ? AND attempt >= ?",
                (now, _error("worker-died", "its worker died each time"), now, attempts),
            )
            row = connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, started = ?, "
                "attempt = attempt + 1, done = 0 WHERE id = (SELECT id FROM jobs "
                "WHERE state = 'queued' OR (state = 'running' AND lease < ?) "
                "ORDER BY created LIMIT 1) RETURNING *",
                (worker, now + lease, now, now),
            ).fetchone()
        return None if row is None else job_of(row)

    def progress(self, job: Job, worker: str, lease: float, done: int, steps: int) -> None:
        """Say how far a job is, and that its worker lives.

        Raises:
            LostJob: If it is not the worker's any more.
        """
        self._own(
            job,
            worker,
            "lease = ?, done = max(done, ?), steps = max(steps, ?)",
            (time.time() + lease, done, steps),
        )

    def finish(self, job: Job, worker: str, result: dict[str, Any]) -> None:
        """End a job with what came out.

        Raises:
            LostJob: If it is not the worker's any more.
        """
        self._own(
            job,
            worker,
            "state = 'done', worker = NULL, done = steps, finished = ?, result = ?",
            (time.time(), json.dumps({**result, "output": self.output(job).name})),
        )

    def fail(self, job: Job, worker: str, kind: str, message: str) -> None:
        """End a job with the reason why nothing came out.

        Raises:
            LostJob: If it is not the worker's any more.
        """
        self._own(
            job,
            worker,
            "state = 'failed', worker = NULL, finished = ?, error = ?",
            (time.time(), _error(kind, message)),
        )

    def release(self, worker: str) -> None:
        """Put the job of a worker that is known to be dead back into the queue at once."""
        with self._connection() as connection:
            connection.execute(
                "UPDATE jobs SET lease = 0 WHERE state = 'running' AND worker = ?", (worker,)
            )

    def release_all(self) -> None:
        """The same for every worker: for a service that starts."""
        with self._connection() as connection:
            connection.execute("UPDATE jobs SET lease = 0 WHERE state = 'running'")

    def cancel(self, job: str) -> bool:
        """End a job, and edits of what it gave, and delete their pictures.

        Returns:
            Whether there was anything to delete.
        """
        with self._connection() as connection:
            ends = [
                each
                for each in (job, *_edits_of(connection, job))
                if connection.execute(
                    "UPDATE jobs SET state = 'cancelled', finished = ?, parameters = '{}', "
                    "result = NULL WHERE id = ? AND state NOT IN ('cancelled', 'expired')",
                    (time.time(), each),
                ).rowcount
            ]
        for each in (job, *ends):
            shutil.rmtree(self.folder(each), ignore_errors=True)
        return bool(ends)

    def overdue(self, seconds: float) -> list[tuple[str, str]]:
        """Fail jobs that have run for longer; their ids, and the workers to stop."""
        message = f"took longer than the {seconds:g} s allowed"
        now = time.time()
        with self._connection() as connection:
            rows = connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, error = ? "
                "WHERE state = 'running' AND started < ? RETURNING id, worker",
                (now, _error("too-long", message), now - seconds),
            ).fetchall()
        return [(row["id"], row["worker"]) for row in rows]

    def expire(self, seconds: float) -> list[str]:
        """Delete the pictures, parameters and results of jobs that ended so long ago."""
        now = time.time()
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT id FROM jobs WHERE finished < ? AND state != 'expired'", (now - seconds,)
            ).fetchall()
            # Edits hold copies of the photo, so they go with it, however young they are.
            gone = [each for row in rows for each in (*_edits_of(connection, row["id"]), row["id"])]
            for job in dict.fromkeys(gone):
                # Pictures first: killed in between, the next round does it again.
                shutil.rmtree(self.folder(job), ignore_errors=True)
                connection.execute(
                    "UPDATE jobs SET state = 'expired', parameters = '{}', result = NULL, "
                    "error = NULL, finished = coalesce(finished, ?) WHERE id = ?",
                    (now, job),
                )
            connection.execute("DELETE FROM jobs WHERE finished < ?", (now - seconds - _KEEP_ROWS,))
        return list(dict.fromkeys(gone))

    def sweep(self) -> None:
        """Delete folders that belong to no job: uploads that were under way at a kill."""
        with self._connection() as connection:
            known = {
                row["id"]
                for row in connection.execute(
                    "SELECT id FROM jobs WHERE state NOT IN ('cancelled', 'expired')"
                )
            }
        for folder in self.pictures.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self._connection() as connection:
            rows = connection.execute("SELECT state, count(*) AS n FROM jobs GROUP BY state")
            found = {row["state"]: row["n"] for row in rows}
        return {state.value: found.get(state.value, 0) for state in State}

    def let_go(self, job: Job, worker: str) -> None:
        """Say that a worker has stopped work on a job that it lost."""
        with self._connection() as connection:
            connection.execute(
                "UPDATE jobs SET worker = NULL WHERE id = ? AND worker = ? AND state != 'running'",
                (job.id, worker),
            )

    def deaf(self, seconds: float) -> list[str]:
        """Workers that went on for so long with a job that was ended."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT id, worker FROM jobs WHERE state IN ('cancelled', 'expired') "
                "AND worker NOT NULL AND finished < ?",
                (time.time() - seconds,),
            ).fetchall()
            for row in rows:
                connection.execute("UPDATE jobs SET worker = NULL WHERE id = ?", (row["id"],))
        return [row["worker"] for row in rows]

    def _own(self, job: Job, worker: str, change: str, values: tuple[Any, ...]) -> None:
        with self._connection() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET {change} "  # noqa: S608 - the change is written above
                "WHERE id = ? AND worker = ? AND attempt = ? AND state = 'running'",
                (*values, job.id, worker, job.attempt),
            ).rowcount
        if not changed:
            raise LostJob("the job was cancelled, or is another worker's now")

    @staticmethod
    def _by_key(
        connection: sqlite3.Connection, owner: str, idempotency: str | None, request: str
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
        return job_of(row)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own, each statement its own transaction unless one is begun."""
        connection = sqlite3.connect(self._database, timeout=30, isolation_level=None)
        with closing(connection):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # Prompts are gone from the file, too, once they are deleted.
            connection.execute("PRAGMA secure_delete = ON")
            yield connection


def _edits_of(connection: sqlite3.Connection, job: str) -> list[str]:
    rows = connection.execute(
        "SELECT id FROM jobs WHERE kind = 'edits' AND json_extract(parameters, '$.of') = ?", (job,)
    )
    return [row["id"] for row in rows]


def _error(kind: str, message: str) -> str:
    return json.dumps({"kind": kind, "message": message})
