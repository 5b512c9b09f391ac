"""The sides at which pictures are fed to models."""

import numpy as np
import pytest

from photovax.pictures.resize import fed_sides, resized


@pytest.mark.parametrize(
    ("size", "short", "fed"),
    [
        ((512, 512), 512, (512, 512)),
        ((127, 151), 64, (64, 80)),
        ((151, 127), 64, (80, 64)),
        ((1, 1), 8, (8, 8)),
        ((3, 3000), 64, (64, 256)),  # a panorama is squeezed
        ((3000, 2001), 256, (384, 256)),
    ],
)
def test_the_short_side_is_met_and_both_are_multiples_of_8(size, short, fed):
    height, width = size
    assert fed_sides(height, width, short) == fed
    assert resized(np.zeros((height, width, 3), np.uint8), short).size == fed[::-1]


def test_sides_are_those_that_every_caller_had_before():
    random = np.random.default_rng(0)
    for _ in range(2000):
        height, width = (int(side) for side in random.integers(1, 5000, 2))
        short = 8 * int(random.integers(1, 200))
        scale, longest = short / min(height, width), 4.0 * short
        exact = [min(side * scale, longest) for side in (height, width)]
        assert fed_sides(height, width, short) == tuple(round(side / 8) * 8 for side in exact)
        assert fed_sides(height, width, short, multiple=1) == tuple(map(round, exact))


def test_another_ratio_squeezes_otherwise():
    assert fed_sides(100, 1000, 64, ratio=2) == (64, 128)
