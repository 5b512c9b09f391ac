import math

import numpy as np
import pytest
import scipy.stats

from photovax.errors import UsageError
from photovax.metrics.statistics import bootstrap, paired


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [bootstrap(rng.normal(3, 2, 100), rounds=400, seed=seed) for seed in range(1000)]
    assert 0.93 < np.mean([interval.low <= 3 <= interval.high for interval in found]) < 0.97


def test_the_interval_covers_the_mean_where_values_of_a_photo_are_alike():
    rng = np.random.default_rng(0)
    photos = np.repeat(np.arange(30), 6)
    covered = {"photos": 0, "values": 0}
    for seed in range(300):
        values = rng.normal(0, 1, 30)[photos] + rng.normal(0, 0.3, 180)
        for name, groups in (("photos", photos), ("values", None)):
            interval = bootstrap(values, groups=groups, rounds=400, seed=seed)
            covered[name] += interval.low <= 0 <= interval.high
    assert covered["photos"] / 300 > 0.9
    assert covered["values"] / 300 < 0.7


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(0).gamma(2, size=60)
    found = bootstrap(values, rounds=9999)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=1)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.02)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.02)
    assert (found.mean, found.n) == (values.mean(), 60)


def test_groups_count_as_one_value_each_and_may_differ_in_size():
    found = bootstrap([1, 1, 1, 5], groups=["a", "a", "a", "b"])
    assert (found.mean, found.low, found.high, found.n) == (2, 1, 5, 2)


def test_intervals_repeat_and_change_with_the_seed():
    values = np.random.default_rng(0).normal(size=20)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_pairs_are_compared_with_each_other():
    rng = np.random.default_rng(0)
    floor = rng.normal(0, 10, 50)
    found = paired(floor + 1 + rng.normal(0, 0.1, 50), floor)
    assert 0.9 < found.low < found.mean < found.high < 1.1
    assert paired([3, 5], [1, 1], groups=["a", "a"]).n == 1


def test_a_single_value_has_no_bounds():
    found = bootstrap([2.5])
    assert (found.mean, found.n) == (2.5, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert bootstrap([1, 3], groups=[0, 0]).n == 1


def test_no_value_has_no_mean():
    found = bootstrap([])
    assert math.isnan(found.mean)
    assert found.n == 0
    assert bootstrap([], groups=[]).n == 0


def test_infinite_values_do_no_harm():
    found = bootstrap([math.inf, 30, 31, 32])
    assert (found.mean, found.high) == (math.inf, math.inf)
    assert found.low >= 30


def test_lengths_must_agree():
    with pytest.raises(UsageError, match="2 values need as many groups, got 1"):
        bootstrap([1, 2], groups=["a"])
    with pytest.raises(UsageError, match="2 values need as many of the floor, got 1"):
        paired([1, 2], [1])
