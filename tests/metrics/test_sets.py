import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.kid import poly_mmd

from photovax.errors import UsageError
from photovax.metrics.sets import frechet_distance, kernel_distance, precision_recall


def _sets(counts: tuple[int, int], length: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((length, length))
    first = rng.standard_normal((counts[0], length)) @ mixing
    second = rng.standard_normal((counts[1], length)) * 1.5 + 0.3
    return first.astype(np.float32), second.astype(np.float32)


@pytest.mark.parametrize(("counts", "length"), [((200, 150), 12), ((30, 25), 40), ((90, 20), 40)])
def test_frechet_distance_is_that_of_the_formula(counts, length):
    a, b = _sets(counts, length)
    one, other = (np.cov(x.astype(np.float64), rowvar=False) for x in (a, b))
    shift = np.square(a.mean(axis=0, dtype=float) - b.mean(axis=0, dtype=float)).sum()
    # What FID's own code adds where covariances are singular.
    offset = 1e-9 * np.eye(length)
    root = scipy.linalg.sqrtm((one + offset) @ (other + offset))
    expected = shift + np.trace(one + other - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-3)


def test_frechet_distance_of_known_gaussians():
    draws = np.random.default_rng(0).standard_normal((40000, 3))
    found = frechet_distance(draws, 2 * draws + 1)
    assert found == pytest.approx(3 * (2 - 1) ** 2 + 3, rel=0.03)


def test_a_set_is_at_no_distance_from_itself():
    a, _ = _sets((50, 2), 20)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert precision_recall(a, a) == (1, 1)


def test_kernel_distance_is_that_of_torchmetrics():
    a, b = _sets((60, 60), 16)
    mean, deviation = kernel_distance(a, b, subset=100, rounds=2)
    expected = poly_mmd(torch.from_numpy(a).double(), torch.from_numpy(b).double())
    assert mean == pytest.approx(float(expected), rel=1e-9)
    assert deviation == pytest.approx(0, abs=1e-6)


def test_kernel_distance_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(0)
    a, b, far = (rng.standard_normal((400, 8)) + shift for shift in (0, 0, 0.5))
    mean, deviation = kernel_distance(a, b, subset=50, rounds=200, generator=rng)
    assert abs(mean) < deviation
    assert kernel_distance(a, far, subset=50, rounds=200, generator=rng)[0] > 5 * abs(mean)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_the_definition(k):
    rng = np.random.default_rng(0)
    real, made = rng.standard_normal((40, 3)), rng.standard_normal((30, 3)) * 0.7 + 0.5

    def covered(points, centres):
        reaches = [sorted(np.linalg.norm(centres - c, axis=1))[k] for c in centres]
        return np.mean(
            [
                any(np.linalg.norm(p - c) <= r for c, r in zip(centres, reaches, strict=True))
                for p in points
            ]
        )

    precision, recall = precision_recall(real, made, k)
    assert precision == covered(made, real)
    assert recall == covered(real, made)
    assert 0 < recall < precision <= 1


def test_one_mode_is_precise_but_recalls_little():
    rng = np.random.default_rng(0)
    real, made = rng.standard_normal((200, 4)), rng.standard_normal((200, 4)) * 0.1
    precision, recall = precision_recall(real, made)
    assert precision > 0.95
    assert recall < 0.1


def test_sets_too_small_or_of_other_features_are_refused():
    a = np.zeros((3, 4))
    with pytest.raises(UsageError, match="2 pictures or more, got 3 and 1"):
        frechet_distance(a, a[:1])
    with pytest.raises(UsageError, match="one length"):
        kernel_distance(a, np.zeros((3, 5)))
    with pytest.raises(UsageError, match="subset 2 or more"):
        kernel_distance(a, a, subset=1)
    with pytest.raises(UsageError, match="4 pictures or more"):
        precision_recall(a, a)
    with pytest.raises(UsageError, match="from 1 on"):
        precision_recall(a, a, k=0)
