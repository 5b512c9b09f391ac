"""What the nodes ask ComfyUI for, if it is there: its device and its progress bar."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["device", "teller"]


def device() -> str:
    """The device that the host was started for; ``auto`` without a host."""
    try:
        from comfy.model_management import get_torch_device
    except ImportError:
        return "auto"
    return str(get_torch_device())


def teller() -> Callable[[int, int], object]:
    """A function that reports progress to the host, from the part that is done and the whole.

    The host raises from it when the user cancels the work.
    """
    try:
        from comfy.utils import ProgressBar
    except ImportError:
        return lambda done, whole: None
    report: Callable[[int, int], object] = ProgressBar(1).update_absolute
    return report
