"""The choice of the device that computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from photovax.errors import UsageError, first_line
from photovax.machine.memory import available_bytes

if TYPE_CHECKING:
    import torch

__all__ = ["free_bytes", "pick_device"]


def free_bytes(device: torch.device) -> int | None:
    """Memory of a device that is left, in bytes; None where it is not known, as for MPS."""
    if device.type == "cpu":
        return available_bytes()
    if device.type != "cuda":
        return None
    import torch

    # Blocks that PyTorch keeps for its next tensors are free, too.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def pick_device(name: str = "auto") -> torch.device:
    """Pick a device.

    Args:
        name: Name of a PyTorch device (``cpu``, ``cuda``, ``cuda:1``, ``mps`` …), or ``auto`` for
            CUDA, MPS or the CPU, the first that is available.

    Raises:
        UsageError: If the device is unknown or not available.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # which a device without values refuses, too
    except (RuntimeError, AssertionError) as error:
        # PyTorch goes on with all devices that it knows.
        reason = first_line(error).partition(". ")[0]
        raise UsageError(
            f"device {name!r} cannot be used ({reason}); use auto, cpu, cuda or mps"
        ) from None
    return device
