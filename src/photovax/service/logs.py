"""Lines of the service's log: who says what, and never a picture's name or a prompt."""

from __future__ import annotations

import sys
import traceback

__all__ = ["UNFORESEEN", "say", "say_unforeseen"]

UNFORESEEN = "something unforeseen went wrong"
"""What the client is told."""


def say(who: str, line: str) -> None:
    """Write one line."""
    print(f"{who}: {line}", file=sys.stderr, flush=True)


def say_unforeseen(who: str, error: Exception) -> None:
    """Write where an error came from, without its message, in which a prompt might stand."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    say(who, f"unforeseen {type(error).__name__}\n{frames}")
