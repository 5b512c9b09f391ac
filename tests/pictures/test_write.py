"""Photos to files: what comes back, and what is refused."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photovax.errors import (
    SaveError,
)
from photovax.pictures.compression import Compression
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import (
    GREY_ICC,
    LOSSLESS,
    SRGB,
    XMP,
    camera_exif,
    noise,
    plain,
    round_trip,
    saved,
    smooth,
)


@pytest.mark.parametrize(
    ("suffix", "channels", "with_alpha"),
    [
        (suffix, channels, with_alpha)
        for suffix in [*LOSSLESS, ".tiff", ".PNG", ".heic", ".HIF"]
        for channels in (1, 3)
        for with_alpha in (False, True)
        # Alpha beside grey is refused for HEIC, which cannot hold it.
        if not (suffix in (".heic", ".HIF") and channels == 1 and with_alpha)
    ],
)
def test_pixels_and_alpha_come_back_bit_by_bit(suffix, channels, with_alpha, tmp_path) -> None:
    if suffix in (".heic", ".HIF"):
        pytest.importorskip("pillow_heif")
    alpha = noise(33, 150, seed=2) if with_alpha else None
    if alpha is not None:
        alpha[:, :70] = 0  # the colour beneath must survive too
    photo = plain(noise(33, 150, channels), alpha)
    back = round_trip(photo, tmp_path / f"x{suffix}")
    assert back.grey == (channels == 1 and suffix != ".webp")
    assert (back.pixels == photo.pixels).all()
    assert np.array_equal(back.alpha, alpha) if with_alpha else back.alpha is None
    assert back.notes == ()


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".avif", ".heic"])
def test_profile_exif_xmp_and_resolution_come_back(suffix: str, tmp_path: Path) -> None:
    source = saved(
        tmp_path / "x.jpg",
        smooth(),
        exif=camera_exif(">"),
        xmp=XMP,
        icc_profile=SRGB,
        dpi=(300, 150),
    )
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    photo = read_photo(source)
    assert photo.metadata.icc == SRGB
    back = round_trip(photo, tmp_path / f"out{suffix}").metadata
    assert (back.icc, back.xmp) == (SRGB, photo.metadata.xmp)
    if suffix != ".tif":  # there it is read from the file's own tables
        assert back.exif == photo.metadata.exif
    if suffix not in (".webp", ".avif", ".heic"):  # which have no place for it
        assert back.dpi == pytest.approx((300, 150), abs=0.02)


def test_grey_profile_stays(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        back = round_trip(plain(noise(4, 4, 1), icc=GREY_ICC), tmp_path / f"x{suffix}")
        assert back.metadata.icc == GREY_ICC


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    for name in ("x.jp2", "x.jxl", "x"):
        with pytest.raises(SaveError, match=r"not a type that is written; use \.png, \.tif"):
            write_photo(plain(noise(4, 4, 3)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_webp_has_a_largest_side(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"16384 x 1, and WebP takes 16383 a side; use \.png"):
        write_photo(plain(np.zeros((1, 16384, 3), np.uint8)), tmp_path / "x.webp")
    assert not list(tmp_path.iterdir())


def test_a_heic_that_its_encoder_refuses_is_said_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    long = plain(np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(SaveError, match=r"x\.heic: cannot be written: .*x265.*; use \.png"):
        write_photo(long, tmp_path / "x.heic", compression=Compression("HEIF", 60))
    assert not list(tmp_path.iterdir())


def test_what_a_program_sees_in_a_buffer_is_what_we_see(tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path / "x.png", noise(5, 6, 3)))
    write_photo(photo, tmp_path / "y.png")
    with Image.open(io.BytesIO((tmp_path / "y.png").read_bytes())) as image:
        assert np.array_equal(np.asarray(image), photo.pixels)
