"""The memory plan of a descent, made before its first step."""

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
        working: Size, in bytes, of a copy at the size at which the change is optimised.
        whole: Size, in bytes, of a copy at the photo's own size.
        during: Number of working copies held during a pass through a model.
        more: Number of whole copies held between passes in addition to ``memory.PHOTO_COPIES``.
        budget: Number of working copies that the budget holds between passes in addition.
    """

    working: int
    whole: int
    during: int
    more: int = 0
    budget: int = 0


class MemoryPlan:
    """Decides for each model whether it keeps or recomputes activations.

    Args:
        limit: Memory limit of the process in bytes; all that the device has left when None.
        left: Function that returns the memory that the device has left, in bytes; None where that
            is not known, and memory then limited by ``limit`` only.

    Attributes:
        limit: Memory limit of the process in bytes, or None.
    """

    def __init__(
        self, limit: int | None, *, left: Callable[[], int | None] = available_bytes
    ) -> None:
        self.limit = limit
        self._left = left
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
        """Make a model recompute activations from now on if it would exceed the limit otherwise.

        Args:
            key: Key under which the result of ``probe`` is cached.
            copies: Copies of the photo.
            name: Name of the model.
            sides: Height and width, in pixels, of the largest image that the model is fed.
            probe: Function that measures the memory of a forward and backward pass, in bytes per
                pixel.
            recompute: Function that makes the model recompute activations from now on.

        Returns:
            Whether there is enough memory to keep freed blocks; see ``allocator.kept_memory``.

        Raises:
            UsageError: If memory would still exceed a limit that was given.
        """
        if self.limit is None and self._left() is None:
            return True
        height, width = sides
        each = self._probed(key, probe) * height * width
        # Both are measured after the probe, so that they include what libraries load on first use.
        resident = resident_bytes()
        limit = resident + (self._left() or 0) if self.limit is None else self.limit
        held = resident + LIBRARIES
        left = limit - held - copies.during * copies.working
        roomy = KEPT * each <= left
        if each > left:
            recompute()
            self._each.clear()
            each = self._probed(key, probe) * height * width
        between = (PHOTO_COPIES + copies.more) * copies.whole + copies.budget * copies.working
        needed = held + max(between, copies.during * copies.working + each)
        if self.limit is not None and needed > limit:
            raise UsageError(
                f"{limit / 2**30:.2f} GiB of memory are too little: a step needs about "
                f"{needed / 2**30:.2f} GiB, including {each / 2**30:.2f} GiB for {name} at "
                f"{width} x {height} pixels",
                hint="give a smaller --size or a larger --memory",
            )
        return roomy

    def _probed(self, key: Hashable, probe: Callable[[], float]) -> float:
        if key not in self._each:
            self._each[key] = probe()
        return self._each[key]
