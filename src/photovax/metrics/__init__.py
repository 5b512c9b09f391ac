"""Metrics: how much a photo changed, how visible that is, and what it does to a model.

``pairs``, ``perceptual``, ``faces`` and ``visibility`` hold the pair metrics, which are registered
when this package is imported.
"""

from photovax.metrics.contracts import PAIR_METRICS, PairMetric, load_metrics
from photovax.metrics.faces import FaceDistance
from photovax.metrics.pairs import Formula
from photovax.metrics.perceptual import Dists, Lite0, LpipsDistance
from photovax.metrics.visibility import Flip, Jod

__all__ = [
    "PAIR_METRICS",
    "Dists",
    "FaceDistance",
    "Flip",
    "Formula",
    "Jod",
    "Lite0",
    "LpipsDistance",
    "PairMetric",
    "load_metrics",
]
