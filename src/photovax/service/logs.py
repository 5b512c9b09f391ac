"""The service's log. It never holds a picture's name or a prompt."""

from __future__ import annotations

import sys
import traceback

__all__ = ["UNEXPECTED", "say", "say_unexpected", "unexpected"]

UNEXPECTED = "an unexpected error occurred"
"""Message for clients."""


def say(who: str, line: str) -> None:
    """Write one line to standard error."""
    print(f"{who}: {line}", file=sys.stderr, flush=True)


def unexpected(error: Exception) -> str:
    """The class of an error and where it came from, without its message.

    That may hold a prompt.
    """
    return f"unexpected {type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def say_unexpected(who: str, error: Exception) -> None:
    """Write what ``unexpected`` says of an error."""
    say(who, unexpected(error))
