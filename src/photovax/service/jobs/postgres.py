"""The table of jobs in PostgreSQL, for services on several machines. Needs psycopg."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from photovax.errors import UsageError, first_line
from photovax.service.jobs.database import Connection, reachable

__all__ = ["Postgres"]

_ADVICE = "write postgresql://user:password@host/name, with %40 for @ and %2F for / within a part"
_ALONE = 0x70686F746F766178  # the lock's number: "photovax" in ASCII
_CONNECTIONS = 8
_PATIENCE = 30.0
_USUAL = {
    "application_name": "photovax",
    "connect_timeout": "10",
    "tcp_user_timeout": "30000",  # in ms; a lost peer must not block a worker for hours
}


class Postgres:
    """A database on a PostgreSQL server.

    Args:
        url: ``postgresql://…``; libpq takes missing parts from its environment and files.

    Raises:
        UsageError: If the URL is malformed or no database answers there.
    """

    shared = True
    free = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str) -> None:
        parts = {**_USUAL, **_parts(url)}
        try:
            psycopg.connect(**parts).close()
        except psycopg.Error as error:
            raise UsageError(f"the database cannot be reached: {first_line(error)}") from None
        self._pool = ConnectionPool(
            kwargs={
                **parts,
                "autocommit": True,
                "prepare_threshold": None,  # a pooler may send statements to other servers
                "row_factory": dict_row,
            },
            min_size=0,
            max_size=_CONNECTIONS,
            timeout=_PATIENCE,
            check=ConnectionPool.check_connection,
            open=True,
        )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Take a connection from the pool; waits while the server restarts."""
        with reachable(psycopg.Error), self._pool.connection() as connection:
            yield _Asking(connection)

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Open a transaction under an advisory lock; other statements are not blocked."""
        with (
            reachable(psycopg.Error),
            self._pool.connection() as connection,
            connection.transaction(),
        ):
            asking = _Asking(connection)
            asking.execute("SELECT pg_advisory_xact_lock(?)", (_ALONE,))
            yield asking

    def now(self, connection: Connection) -> float:
        """Return the time by the server's clock."""
        row = connection.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"
        ).fetchone()
        return float(row["now"])

    def close(self) -> None:
        """Close the pool."""
        self._pool.close()


class _Asking:
    """A connection that accepts ``?`` as the placeholder."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        # Values are sent apart from the statement, so that logs of statements hold no prompts.
        return self._connection.execute(statement.replace("?", "%s").encode(), values)


def _parts(url: str) -> Mapping[str, Any]:
    """Split a URL. Errors do not repeat it: it may hold a password."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise UsageError(f"the database's URL is not one of PostgreSQL; {_ADVICE}")
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise UsageError(f"the database's URL cannot be read; {_ADVICE}") from None
    # libpq misreads a password that contains @ or /, and would show part of it as the host.
    if any("@" in str(parts.get(name, "")) for name in ("host", "port", "dbname")):
        raise UsageError(f"the database's URL cannot be read; {_ADVICE}")
    return parts
