"""One line for whoever runs what an optional package is needed for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from photovax.errors import UsageError

__all__ = ["extra_installed"]


@contextmanager
def extra_installed(extra: str) -> Iterator[None]:
    """Say what to install where an import inside fails.

    Raises:
        UsageError: If a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"this needs the package {error.name}; type: pip install 'photovax[{extra}]'"
        ) from error
