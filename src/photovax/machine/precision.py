"""The number format of passes: float32, or bfloat16 with ``torch.autocast``.

Source: mixed precision of Micikevicius et al. (arXiv 1710.03740). Weights and images stay in
float32; ``torch.autocast`` rounds the inputs of convolutions and matrix products. bfloat16 needs no
scaling of losses.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from photovax.errors import UsageError

if TYPE_CHECKING:
    import torch

__all__ = [
    "Precision",
    "Quick",
    "if_quicker",
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


def if_quicker(
    quick: Quick | None, run: Callable[[], object], device: torch.device
) -> Quick | None:
    """The context, or None where what is run takes longer in it, as on a CPU with some models.

    Args:
        quick: Context of passes in low precision, or None.
        run: What is to be run, such as a pass with its gradient. It is run four times.
        device: Device of the passes; only on a CPU are they timed.
    """
    if quick is None or device.type != "cpu":
        return quick
    spent = [0.0, 0.0]
    for _ in range(2):  # the first turn warms up
        for place, context in enumerate((nullcontext, quick)):
            began = time.perf_counter()
            with context():
                run()
            spent[place] = time.perf_counter() - began
    return quick if spent[1] < spent[0] else None


@contextmanager
def _in_bfloat16(device_type: str) -> Iterator[None]:
    import torch  # imported late, since the command line lists precisions without it

    with warnings.catch_warnings(), torch.autocast(device_type, dtype=torch.bfloat16):
        # Weights of norms stay in float32, for which PyTorch warns that it has no fused kernel.
        warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
        yield


def _native(device: torch.device) -> bool:
    """Whether a device has bfloat16 instructions; if not, bfloat16 is slower than float32."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # Versions of PyTorch without this function use float32.
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
