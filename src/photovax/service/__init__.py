"""What a provider runs: the table of jobs, the workers, the API and its page."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from photovax.errors import UsageError
from photovax.extras import extra_installed

__all__ = ["service_installed"]


@contextmanager
def service_installed() -> Iterator[None]:
    """Say what is missing where an import inside fails.

    Raises:
        UsageError: If a package is missing, or a part of Python that only Unix has.
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
