"""Errors of libraries on damaged files, or files of another model, as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from photovax.models.catalog.objects import unloadable

__all__ = ["DAMAGED", "loading"]

DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    StopIteration,
    UnpicklingError,
    StrictDataclassError,  # of transformers' configurations
    SafetensorError,
)
"""Exceptions that torch, safetensors, diffusers and transformers raise on damaged files."""


@contextmanager
def loading(name: str, place: Path) -> Iterator[None]:
    """Turn the exceptions of loaders into one line that names the file or folder.

    Args:
        name: Name that the user gave the model.
        place: File or folder that is read.

    Raises:
        ModelError: If one of ``DAMAGED`` is raised inside.
    """
    try:
        yield
    except DAMAGED as error:
        raise unloadable(name, place, error) from error
