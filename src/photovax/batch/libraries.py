"""The import of the libraries that an immunization uses, in a process of photovax's own."""

from __future__ import annotations

import importlib
from contextlib import suppress

from photovax.machine.postponed import postponed

__all__ = ["import_libraries"]


def import_libraries(*, metrics: bool = True) -> None:
    """Import diffusers' autoencoders, torchmetrics and pycvvdp, without what is not used of them.

    Nothing is raised: what fails here is imported in the ordinary way by what needs it.

    Args:
        metrics: Whether to import the last two, which measure how visible a change is.
    """
    import torch  # noqa: F401 - before its compiler is postponed

    from photovax.metrics.cvvdp import load_cvvdp

    with suppress(Exception), postponed():
        importlib.import_module("diffusers.models.autoencoders")
    if not metrics:
        return
    with suppress(Exception), postponed():
        importlib.import_module("torchmetrics.functional.image")
    with suppress(Exception), postponed():
        load_cvvdp()
