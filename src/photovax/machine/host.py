"""Independence from the PyTorch settings of a host program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import torch

__all__ = ["own_settings"]


@contextmanager
def own_settings() -> Iterator[None]:
    """Context or decorator that enables gradients and computes in float32.

    Hosts such as ComfyUI call their nodes inside ``torch.inference_mode()``, pipelines run under
    ``torch.no_grad()`` or ``torch.autocast``, and some programs change the default dtype or device,
    or how precisely matrices are multiplied. On exit the caller's settings are restored; those of
    the whole process when no thread is inside any longer.
    """
    with ExitStack() as stack:
        stack.enter_context(_OF_THE_PROCESS)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


class _OfTheProcess:
    """A context of any number of threads, in which settings that all threads share are photovax's.

    The first that comes in changes them, and the last that leaves restores them.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._restore = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._restore.callback(torch.set_default_dtype, torch.get_default_dtype())
                torch.set_default_dtype(torch.float32)
                # The budget of a photo is measured on the device, and again on the CPU.
                self._restore.callback(_exact_products())
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore.close()


_OF_THE_PROCESS = _OfTheProcess()


def _exact_products() -> Callable[[], None]:
    """Multiply matrices of float32 in float32; returns what restores the former precision."""
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # before PyTorch 2.9
        legacy = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        return lambda: torch.set_float32_matmul_precision(legacy)
    # The older functions raise errors in programs that use these.
    products = (backends.cuda.matmul, backends.mkldnn.matmul)
    former = [each.fp32_precision for each in products]

    def restore() -> None:
        for each, precision in zip(products, former, strict=True):
            each.fp32_precision = precision

    for each in products:
        each.fp32_precision = "ieee"
    return restore
