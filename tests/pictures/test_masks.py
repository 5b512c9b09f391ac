"""Where pixels may change."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photovax.errors import UsageError
from photovax.pictures.masks import load_mask, read_mask, white_of
from tests.pictures.made import noise, plain, saved


@pytest.mark.parametrize("white", [True, False])
def test_where_a_mask_is_transparent_it_marks_nothing(white: bool) -> None:
    photo = plain(noise(4, 6, 3))
    opaque = np.zeros((4, 6), dtype=np.uint8)
    opaque[1:3] = 255
    mask = plain(np.full((4, 6, 3), 255 * white, dtype=np.uint8), opaque)
    assert np.array_equal(white_of(mask, photo, name="m"), (opaque > 0) & white)


@pytest.mark.parametrize("edit_region", [False, True])
def test_a_mask_that_leaves_nothing_hints_at_its_opposite(edit_region, tmp_path: Path) -> None:
    photo = plain(noise(4, 6, 3))
    path = saved(tmp_path / "m.png", np.full((4, 6), 255 * edit_region, np.uint8))
    with pytest.raises(UsageError, match=r"m\.png is all (white|black)") as caught:
        load_mask(path, photo, edit_region=edit_region)
    assert f"--{'keep' if edit_region else 'edit'}-region" in (caught.value.hint or "")
    assert not read_mask(path, photo, edit_region=edit_region).any()
    assert load_mask(path, photo, edit_region=not edit_region).all()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", noise(6, 4))
    with pytest.raises(UsageError, match="4 x 6 pixels, the photo 6 x 4"):
        read_mask(path, plain(noise(4, 6, 3)))
