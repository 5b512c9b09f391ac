"""The contract of metrics that compare two pictures, and their registry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from photovax.errors import MetricUnavailable
from photovax.registry import Part, Registry

__all__ = ["PAIR_METRICS", "PairMetric", "load_metrics"]


class PairMetric(Protocol):
    """A metric of two pictures: their similarity or their distance.

    A maker that has a keyword ``weights`` receives the folder of weight files, or None. It raises
    ``MetricUnavailable`` if a package or file that it needs is missing.
    """

    label: str
    """Name in tables."""
    higher_is_closer: bool
    """Whether it measures similarity rather than distance."""
    compares_edits: bool
    """Whether it also compares edits; if not, only an immunized photo with its original."""

    def __call__(self, first: np.ndarray, second: np.ndarray) -> float | None:
        """Compare two uint8 pictures (H, W, 3) of one shape, the reference first.

        None where the metric is not defined, such as for a small picture or one without a face.
        """
        ...


PAIR_METRICS: Registry[PairMetric] = Registry("pair_metric")


def load_metrics(
    names: Iterable[str], *, weights: Path | None
) -> tuple[dict[str, PairMetric], dict[str, MetricUnavailable]]:
    """Load the metrics of these names, as far as they are available.

    Args:
        names: Names of pair metrics.
        weights: Folder of weight files that do not ship with a package.

    Returns:
        Metrics by name, and by name the error of each that is not available.

    Raises:
        UnknownName: If nothing is registered under a name.
        UsageError: If a plug-in cannot be loaded.
    """
    usable: dict[str, PairMetric] = {}
    left_out: dict[str, MetricUnavailable] = {}
    for name in names:
        try:
            usable[name] = PAIR_METRICS.create(Part(name), weights=weights)
        except MetricUnavailable as error:
            left_out[name] = error
    return usable, left_out
