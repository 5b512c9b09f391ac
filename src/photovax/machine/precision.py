"""What passes are computed in: float32, or bfloat16 where that is native and points the same way.

Weights and pictures stay in float32; ``torch.autocast`` rounds what convolutions and matrix
products are fed (Micikevicius et al., arXiv 1710.03740; bfloat16 needs no scaling of losses).
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
    "quick_passes",
]

Precision = Literal["auto", "bfloat16", "float32"]
"""``auto``: bfloat16 where the machine has instructions for it, and float32 elsewhere."""


Quick = Callable[[], AbstractContextManager[Any]]
"""Makes a context in which passes take less time and are less exact."""


def quick_passes(precision: str, device: torch.device) -> Quick | None:
    """A context in which passes are computed in bfloat16; None where they are to be in float32.

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
    import torch  # when needed, since the command line names precisions without it

    with warnings.catch_warnings(), torch.autocast(device_type, dtype=torch.bfloat16):
        # Norms keep their weights in float32, for which PyTorch has no fused kernel.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        yield


def _native(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 by itself; without, it is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Versions of PyTorch that cannot tell what a CPU is capable of stay with float32.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
