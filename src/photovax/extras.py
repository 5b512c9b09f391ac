"""Optional packages: importing them, and the error that says how to install a missing one."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from photovax.errors import PhotovaxError, UsageError

__all__ = ["extra_installed", "package", "package_installed"]


@contextmanager
def package_installed(
    install: str, *, user: str = "this", error: type[PhotovaxError] = UsageError
) -> Iterator[None]:
    """Turn failed imports in this context into an error that says what to install.

    Args:
        install: The argument of ``pip install``.
        user: What needs the package, to begin the message.
        error: Class of the error to raise.

    Raises:
        PhotovaxError: Of that class, if a package is missing or cannot be imported.
    """
    try:
        yield
    except ImportError as failed:
        name = failed.name or ""
        if name.partition(".")[0] == "photovax":  # a defect of photovax, not a missing package
            raise
        missing = isinstance(failed, ModuleNotFoundError)
        reason = "" if missing else f", which cannot be imported: {failed}"
        # Shells take brackets for a pattern; cmd.exe of Windows knows double quotes alone.
        quoted = f'"{install}"' if "[" in install else install
        raise error(
            f"{user} needs the package {name}{reason}", hint=f"type: pip install {quoted}"
        ) from failed


def extra_installed(
    extra: str, *, user: str = "this", error: type[PhotovaxError] = UsageError
) -> AbstractContextManager[None]:
    """``package_installed`` for the packages of one extra of photovax."""
    return package_installed(f"photovax[{extra}]", user=user, error=error)


def package(
    module: str, *, install: str, user: str, error: type[PhotovaxError] = UsageError
) -> Any:
    """Import a module of an optional package; ``package_installed`` documents the arguments."""
    with package_installed(install, user=user, error=error):
        return importlib.import_module(module)
