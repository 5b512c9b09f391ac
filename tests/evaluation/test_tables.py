"""Tables of made-up figures."""

from dataclasses import replace

import pytest

from photovax.evaluation.tables import tables
from tests.evaluation.samples import case, made_up


def test_tables_subtract_the_floor_of_the_same_photo():
    cases = [
        *(case("noise", photo, 0.9, 19.5) for photo in range(4)),
        *(case("recipe", photo, 0.5 + photo / 10, 15.0) for photo in range(4)),
        *(case("noise", photo, 0.8, 19.0, "jpeg75") for photo in range(4)),
        *(case("recipe", photo, 0.7, 18.0, "jpeg75") for photo in range(4)),
    ]
    found = tables(made_up(cases), metric="ssim")
    row = next(r for r in found.displacement if (r.label, r.mode) == ("recipe", "instruct"))
    assert row.floor is not None
    assert row.above is not None
    assert row.value.mean == pytest.approx(0.65)
    assert row.floor.mean == pytest.approx(0.9)
    assert row.above.mean == pytest.approx(0.25)
    assert row.above.low > 0
    (lost,) = [r for r in found.following if r.label == "recipe"]
    assert lost.above is not None
    assert lost.lost.mean == pytest.approx(5.0)
    assert lost.above.mean == pytest.approx(4.5)
    asked, moved = found.remains
    assert (asked.measure, moved.measure) == ("true_edit", "ssim")
    # Noise costs edits half a dB, and one after JPEG; the recipe five, and two.
    kept = {row.purification: (row.above.mean, row.share) for row in asked.survival}
    assert kept == {"none": (4.5, 1.0), "jpeg75": (1.0, pytest.approx(1 / 4.5))}
    assert asked.worst["recipe"].mean == 1.0
    shares = {row.purification: row.share for row in moved.survival}
    assert shares == {"none": pytest.approx(1.0), "jpeg75": pytest.approx(0.1 / 0.25)}
    # Photo 3 has 0.1 without and with JPEG, the others less with it.
    assert moved.worst["recipe"].mean == pytest.approx(0.1)


def test_without_purifications_nothing_remains_to_be_measured():
    cases = [case(label, photo, 0.9, 19.5) for label in ("noise", "recipe") for photo in range(2)]
    assert tables(made_up(cases), metric="ssim").remains == []


def test_only_psnr_has_a_cap():
    cases = [
        replace(case(label, photo, 2000.0, 19.5), between={"psnr": 2000.0, "ssim": 2000.0})
        for label in ("noise", "recipe")
        for photo in range(2)
    ]
    results = made_up(
        cases, between=("psnr", "ssim"), higher_is_closer={"psnr": True, "ssim": True}
    )
    rows = tables(results, metric="ssim").displacement
    assert {row.metric: row.value.mean for row in rows} == {"psnr": 100.0, "ssim": 2000.0}
