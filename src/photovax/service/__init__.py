"""What a provider runs: certificates, the register of models, jobs, the API and its page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from photovax.errors import UsageError

__all__ = ["service_installed"]


@contextmanager
def service_installed() -> Iterator[None]:
    """One line for whoever runs this without the packages it needs.

    Raises:
        UsageError: If one of them is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"this needs the package {error.name}; type: pip install 'photovax[service]'"
        ) from error
