"""Distances between sets of pictures, each picture given as a feature vector.

The names FID and KID imply Inception's features; name the network where others are used.
"""

from __future__ import annotations

import numpy as np
import torch

from photovax.errors import UsageError

__all__ = ["frechet_distance", "kernel_distance", "precision_recall"]


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of Gaussians fitted to the two sets (Heusel et al. 2017).

    It is biased upwards for small sets, so compare only figures of sets of the same size.

    Args:
        a: Features (N, D).
        b: Features (M, D).

    Raises:
        UsageError: If a set has fewer than 2 pictures, or the features differ in length.
    """
    a, b = _checked(a, b, least=2)
    shift = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    one, other = (_root(features) for features in (a, b))
    # The trace of (C_a C_b)^1/2 is the sum of the roots of its eigenvalues. With C_a = A^T A and
    # C_b = B^T B these are the singular values of A B^T, which rounding cannot make negative.
    common = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    distance = shift + np.square(one).sum() + np.square(other).sum() - 2 * common
    return max(0.0, float(distance))


def kernel_distance(
    a: np.ndarray,
    b: np.ndarray,
    *,
    subset: int = 100,
    rounds: int = 100,
    generator: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Squared maximum mean discrepancy with a cubic kernel, unbiased (Binkowski et al. 2018).

    Args:
        a: Features (N, D).
        b: Features (M, D).
        subset: Number of pictures of each set per round; at most all of the smaller set.
        rounds: Number of rounds.
        generator: Source of the draws; seeded with 0 when None.

    Returns:
        Mean and standard deviation over rounds. The expected mean is 0 for sets of one
        distribution, so negative values occur.

    Raises:
        UsageError: If a set has fewer than 2 pictures, the features differ in length, or
            ``subset`` is below 2 or ``rounds`` below 1.
    """
    a, b = _checked(a, b, least=2)
    if subset < 2 or rounds < 1:
        raise UsageError(
            f"kernel distance needs subset 2 or more and rounds 1 or more, got {subset}, {rounds}"
        )
    generator = generator or np.random.default_rng(0)
    size = min(subset, len(a), len(b))
    found = [
        _discrepancy(
            a[generator.choice(len(a), size, replace=False)],
            b[generator.choice(len(b), size, replace=False)],
        )
        for _ in range(rounds)
    ]
    return float(np.mean(found)), float(np.std(found))


def precision_recall(real: np.ndarray, made: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019), both in [0, 1].

    Precision is the share of made pictures within the reach of some real picture, where the reach
    is the distance to its ``k``-th nearest real neighbour. Recall is the same with the sets
    exchanged.

    Args:
        real: Features (N, D).
        made: Features (M, D).
        k: Number of the neighbour that defines the reach.

    Raises:
        UsageError: If a set has no ``k``-th neighbour, or the features differ in length.
    """
    if k < 1:
        raise UsageError(f"precision and recall need a neighbour from 1 on, got {k}")
    real, made = _checked(real, made, least=k + 1)
    return _covered(made, real, k), _covered(real, made, k)


def _checked(a: np.ndarray, b: np.ndarray, *, least: int) -> tuple[np.ndarray, np.ndarray]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UsageError(f"sets need features of one length, got shapes {a.shape} and {b.shape}")
    if min(len(a), len(b)) < least:
        raise UsageError(f"sets need {least} pictures or more, got {len(a)} and {len(b)}")
    return a.astype(np.float64), b.astype(np.float64)


def _root(features: np.ndarray) -> np.ndarray:
    """A matrix R, at most (D, D), with the covariance of features (N, D) as its R^T R."""
    count, length = features.shape
    centred = (features - features.mean(axis=0)) / np.sqrt(count - 1)
    return centred if count <= length else np.linalg.qr(centred).R


def _discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy of two sets (n, D) of one size."""
    count, length = a.shape
    within = 0.0
    for features in (a, b):
        kernel = (features @ features.T / length + 1) ** 3
        within += (kernel.sum() - np.trace(kernel)) / (count * (count - 1))
    return float(within - 2 * ((a @ b.T / length + 1) ** 3).mean())


def _covered(points: np.ndarray, centres: np.ndarray, k: int) -> float:
    """Share of points (M, D) within the reach of some centre (N, D)."""
    seen, known = torch.from_numpy(points), torch.from_numpy(centres)
    exact = "donot_use_mm_for_euclid_dist"
    reach = torch.cdist(known, known, compute_mode=exact).kthvalue(k + 1, dim=1).values
    near = torch.cdist(seen, known, compute_mode=exact) <= reach
    return float(near.any(dim=1).double().mean())
