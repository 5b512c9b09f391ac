"""Where the table of jobs is stored: a SQLite file, or PostgreSQL (``postgres.py``).

Statements are written once, with ``?`` for values, in the SQL that both databases understand.
What differs between the two is in their two classes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from photovax.service.jobs.job import Unreachable

__all__ = ["Connection", "Cursor", "Database", "Sqlite", "reachable"]


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that the statement changed."""

    def fetchone(self) -> Any:
        """Return the next row, a mapping from column names, or None."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""


class Connection(Protocol):
    """Runs statements. Each is a transaction of its own unless one has begun."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run a statement."""


class Database(Protocol):
    """A database that holds the table of jobs.

    Attributes:
        shared: Whether services on other machines can use it at the same time.
        free: SQL at the end of a subquery that skips rows which another transaction is changing.
    """

    shared: bool
    free: str

    def connection(self) -> AbstractContextManager[Connection]:
        """Open a connection for this thread alone.

        Raises:
            Unreachable: If the database cannot be reached or the connection breaks.
        """

    def alone(self) -> AbstractContextManager[Connection]:
        """Open a connection with one transaction, which excludes all others opened this way.

        Raises:
            Unreachable: If the database cannot be reached or the connection breaks.
        """

    def now(self, connection: Connection) -> float:
        """Return the Unix time in seconds by the one clock that all users of it share."""

    def close(self) -> None:
        """Close every open connection."""


@contextmanager
def reachable(errors: type[Exception]) -> Iterator[None]:
    """Replace errors of a database's library by one that is the same for both.

    Raises:
        Unreachable: If the code inside raises one of ``errors``.
    """
    try:
        yield
    except errors as error:
        raise Unreachable(
            f"the table of jobs is out of reach ({type(error).__name__}); try again later"
        ) from error


class Sqlite:
    """A SQLite file in WAL mode.

    Args:
        file: Path of the file, created when missing.
    """

    shared = False
    free = ""  # a statement that writes locks the whole file

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a new connection, which costs next to nothing."""
        with (
            reachable(sqlite3.Error),
            closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection,
        ):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # Deleted prompts are overwritten in the file as well.
            connection.execute("PRAGMA secure_delete = ON")
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """Open a connection with a transaction that excludes all other writers."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def now(self, connection: Connection) -> float:
        """Return the time by this machine's clock."""
        return time.time()

    def close(self) -> None:
        """Do nothing: no connection stays open."""
