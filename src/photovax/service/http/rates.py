"""Limits on what one client asks for, in a minute and at one time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from photovax.service.http.problems import Problem

__all__ = ["Rates", "Shares"]

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


class Shares:
    """What clients hold at one time, so that none takes all connections or all memory.

    Used by one event loop alone.

    Args:
        requests: Largest number of requests of one client.
        each: Largest number of bytes of the bodies of one client's requests.
        total: The same of all clients.
    """

    def __init__(self, requests: int, each: int, total: int) -> None:
        self._most, self._each, self._total = requests, each, total
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def held(self, client: str, size: int) -> Iterator[None]:
        """Count a request, whose body has ``size`` bytes, until it is answered.

        Raises:
            Problem: If it would be one too many.
        """
        again = {"Retry-After": "5"}
        if self._requests[client] >= self._most:
            text = f"{self._most} requests are open at once; close some"
            raise Problem(429, "too-many-requests", text, again)
        if size and self._bytes[client] + size > self._each:
            text = "too much is being uploaded at once; send one after another"
            raise Problem(429, "too-many-requests", text, again)
        if size and self._bytes.total() + size > self._total:
            raise Problem(503, "busy", "too much is being uploaded at once; try again later", again)
        self._requests[client] += 1
        self._bytes[client] += size
        try:
            yield
        finally:
            for counted, amount in ((self._requests, 1), (self._bytes, size)):
                counted[client] -= amount
                if not counted[client]:
                    del counted[client]
