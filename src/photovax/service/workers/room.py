"""Whether memory is large enough for another worker."""

from __future__ import annotations

from collections.abc import Sequence

from photovax.machine.memory import PHOTO_COPIES

__all__ = ["lacking_bytes", "worker_bytes"]


def worker_bytes(peak: int, max_pixels: int) -> int:
    """Estimate the largest memory of a worker in bytes.

    Before the first job this lacks what the models need to compute, which is not known then.

    Args:
        peak: Largest memory of a worker so far in bytes, perhaps with small pictures only.
        max_pixels: Number of pixels of the largest picture allowed.
    """
    original_too = PHOTO_COPIES + 1
    return peak + original_too * 3 * 4 * max_pixels


def lacking_bytes(available: int | None, each: int, held: Sequence[int]) -> int:
    """Return the number of bytes that are lacking for another worker; 0 if it may start.

    Running workers may be idle now and all busy later, so memory is reserved for them. The first
    worker may always start.

    Args:
        available: Memory left in bytes; None if unlimited.
        each: Largest memory of a worker in bytes.
        held: Present memory of each running worker in bytes.
    """
    if available is None or not held:
        return 0
    kept = sum(max(0, each - now) for now in held)
    return max(0, each + kept - available)
