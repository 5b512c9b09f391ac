"""Independence from the PyTorch settings of a host program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["own_settings"]


@contextmanager
def own_settings() -> Iterator[None]:
    """Context or decorator that enables gradients and sets the default dtype to float32.

    Hosts such as ComfyUI call their nodes inside ``torch.inference_mode()``, pipelines run under
    ``torch.no_grad()``, and some programs change the default dtype. On exit the caller's settings
    are restored.
    """
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
