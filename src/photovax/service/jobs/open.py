"""Opens the database that a setting names."""

from __future__ import annotations

from pathlib import Path

from photovax.extras import extra_installed
from photovax.service.jobs.database import Database, Sqlite

__all__ = ["open_database"]


def open_database(place: Path | str) -> Database:
    """Open the database in a file or at a URL.

    Raises:
        UsageError: If the URL is malformed, no database answers there, or psycopg is missing.
    """
    if isinstance(place, Path):
        return Sqlite(place)
    with extra_installed("postgres", user="PostgreSQL"):
        from photovax.service.jobs.postgres import Postgres
    return Postgres(place)
