"""Loading without the progress bars and warnings of diffusers and transformers."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging

__all__ = ["FROM_DISK", "quiet_loading"]

FROM_DISK: dict[str, Any] = {
    "torch_dtype": torch.float32,  # weights may be stored in half precision
    "use_safetensors": True,
    "local_files_only": True,
    "low_cpu_mem_usage": False,  # True needs the package accelerate
}
"""Options of every call of diffusers' ``from_pretrained``."""


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Log only errors inside, and draw no progress bar."""
    loggers: list[Any] = [diffusers_logging]
    if "transformers" in sys.modules:  # by those who load its models; autoencoders need none
        from transformers.utils import logging as transformers_logging

        loggers.append(transformers_logging)
    before = [(each.get_verbosity(), each.is_progress_bar_enabled()) for each in loggers]
    for logger in loggers:
        logger.set_verbosity_error()
        logger.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # The argument has a new name that older versions of diffusers do not accept.
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            yield
    finally:
        for logger, (verbosity, drawn) in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)
            if drawn:  # not inside another of these
                logger.enable_progress_bar()
