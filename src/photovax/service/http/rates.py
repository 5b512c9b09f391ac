"""Rate limits for requests."""

from __future__ import annotations

import threading
import time

__all__ = ["Rates"]


_MANY = 10_000  # clients; beyond that the one with the oldest request is forgotten


class Rates:
    """Token buckets: the requests of one minute at once, then as many each minute.

    Args:
        per_minute: Number of requests of one client.
    """

    def __init__(self, per_minute: int) -> None:
        self._size = float(per_minute)
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """Count one request. Returns 0, or the seconds until it is allowed."""
        now = time.monotonic()
        with self._lock:
            # Removed and added again: a dict keeps the order, here that of the last requests.
            left, at = self._buckets.pop(client, (self._size, now))
            left = min(self._size, left + (now - at) * self._size / 60)
            enough = left >= 1
            self._buckets[client] = (left - 1 if enough else left, now)
            if len(self._buckets) > _MANY:
                del self._buckets[next(iter(self._buckets))]
        return 0.0 if enough else (1 - left) * 60 / self._size
