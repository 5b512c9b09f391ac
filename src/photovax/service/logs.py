"""The service's log. It never holds a picture's name or a prompt."""

from __future__ import annotations

import sys
import traceback

__all__ = ["UNEXPECTED", "say", "say_unexpected"]

UNEXPECTED = "an unexpected error occurred"
"""Message for clients."""


def say(who: str, line: str) -> None:
    """Write one line to standard error."""
    print(f"{who}: {line}", file=sys.stderr, flush=True)


def say_unexpected(who: str, error: Exception) -> None:
    """Write where an error came from, without its message, which may hold a prompt."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    say(who, f"unexpected {type(error).__name__}\n{frames}")
