"""A provider's service: the table of jobs, the workers, the API and its page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from photovax.errors import UsageError
from photovax.extras import extra_installed

__all__ = ["service_installed"]


@contextmanager
def service_installed() -> Iterator[None]:
    """Turn a failing import inside into one line that says what is missing.

    Raises:
        UsageError: If a package is missing, or a module of Python that only Unix has.
    """
    with extra_installed("service"):
        try:
            yield
        except ModuleNotFoundError as error:
            if error.name in sys.stdlib_module_names:
                raise UsageError(
                    f"the service needs Linux: this Python has no module {error.name}"
                ) from error
            raise
