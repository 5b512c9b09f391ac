"""The table of jobs in PostgreSQL, for services on several machines; needs psycopg."""

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
_ALONE = 0x70686F746F766178  # names the lock: "photovax"
_CONNECTIONS = 8
_PATIENCE = 30.0
_USUAL = {
    "application_name": "photovax",
    "connect_timeout": "10",
    "tcp_user_timeout": "30000",  # ms: a peer that is gone must not hold a worker's pulse for hours
}


class Postgres:
    """A database on a server.

    Args:
        url: ``postgresql://…``; what it leaves out, libpq takes from its environment and files.

    Raises:
        UsageError: If that is no such URL, or it leads to no database.
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
                "prepare_threshold": None,  # a pooler between may hand statements to others
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
        """A connection of the pool; waits for the server if it is being restarted."""
        with reachable(psycopg.Error), self._pool.connection() as connection:
            yield _Asking(connection)

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A transaction under a lock; statements outside go on beside it."""
        with (
            reachable(psycopg.Error),
            self._pool.connection() as connection,
            connection.transaction(),
        ):
            asking = _Asking(connection)
            asking.execute("SELECT pg_advisory_xact_lock(?)", (_ALONE,))
            yield asking

    def now(self, connection: Connection) -> float:
        """The server's clock."""
        row = connection.execute(
            "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"
        ).fetchone()
        return float(row["now"])

    def close(self) -> None:
        """End the pool."""
        self._pool.close()


class _Asking:
    """A connection that understands ``?``."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        # Values go beside the statement, so that a server's log of statements holds no prompt.
        return self._connection.execute(statement.replace("?", "%s").encode(), values)


def _parts(url: str) -> Mapping[str, Any]:
    """A URL taken apart; what is wrong with it is not repeated, for a password may stand there."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise UsageError(f"the database's URL is not one of PostgreSQL; {_ADVICE}")
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:
        raise UsageError(f"the database's URL cannot be read; {_ADVICE}") from None
    # So does libpq read a password with @ or / in it, and would then show the rest as a host.
    if any("@" in str(parts.get(name, "")) for name in ("host", "port", "dbname")):
        raise UsageError(f"the database's URL cannot be read; {_ADVICE}")
    return parts
