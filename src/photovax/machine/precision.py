"""The number format of passes: float32, or bfloat16 with ``torch.autocast``.

Source: mixed precision of Micikevicius et al. (arXiv 1710.03740). Weights and images stay in
float32; ``torch.autocast`` rounds the inputs of convolutions and matrix products. bfloat16 needs no
scaling of losses.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from photovax.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = [
    "Precision",
    "Quick",
    "has_tiles",
    "quick_passes",
]

Precision = Literal["auto", "bfloat16", "float32"]
"""Number formats; ``auto`` is bfloat16 if the device has instructions for it, else float32."""


Quick = Callable[[], AbstractContextManager[Any]]
"""A function that returns a context in which passes are faster and less exact."""


def quick_passes(precision: str, device: torch.device) -> Quick | None:
    """A function that returns contexts of bfloat16 passes; None if passes are in float32.

    Args:
        precision: Number format: ``auto``, ``bfloat16`` or ``float32``.
        device: Device of the passes.

    Raises:
        UsageError: If there is no such precision.
    """
    if precision not in get_args(Precision):
        allowed = ", ".join(get_args(Precision))
        raise UsageError(f"precision must be one of {allowed}, got {precision!r}")
    if precision == "float32" or (precision == "auto" and not _native(device)):
        return None
    return partial(_in_bfloat16, device.type)


@contextmanager
def _in_bfloat16(device_type: str) -> Iterator[None]:
    import torch  # imported late, since the command line lists precisions without it

    with warnings.catch_warnings(), torch.autocast(device_type, dtype=torch.bfloat16):
        # Weights of norms stay in float32, for which PyTorch warns that it has no fused kernel.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        yield


def has_tiles() -> bool:
    """Whether the CPU has AMX, matrix instructions for bfloat16."""
    return _capable("amx_bf16")


def _native(device: torch.device) -> bool:
    """Whether a device has bfloat16 instructions; if not, bfloat16 is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return _capable("avx512_bf16") or _capable("amx_bf16")


def _capable(instructions: str) -> bool:
    import torch

    # Versions of PyTorch without this function use float32.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get(instructions))
