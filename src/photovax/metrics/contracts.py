"""What the rest of photovax asks of a metric that compares two pictures."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from photovax.errors import MetricUnavailable
from photovax.registry import Part, Registry

__all__ = ["PAIR_METRICS", "PairMetric", "load_metrics", "package"]


class PairMetric(Protocol):
    """How alike two pictures are, or how far apart.

    A maker takes the keyword ``weights``, the folder of weight files or None, and raises
    ``MetricUnavailable`` where a package or file that it needs is missing.
    """

    label: str
    """For tables."""
    higher_is_closer: bool
    """Whether it measures likeness rather than distance."""
    compares_edits: bool
    """Whether it compares edits, too; else no more than a photo with its immunized self."""

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape, the reference first.

        None where it is not defined: a picture too small, without a face …
        """
        ...


PAIR_METRICS: Registry[PairMetric] = Registry("pair_metric")


def load_metrics(
    names: Iterable[str], *, weights: Path | None
) -> tuple[dict[str, PairMetric], dict[str, str]]:
    """The metrics of these names that can be used here, and why the others cannot.

    Args:
        names: Names of pair metrics.
        weights: Folder of weight files that no package carries.

    Returns:
        Name to metric, and name to the reason for each that is left out.

    Raises:
        UnknownName: If nothing is registered under a name.
    """
    usable: dict[str, PairMetric] = {}
    left_out: dict[str, str] = {}
    for name in names:
        try:
            usable[name] = PAIR_METRICS.create(Part(name, {"weights": weights}))
        except MetricUnavailable as error:
            left_out[name] = str(error)
    return usable, left_out


def package(module: str, *, metric: str, install: str) -> Any:
    """The module of a package that only one metric needs.

    Args:
        module: What to import.
        metric: Who needs it.
        install: What to give to ``pip install``.

    Raises:
        MetricUnavailable: If it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MetricUnavailable(
            f"{metric} needs the package {module} ({error}); type: pip install {install}"
        ) from None
