"""Distances of faces."""

import numpy as np
import pytest

from photovax.errors import MetricUnavailable
from photovax.metrics.faces import FaceDistance


def test_a_face_is_itself_and_no_face_is_the_farthest(photo):
    try:
        metric = FaceDistance()
    except MetricUnavailable as error:
        pytest.skip(error.line)
    empty = np.full_like(photo, 128)
    same = metric(photo, photo[:, ::-1])
    assert same is not None
    assert same < 0.5
    assert metric(photo, empty) == 1
    assert metric(empty, photo) is None
