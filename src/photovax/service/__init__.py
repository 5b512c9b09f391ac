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
        UsageError: If a package is missing, or the system is not Linux.
    """
    if sys.platform != "linux":
        # Decoders of uploads are limited in memory, which macOS refuses and Windows cannot.
        raise UsageError(
            f"the service needs Linux, got {sys.platform}",
            hint="photovax page FOLDER makes a page that needs none",
        )
    with extra_installed("service"):
        yield
