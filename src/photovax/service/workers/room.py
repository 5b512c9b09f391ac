"""Whether memory has room for another worker."""

from __future__ import annotations

from collections.abc import Sequence

from photovax.machine.memory import PHOTO_COPIES

__all__ = ["lacking_bytes", "worker_bytes"]


def worker_bytes(peak: int, max_pixels: int) -> int:
    """Bytes that a worker may come to hold.

    Before the first job that is less what a pass through the models takes, which no one has seen.

    Args:
        peak: The most that any was seen to hold, perhaps with small pictures only.
        max_pixels: Of the largest picture allowed.
    """
    original_too = PHOTO_COPIES + 1
    return peak + original_too * 3 * 4 * max_pixels


def lacking_bytes(available: int | None, each: int, held: Sequence[int]) -> int:
    """Bytes that are lacking for another worker; 0 when it may start.

    Those that run may be idle now and all at work later, so what they may yet take is kept for
    them. The first may always start.

    Args:
        available: What is left for all; None for no bound.
        each: What a worker may come to hold.
        held: What each that runs holds now.
    """
    if available is None or not held:
        return 0
    kept = sum(max(0, each - now) for now in held)
    return max(0, each + kept - available)
