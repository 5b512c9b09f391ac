"""Where pixels may change."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photovax.errors import UsageError
from photovax.pictures.masks import load_mask, read_mask, white_of
from tests.pictures.made import noise, plain, saved

MARKED = np.zeros((8, 6), dtype=bool)
MARKED[1:5, 2:] = True
PHOTO = plain(noise(8, 6, 3))
PAINT = (MARKED * 255).astype(np.uint8)


def masked(tmp_path: Path, array: np.ndarray, mode: str | None = None) -> np.ndarray:
    """What a file of an array marks."""
    image = Image.fromarray(array)
    path = tmp_path / ("m.tif" if image.mode == "I" else "m.png")  # PNG has no 32 bits
    (image if mode is None else image.convert(mode)).save(path)
    return load_mask(path, PHOTO)


@pytest.mark.parametrize("top", [1, 2, 38, 127, 128, 200, 255])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_labels_of_two_values_mark_the_larger(top: int, kind: type, tmp_path: Path) -> None:
    scale = 1 if kind is np.uint8 or top < 3 else 257  # a 16-bit grey, or labels
    assert np.array_equal(masked(tmp_path, (MARKED * top * scale).astype(kind)), MARKED)


def test_two_greys_and_two_colours_mark_the_brighter(tmp_path: Path) -> None:
    greys = np.where(MARKED, 250, 160).astype(np.uint8)
    red = np.zeros((8, 6, 3), np.uint8)
    red[MARKED] = (255, 0, 0)  # whose brightness is 85
    for array in (greys, red):
        assert np.array_equal(masked(tmp_path, array), MARKED)
    assert masked(tmp_path, MARKED, "1")[MARKED].all()
    palette = Image.fromarray(MARKED.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])  # as in PASCAL VOC
    palette.save(tmp_path / "p.png")
    assert np.array_equal(load_mask(tmp_path / "p.png", PHOTO), MARKED)


@pytest.mark.parametrize("paint", [(0, 0, 0), (255, 0, 0), (255, 255, 255), (90, 90, 90)])
@pytest.mark.parametrize("opacity", [255, 100])
def test_paint_on_a_transparent_layer_marks_where_it_is(paint, opacity, tmp_path: Path) -> None:
    hidden = np.full((8, 6, 3), 255, np.uint8)
    hidden[MARKED] = paint
    layer = np.dstack([hidden, (MARKED * opacity).astype(np.uint8)])
    assert np.array_equal(masked(tmp_path, layer), MARKED)


def test_a_cut_out_marks_where_it_is_opaque(tmp_path: Path) -> None:
    assert np.array_equal(masked(tmp_path, np.dstack([noise(8, 6, 3), PAINT])), MARKED)


def test_black_and_white_on_a_layer_marks_where_it_is_white(tmp_path: Path) -> None:
    opaque = np.zeros_like(MARKED)
    opaque[:, 3:] = True
    layer = np.dstack([PAINT] * 3 + [(opaque * 255).astype(np.uint8)])
    assert np.array_equal(masked(tmp_path, layer), MARKED & opaque)


def test_soft_masks_mark_from_the_middle_up(tmp_path: Path) -> None:
    soft = np.linspace(0, 255, 48).reshape(8, 6).astype(np.uint8)
    assert np.array_equal(masked(tmp_path, soft), soft >= 128)


FAINT = np.arange(48, dtype=np.uint8).reshape(8, 6)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (FAINT, "its largest value is 47 of 255, 98% of it are above 0; white and opaque are 128"),
        (np.full((8, 6), 1, np.uint8), "its largest value is 1 of 255, 100% of it"),
        (np.dstack([FAINT * 5] * 3 + [FAINT]), "its largest opacity is 47"),
        (np.dstack([PAINT] * 3 + [PAINT * 0]), "its largest opacity is 0"),
    ],
)
@pytest.mark.parametrize("edit_region", [False, True])
def test_what_marks_nothing_says_what_was_read(array, says, edit_region, tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", array)
    for read in (read_mask, load_mask):
        with pytest.raises(UsageError, match=f"m.png marks nothing: .*{says}"):
            read(path, PHOTO, edit_region=edit_region)


def test_labels_in_an_array_are_read_alike() -> None:
    labels = plain(MARKED.astype(np.uint8)[..., None])
    assert np.array_equal(white_of(labels, PHOTO, name="m"), MARKED)


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
