"""What a provider runs: certificates, the register of models, jobs, the API and its page."""

from __future__ import annotations

from contextlib import AbstractContextManager

from photovax.extras import extra_installed

__all__ = ["service_installed"]


def service_installed() -> AbstractContextManager[None]:
    """One line for whoever runs this without the packages it needs: ``UsageError``."""
    return extra_installed("service")
