"""Independence from what a host program has set in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["own_settings"]


@contextmanager
def own_settings() -> Iterator[None]:
    """Compute with gradients and in float32, whatever the caller of photovax has set.

    Hosts such as ComfyUI call their nodes inside ``torch.inference_mode()``, pipelines run under
    ``torch.no_grad()``, and some programs change the default dtype. Also a decorator.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
