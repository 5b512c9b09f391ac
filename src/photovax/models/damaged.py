"""What libraries raise on files that are damaged or of another model, as one line."""

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
"""What the loaders of torch, safetensors, diffusers and transformers raise on damaged files."""


@contextmanager
def loading(name: str, place: Path) -> Iterator[None]:
    """Turn what loaders raise inside into one line that names the place.

    Args:
        name: What the user calls the model.
        place: The file or folder that is read.

    Raises:
        ModelError: If anything of ``DAMAGED`` is raised inside.
    """
    try:
        yield
    except DAMAGED as error:
        raise unloadable(name, place, error) from error
