"""What the rest of photovax asks of a metric that compares two pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from photovax.errors import MetricUnavailable
from photovax.registry import Part, Registry

__all__ = ["PAIR_METRICS", "PairMetric", "load_metrics"]


class PairMetric(Protocol):
    """How alike two pictures are, or how far apart.

    A maker that has a keyword ``weights`` is given the folder of weight files, or None. It raises
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
) -> tuple[dict[str, PairMetric], dict[str, MetricUnavailable]]:
    """The metrics of these names that can be used here, and why the others cannot.

    Args:
        names: Names of pair metrics.
        weights: Folder of weight files that no package carries.

    Returns:
        Name to metric, and name to the error of each that is left out.

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
