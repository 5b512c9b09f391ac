"""The table of jobs as SQL for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SCHEMA", "marks"]

SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    idempotency TEXT,
    request TEXT NOT NULL,
    parameters TEXT NOT NULL,
    parent TEXT,
    state TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    error TEXT,
    worker TEXT,
    lease DOUBLE PRECISION,
    attempt INTEGER NOT NULL DEFAULT 0,
    created DOUBLE PRECISION NOT NULL,
    started DOUBLE PRECISION,
    finished DOUBLE PRECISION,
    UNIQUE (owner, idempotency)
)""",
    "CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, created)",
    "CREATE INDEX IF NOT EXISTS jobs_by_parent ON jobs (parent)",
    "CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (state, finished)",
)
"""Statements that create the table and its indexes where they are missing."""


def marks(values: Sequence[str]) -> str:
    """Placeholders for so many values, for a list in a statement."""
    return ", ".join("?" * len(values))
