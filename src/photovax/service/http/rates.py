"""How many requests an address may make."""

from __future__ import annotations

import threading
import time

__all__ = ["Rates"]


_MANY = 10_000  # clients; of more, those that came longest ago are forgotten


class Rates:
    """Buckets that fill as time goes by: a minute's requests at once, then so many a minute.

    Args:
        per_minute: Requests of one client.
    """

    def __init__(self, per_minute: int) -> None:
        self._size = float(per_minute)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """Take one request; 0, or how many seconds too early it came."""
        now = time.monotonic()
        with self._lock:
            # Taken out and put in again, so that they lie in the order in which clients came last.
            left, at = self._buckets.pop(client, (self._size, now))
            left = min(self._size, left + (now - at) * self._size / 60)
            enough = left >= 1
            self._buckets[client] = (left - 1 if enough else left, now)
            if len(self._buckets) > _MANY:
                del self._buckets[next(iter(self._buckets))]
        return 0.0 if enough else (1 - left) * 60 / self._size
