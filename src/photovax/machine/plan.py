"""The memory of a descent, planned before its first step."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from photovax.errors import UsageError
from photovax.machine.allocator import KEPT
from photovax.machine.memory import LIBRARIES, PHOTO_COPIES, available_bytes, resident_bytes

__all__ = ["Copies", "MemoryPlan"]


@dataclass(frozen=True)
class Copies:
    """The float32 copies of a photo that a descent holds.

    Attributes:
        working: Bytes of a copy at the size at which changes are found.
        whole: Bytes of a copy at the photo's own size.
        during: Number of working copies that are held during a pass through a model.
        more: Number of whole copies between passes, above ``memory.PHOTO_COPIES``.
    """

    working: int
    whole: int
    during: int
    more: int = 0


class MemoryPlan:
    """Decides for each model whether it keeps activations or computes them again.

    Args:
        limit: Bytes that the process may hold; all that the system has left when None.
        limited: Whether the device's memory is the system's: a CPU's. If not, everything fits.
    """

    def __init__(self, limit: int | None, *, limited: bool) -> None:
        self.limit = limit
        self._limited = limited
        self._each: dict[Hashable, float] = {}

    def fit(
        self,
        key: Hashable,
        copies: Copies,
        *,
        name: str,
        sides: tuple[int, int],
        probe: Callable[[], float],
        recompute: Callable[[], None],
    ) -> bool:
        """Let a model recompute, from now on, where it would otherwise take too much memory.

        Args:
            key: Identifies what ``probe`` measures, which is done once.
            copies: The photo's copies.
            name: The model's name.
            sides: Height and width, in pixels, of the largest picture that it is fed.
            probe: Returns the bytes that a forward and backward pass takes for each pixel.
            recompute: Makes the model compute activations again from now on.

        Returns:
            Whether there is memory to spare.

        Raises:
            UsageError: If it takes more than the limit even so.
        """
        limit = self.limit
        if limit is None:
            available = available_bytes() if self._limited else None
            if available is None:
                return True
            limit = resident_bytes() + available
        height, width = sides
        each = self._probed(key, probe) * height * width
        # The probe is done: what libraries load when they are first used is in it.
        held = resident_bytes() + LIBRARIES
        left = limit - held - copies.during * copies.working
        roomy = KEPT * each <= left
        if each > left:
            recompute()
            self._each.clear()
            each = self._probed(key, probe) * height * width
        between = (PHOTO_COPIES + copies.more) * copies.whole
        needed = held + max(between, copies.during * copies.working + each)
        if self.limit is not None and needed > limit:
            raise UsageError(
                f"{limit / 2**30:.2f} GiB of memory are too little: a step takes about "
                f"{needed / 2**30:.2f} GiB; {each / 2**30:.2f} GiB of them are taken by {name} at "
                f"{width} x {height} pixels",
                hint="give a smaller --size, or more memory",
            )
        return roomy

    def _probed(self, key: Hashable, probe: Callable[[], float]) -> float:
        if key not in self._each:
            self._each[key] = probe()
        return self._each[key]
