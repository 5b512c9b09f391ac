"""Where the table of jobs is: a SQLite file, or PostgreSQL. What differs is in two small classes.

Statements are written once, with ``?`` for values, in the SQL that both understand.
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
    """What came of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row, by names of columns, or None."""

    def fetchall(self) -> list[Any]:
        """The rows that are left."""


class Connection(Protocol):
    """Runs statements, each a transaction of its own unless one is begun."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run a statement."""


class Database(Protocol):
    """One of the two.

    Attributes:
        shared: Whether services on other machines may use it at the same time.
        free: What a subquery ends in that takes only rows nobody is changing.
    """

    shared: bool
    free: str

    def connection(self) -> AbstractContextManager[Connection]:
        """A connection that no other thread has.

        Raises:
            Unreachable: If there is none, or it breaks.
        """

    def alone(self) -> AbstractContextManager[Connection]:
        """The same within one transaction; nobody else is in here at that time."""

    def now(self, connection: Connection) -> float:
        """Unix time, by one clock for all who share the database."""

    def close(self) -> None:
        """Let go of what is kept open."""


@contextmanager
def reachable(errors: type[Exception]) -> Iterator[None]:
    """A database's errors, as one that is the same for both."""
    try:
        yield
    except errors as error:
        raise Unreachable(
            f"the table of jobs is out of reach ({type(error).__name__}); try again later"
        ) from error


class Sqlite:
    """A file in WAL mode.

    Args:
        file: Made where it is missing.
    """

    shared = False
    free = ""  # a statement that writes has the whole file

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A new connection; they cost next to nothing."""
        with (
            reachable(sqlite3.Error),
            closing(sqlite3.connect(self._file, timeout=30, isolation_level=None)) as connection,
        ):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # Prompts are gone from the file, too, once they are deleted.
            connection.execute("PRAGMA secure_delete = ON")
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A transaction that no other can write beside."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def now(self, connection: Connection) -> float:
        """This machine's clock."""
        return time.time()

    def close(self) -> None:
        """Nothing is kept open."""
