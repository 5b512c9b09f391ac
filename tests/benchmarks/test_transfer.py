"""The leave-one-out table: which attacks it needs, and what share of the gap they reach."""

import numpy as np
import pytest

from benchmarks.transfer import left_out, shares, squares


def test_each_model_is_attacked_alone_and_left_out_once():
    assert left_out(["a", "b", "c"]) == ["a", "b", "c", "b+c", "a+c", "a+b"]
    assert left_out(["a", "b"]) == ["a", "b"]  # the only other model is all others


def test_shares_are_between_noise_and_an_attack_on_the_model_itself():
    floor = {"a": 0.1, "b": 0.2, "c": 0.0}
    pattern = {"a": 0.2, "b": 0.2, "c": 1.0}
    means = {
        "a": {"a": 1.1, "b": 0.2, "c": 0.5},
        "b": {"a": 0.3, "b": 1.2, "c": 0.1},
        "c": {"a": 0.5, "b": 0.7, "c": 2.0},
        "b+c": {"a": 0.6, "b": 1.0, "c": 1.0},
        "a+c": {"a": 1.0, "b": 0.6, "c": 1.0},
        "a+b": {"a": 1.0, "b": 1.0, "c": 1.0},
    }
    found = shares(floor, pattern, means)
    assert found["a"] == pytest.approx((0.1, 0.3, 0.5))  # (.2 + .4) / 2 of a gap of 1
    assert found["b"] == pytest.approx((0.0, 0.25, 0.4))
    assert found["c"] == pytest.approx((0.5, 0.15, 0.5))


def test_squares_change_every_channel_by_the_level_in_whole_squares():
    pixels = np.full((64, 100, 3), 128, np.uint8)
    change = squares(pixels, 8, seed=0).astype(int) - 128
    assert set(np.unique(change)) == {-8, 8}
    assert (change[:64:2, :100:2] == change[1:64:2, 1:100:2]).all()  # squares of 2 x 2 pixels
    assert (change[..., 0] != change[..., 1]).any()
    assert (squares(pixels, 8, seed=1) != squares(pixels, 8, seed=0)).any()
