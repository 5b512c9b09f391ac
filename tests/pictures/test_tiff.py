"""TIFF with the photo's own EXIF tables."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photovax.pictures.exif import ExifTable
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import noise, plain, round_trip


def test_tiff_of_many_strips_is_read_alike_by_others(tmp_path: Path) -> None:
    photo = plain(noise(300, 700, 3), noise(300, 700), dpi=(300, 299.5))
    write_photo(photo, tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as image:
        assert (image.mode, image.info["compression"]) == ("RGBA", "tiff_adobe_deflate")
        assert np.array_equal(np.asarray(image)[..., :3], photo.pixels)


def test_tags_about_the_sources_pixels_do_not_spoil_a_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[256], exif[257], exif[258], exif[262], exif[0x010F] = 4000, 3000, 16, 5, "Camera"
    photo = plain(noise(8, 9, 3), exif=exif.tobytes())
    back = round_trip(photo, tmp_path / "x.tif")
    assert np.array_equal(back.pixels, photo.pixels)
    assert ExifTable(back.metadata.exif).entries


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png"])
def test_names_with_accents_keep_their_bytes(suffix: str, tmp_path: Path) -> None:
    utf8, latin1 = "© 2020 José Müller".encode(), "Über den Wolken".encode("latin-1")
    tags = Image.Exif()
    tags[0x8298], tags[0x010E] = utf8, latin1
    tags.get_ifd(0x8769)[0x9290] = "42"
    Image.fromarray(noise(8, 9, 3)).save(tmp_path / "in.tif", exif=tags)
    photo = read_photo(tmp_path / "in.tif")
    assert photo.notes == ()
    back = round_trip(photo, tmp_path / f"out{suffix}").metadata.exif
    assert utf8 + b"\0" in back
    assert latin1 + b"\0" in back
