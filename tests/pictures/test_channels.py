"""From however a file stores its channels to 8-bit grey or RGB, and alpha."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from photovax.errors import (
    UnreadablePhoto,
)
from photovax.pictures.colour import _READERS
from photovax.pictures.photo import read_photo
from tests.pictures.made import GREY_ICC, SRGB, cmyk_profile, noise, png, saved


def test_sixteen_bits_are_rounded_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65535]], np.uint16)
    photo = read_photo(saved(tmp_path / "x.png", values))
    assert photo.pixels[..., 0].tolist() == [[0, 0, 1, 1, 128, 254, 255]]
    assert "16-bit" in photo.notes[0]
    assert np.array_equal(read_photo(saved(tmp_path / "x.tif", values)).pixels, photo.pixels)


def test_sixteen_bits_of_a_pixel_are_no_sixteen_bit_channels(tmp_path: Path) -> None:
    """A bitmap with 5 or 6 bits a channel, in two bytes."""
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    head = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 2835, 2835, 0, 0)
    start = 14 + len(head) + len(masks)
    body = head + masks + struct.pack("<2H", 0xF800, 0x07E0)
    data = b"BM" + struct.pack("<IHHI", start + 4, 0, 0, start) + body
    (tmp_path / "x.bmp").write_bytes(data)
    photo = read_photo(tmp_path / "x.bmp")
    assert photo.pixels.tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert photo.notes == ()


def test_sixteen_bit_colour_is_noted(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0x1234, 0, 65535)))
    photo = read_photo(tmp_path / "x.png")
    assert photo.pixels.tolist() == [[[0x12, 0, 255]]]
    assert "16-bit" in photo.notes[0]


@pytest.mark.parametrize(
    ("values", "pixels"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [[0, 128, 255]]),
        (np.array([[0, 257, 65535]], np.int32), [[0, 1, 255]]),
    ],
)
def test_float_and_32_bit_grey(values: np.ndarray, pixels: list, tmp_path: Path) -> None:
    assert read_photo(saved(tmp_path / "x.tif", values)).pixels[..., 0].tolist() == pixels


@pytest.mark.parametrize("values", [[[0.0, 255.0]], [[0.0, np.nan]], [[-1.0, 1.0]]])
def test_grey_without_a_known_range_is_refused(values: list, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.tif", np.array(values, np.float32))
    with pytest.raises(UnreadablePhoto, match=r"x\.tif: grey values .* allowed are 0 to 1; save"):
        read_photo(path)


def test_white_is_zero_at_sixteen_bits(tmp_path: Path) -> None:
    values, path = np.array([[0, 65535]], np.uint16), tmp_path / "x.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    Image.fromarray(values).save(path, tiffinfo=tags)
    assert read_photo(path).pixels[..., 0].tolist() == [[255, 0]]


def test_one_bit(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(np.array([[True, False]])).save(path)
    photo = read_photo(path)
    assert photo.pixels[..., 0].tolist() == [[255, 0]]
    assert photo.grey
    assert "1-bit" in photo.notes[0]


@pytest.mark.parametrize(
    ("bits", "colour", "rows", "key", "alpha"),
    [
        (8, 0, b"\0\x03\x05", [3], [0, 255]),
        (4, 0, b"\0\x3f", [3], [0, 255]),
        (1, 0, b"\0\x40", [1], [255, 0]),
        (16, 0, b"\0\x01\x03\x02\x05", [0x0103], [0, 255]),
        (8, 2, b"\0\1\2\3\1\2\4", [1, 2, 3], [0, 255]),
        (16, 2, b"\0\1\0\2\0\3\0\1\0\2\0\4\0", [256, 512, 768], [0, 255]),
    ],
)
def test_png_with_one_transparent_colour(bits, colour, rows, key, alpha, tmp_path: Path) -> None:
    key_chunk = (b"tRNS", struct.pack(f">{len(key)}H", *key))
    (tmp_path / "x.png").write_bytes(png(2, 1, bits, colour, rows, key_chunk))
    photo = read_photo(tmp_path / "x.png")
    assert photo.alpha.tolist() == [alpha]
    assert photo.grey == (colour == 0)


def test_grey_with_alpha_in_sixteen_bits_stays_grey_with_its_profile(tmp_path: Path) -> None:
    chunk = (b"iCCP", b"grey\0\0" + zlib.compress(GREY_ICC))
    (tmp_path / "x.png").write_bytes(png(2, 1, 16, 4, b"\0\x40\0\xff\xff\x80\0\0\0", chunk))
    photo = read_photo(tmp_path / "x.png")
    assert photo.grey
    assert photo.pixels[..., 0].tolist() == [[0x40, 0x80]]
    assert photo.alpha.tolist() == [[255, 0]]
    assert photo.metadata.icc == GREY_ICC


def test_sixteen_bits_of_netpbm_are_noted(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 1 1 65535\n\x80\x00")
    assert any("16-bit" in note for note in read_photo(tmp_path / "x.pgm").notes)


def test_palette_with_an_alpha_for_each_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "x.png", transparency=bytes([0, 128]))
    photo = read_photo(tmp_path / "x.png")
    assert photo.pixels.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert photo.alpha.tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_goes_through_its_own_profile(suffix: str, tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    bare, tagged = tmp_path / f"bare.{suffix}", tmp_path / f"tagged.{suffix}"
    inks.save(bare)
    inks.save(tagged, icc_profile=cmyk_profile())
    red, green, _ = read_photo(bare).pixels[8, 8].tolist()
    assert (red < 5, green > 250) == (True, True)  # not inverted
    photo = read_photo(tagged)
    red, green, blue = photo.pixels[8, 8].astype(int).tolist()
    assert max(red, green, blue) - min(red, green, blue) <= 3
    assert 150 < green < 220
    assert photo.metadata.icc is None
    assert photo.notes == ("CMYK inks: a saved copy has sRGB",)


def test_cmyk_with_a_damaged_profile_is_still_read(tmp_path: Path) -> None:
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    inks.save(tmp_path / "x.jpg", icc_profile=cmyk_profile()[:150])
    photo = read_photo(tmp_path / "x.jpg")
    assert photo.pixels[8, 8, 1] > 250
    assert "approximate" in photo.notes[1]


def test_lab(tmp_path: Path) -> None:
    Image.new("LAB", (4, 4), (255, 128, 128)).save(tmp_path / "x.tif")
    photo = read_photo(tmp_path / "x.tif")
    assert (photo.pixels >= 254).all()
    assert "LAB" in photo.notes[0]


@pytest.mark.parametrize(
    ("channels", "icc"),
    [(1, SRGB), (3, GREY_ICC), (3, b"junk"), (3, SRGB[:100])],
    ids=["colour", "grey", "junk", "cut"],
)
def test_a_profile_that_does_not_fit_is_dropped_with_a_note(channels, icc, tmp_path: Path) -> None:
    array = noise(8, 8, channels).squeeze()
    photo = read_photo(saved(tmp_path / "x.jpg", array, icc_profile=icc))
    assert photo.metadata.icc is None
    assert "profile" in photo.notes[0]


def test_more_bits_than_are_kept_are_noted(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 2 2 65535\n" + bytes(24))
    assert read_photo(tmp_path / "a.ppm").notes == ("16-bit channels: a saved copy has 8 bits",)
    (tmp_path / "b.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    assert read_photo(tmp_path / "b.ppm").notes == ()
    picture = Image.new("RGB", (16, 16), "teal")
    for name, mark, at, value, bits in (
        ("a.jp2", b"ihdr", 10, 15, 16),
        ("a.avif", b"pixi", 5, 10, 10),
        ("a.avif", b"av1C", 2, 0x40, 10),
    ):
        picture.save(tmp_path / name)
        data = bytearray((tmp_path / name).read_bytes())
        assert not [note for note in read_photo(bytes(data)).notes if "bit channels" in note]
        if mark == b"av1C":
            data = data.replace(b"pixi", b"free")
        data[data.index(mark) + 4 + at] |= value
        reader = _READERS["AVIF" if name.endswith("avif") else "JPEG2000"]
        assert reader(BytesIO(bytes(data))).bits == bits
