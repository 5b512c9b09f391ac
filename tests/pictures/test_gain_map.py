"""Gain maps of HDR photos: kept in JPEG, as other readers see it; noted elsewhere."""

# mypy: disable-error-code="arg-type, operator, type-var, union-attr"

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, MpoImagePlugin
from typer.testing import CliRunner

from photovax.checks.verdicts import Verdict
from photovax.cli import app
from photovax.errors import BudgetExceeded, SaveError
from photovax.pictures.gain_map import GainMap
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from photovax.saving import check_promises
from tests.pictures import phones
from tests.pictures.made import LOSSLESS, camera_exif, plain, round_trip, smooth

# The metadata block of ISO 21496-1 as libultrahdr writes it: its versions alone in the first
# picture.
ISO_BASE = bytes(4)


def hdr(data: bytes) -> np.ndarray:
    """The HDR photo of a file, linear, by Google's libultrahdr."""
    return imagecodecs.ultrahdr_decode(data).astype(float)[..., :3]


def linear(pixels: np.ndarray) -> np.ndarray:
    shown = pixels / 255
    return np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)


def boost(data: bytes) -> np.ndarray:
    """By how much the HDR photo is brighter than the first picture, in each pixel."""
    with Image.open(io.BytesIO(data)) as image:
        shown = linear(np.asarray(image.convert("RGB")))
    return (hdr(data) + 1 / 64) / (shown + 1 / 64)


def oriented(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Camera"
    return exif.tobytes()


@pytest.mark.parametrize(
    ("mpf", "listed"),
    [(True, True), (False, True), (True, False), (False, False)],
    ids=["both", "directory", "index", "neither"],
)
def test_is_kept_in_jpeg_byte_for_byte_however_it_was_found(
    mpf: bool, listed: bool, tmp_path: Path
) -> None:
    mapped = phones.gain_map()
    photo = read_photo(phones.ultra_hdr(mapped, mpf=mpf, listed=listed))
    assert photo.notes == ()
    write_photo(photo, tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    first, second = phones.parts(data)
    assert second == mapped
    with MpoImagePlugin.MpoImageFile(tmp_path / "x.jpg") as image:
        assert image.n_frames == 2
        image.seek(1)
        with Image.open(io.BytesIO(mapped)) as same:
            assert np.array_equal(np.asarray(image), np.asarray(same))
    with Image.open(io.BytesIO(first)) as image:
        xmp = image.info.get("xmp", b"")
    assert xmp.count(b":Directory>") == (2 if listed else 0)
    assert re.findall(rb'Item:Length="(\d+)"', xmp) == ([b"%d" % len(mapped)] if listed else [])
    assert (b"kept" in xmp, b'hdrgm:Version="1.0"' in xmp) == (listed, listed)
    again = read_photo(tmp_path / "x.jpg")
    assert (again.gain_map, again.notes) == (photo.gain_map, ())
    if listed:  # without a version in XMP, no reader takes the first picture for HDR
        assert hdr(data).max() > 3


def test_an_immunized_photo_is_as_hdr_as_its_original(immunizer, quick, tmp_path: Path) -> None:
    given = phones.ultra_hdr(phones.gain_map())
    result = immunizer.immunize(read_photo(given), quick)
    saved = immunizer.save(result, tmp_path / "x.jpg")
    assert saved.notes == ()
    made = (tmp_path / "x.jpg").read_bytes()
    assert np.abs(read_photo(given).pixels.astype(int) - read_photo(made).pixels).max() > 4
    assert boost(given).max() > 3
    assert np.abs(boost(made) / boost(given) - 1).max() < 0.05


def test_a_file_of_libultrahdr_stays_one(immunizer, quick, tmp_path: Path) -> None:
    scene = np.ones((64, 96, 4), np.float16)
    scene[..., 0] = np.linspace(0, 4, 96)
    scene[..., 1] = np.linspace(0, 2, 64)[:, None]
    given = imagecodecs.ultrahdr_encode(scene)
    photo = read_photo(given)
    assert photo.gain_map.iso == ISO_BASE
    immunizer.save(immunizer.immunize(photo, quick), tmp_path / "x.jpg")
    made = (tmp_path / "x.jpg").read_bytes()
    assert imagecodecs.ultrahdr_check(made)
    assert phones.parts(made)[1] == phones.parts(given)[1]
    assert hdr(made).max() > 3
    assert np.median(np.abs(boost(made) / boost(given) - 1)) < 0.02


@pytest.mark.parametrize("kind", ["apple", "iso"])
def test_is_recognised_by_apples_and_isos_announcements(kind: str, tmp_path: Path) -> None:
    iso = None if kind == "apple" else ISO_BASE
    mapped = {
        "apple": phones.gain_map(xmp=phones.packet(phones.APPLE)),
        "iso": phones.gain_map(phones.segment(0xE2, phones.ISO + bytes(57)), xmp=b""),
    }[kind]
    photo = read_photo(phones.ultra_hdr(mapped, listed=False, iso=iso))
    assert photo.notes == ()
    again = round_trip(photo, tmp_path / "x.jpg")
    assert again.gain_map == photo.gain_map == GainMap(mapped, "", iso or b"")
    assert phones.parts((tmp_path / "x.jpg").read_bytes())[1] == mapped
    assert again.metadata.xmp is None


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_is_turned_with_the_photo(orientation: int, tmp_path: Path) -> None:
    settings = phones.packet(phones.SETTINGS)
    given = phones.ultra_hdr(phones.gain_map(), exif=oriented(orientation))
    photo = read_photo(given)
    write_photo(photo, tmp_path / "x.jpg")
    made = (tmp_path / "x.jpg").read_bytes()
    assert photo.pixels.shape == ((96, 64, 3) if orientation > 4 else (64, 96, 3))
    turn = {
        2: lambda array: array[:, ::-1],
        3: lambda array: array[::-1, ::-1],
        6: lambda array: np.rot90(array, -1),
        8: np.rot90,
    }[orientation]
    upright = phones.ultra_hdr(phones.gain_map())
    assert np.abs(boost(made) / turn(boost(upright)) - 1).max() < 0.1
    with MpoImagePlugin.MpoImageFile(tmp_path / "x.jpg") as image:
        image.seek(1)
        assert image.info["xmp"] == settings
        stored = smooth(16, 24)[..., 2]
        assert np.abs(np.asarray(image).astype(int) - turn(stored)).max() <= 6


def test_one_in_rgb_is_turned_in_its_colours() -> None:
    scene = smooth(16, 24)
    file = io.BytesIO()
    Image.fromarray(scene).save(
        file, "JPEG", quality=95, keep_rgb=True, xmp=phones.packet(phones.SETTINGS)
    )
    adobe = phones.segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    mapped = file.getvalue()[:2] + adobe + file.getvalue()[2:]
    with Image.open(io.BytesIO(mapped)) as image:
        assert np.abs(np.asarray(image).astype(int) - scene).max() < 12
    photo = read_photo(phones.ultra_hdr(mapped, exif=oriented(3)))
    assert b"Adobe" not in photo.gain_map.data  # its colours are no longer RGB in the file
    with Image.open(io.BytesIO(photo.gain_map.data)) as image:
        assert np.abs(np.asarray(image).astype(int) - scene[::-1, ::-1]).max() < 12


def test_one_that_cannot_be_turned_is_dropped_with_a_line(tmp_path: Path) -> None:
    at = (mapped := phones.gain_map()).index(b"\xff\xc0")  # a process that nobody decodes
    ink = io.BytesIO()
    Image.new("CMYK", (24, 16)).save(ink, "JPEG", xmp=phones.packet(phones.SETTINGS))
    for number, odd in enumerate([mapped[:at] + b"\xff\xc5" + mapped[at + 2 :], ink.getvalue()]):
        photo = read_photo(phones.ultra_hdr(odd, exif=oriented(6)))
        assert photo.gain_map is None
        assert photo.notes == ("an HDR gain map that cannot be turned upright: not kept",)
        again = round_trip(photo, path := tmp_path / f"{number}.jpg")
        assert b"Container" not in path.read_bytes()
        assert again.notes == ()
        kept = read_photo(phones.ultra_hdr(odd))
        assert kept.gain_map.data == odd


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_elsewhere_it_is_noted_and_nothing_points_at_it(
    suffix: str, immunizer, quick, tmp_path: Path
) -> None:
    photo = read_photo(phones.ultra_hdr(phones.gain_map()))
    quick = replace(quick, steps=1)
    saved = immunizer.save(immunizer.immunize(photo, quick), tmp_path / f"x{suffix}")
    assert saved.notes == (f"an HDR gain map: kept in .jpg, but not in {suffix}",)
    assert saved.notes[0] in saved.record.read_text()
    again = read_photo(saved.path)
    assert b'dc:source="kept"' in again.metadata.xmp
    assert not re.search(rb"hdrgm:Version|Directory|Item:", again.metadata.xmp)


def test_the_command_line_says_where_it_stays(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(phones.ultra_hdr(phones.gain_map()))
    for suffix in (".jpg", ".png"):
        arguments = ["immunize", tmp_path / "x.jpg", "-o", tmp_path / f"y{suffix}"]
        options = ["--recipe", "fast-linf", "--size", "64", "--time", "0.01"]
        made = CliRunner().invoke(app, [*map(str, arguments), *options])
        # One step does hardly anything, which is no success.
        assert made.exit_code == Verdict.FAIL.exit_code, made.output
        assert ("HDR gain map: kept in .jpg, but not in .png" in made.stdout) == (suffix == ".png")


def test_the_location_goes_from_it_too_and_previews_in_any_case(tmp_path: Path) -> None:
    xmp = phones.packet(
        phones.SETTINGS + ' xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,51N"'
    )
    mapped = phones.gain_map(xmp=xmp, exif=camera_exif(orientation=1))
    photo = read_photo(phones.ultra_hdr(mapped))
    assert b"THUMBNAIL" not in photo.gain_map.data
    assert b"GPSLatitude" in photo.gain_map.data
    without = photo.without_gps()
    again = round_trip(without, tmp_path / "x.jpg")
    assert again.gain_map == without.gain_map
    assert b"GPSLatitude" not in again.gain_map.data
    assert struct_of_gps() not in again.gain_map.data
    assert b"Camera Inc." in again.gain_map.data
    assert hdr((tmp_path / "x.jpg").read_bytes()).max() > 3


def struct_of_gps() -> bytes:
    """The latitude in ``camera_exif``."""
    return np.array([48, 1, 51, 1, 777777, 1000], "<u4").tobytes()


def test_damaged_xmp_of_a_gain_map_costs_no_work(tmp_path: Path) -> None:
    whole = phones.packet(phones.SETTINGS + ' xmlns:e="x"')
    torn = whole.replace(b"</rdf:RDF>", b"<e:GPSAltitude>")
    for number, exif in enumerate([camera_exif(orientation=1), None]):
        photo = read_photo(phones.ultra_hdr(phones.gain_map(xmp=torn, exif=exif), listed=False))
        assert torn in photo.gain_map.data
        without = photo.without_gps()
        assert without.gain_map is None
        assert without.notes == ("an HDR gain map with damaged XMP: not kept",)
        for part, each in enumerate([photo, without]):
            again = round_trip(each, tmp_path / f"{number}{part}.jpg")
            assert again.gain_map == each.gain_map


def test_xmp_that_is_none_is_replaced_by_what_announces_it(tmp_path: Path) -> None:
    odd = f'<x xmlns:hdrgm="{phones.HDRGM}" hdrgm:Version="1.0"/>'.encode()
    photo = read_photo(phones.indexed(phones.jpeg(phones.base(), xmp=odd), phones.gain_map()))
    assert photo.gain_map.version == "1.0"
    assert round_trip(photo, tmp_path / "x.jpg").gain_map == photo.gain_map
    assert hdr((tmp_path / "x.jpg").read_bytes()).max() > 3


def test_a_saved_file_with_another_gain_map_is_not_kept(immunizer, quick, tmp_path: Path) -> None:
    photo = read_photo(phones.ultra_hdr(phones.gain_map()))
    result = immunizer.immunize(photo, replace(quick, steps=1))
    immunizer.save(result, tmp_path / "x.jpg")
    reopened = read_photo(tmp_path / "x.jpg")
    shown = replace(result, photo=result.photo.with_pixels(reopened.pixels))
    check_promises(shown, reopened)
    for wrong in (None, replace(reopened.gain_map, data=reopened.gain_map.data + b"\0")):
        with pytest.raises(BudgetExceeded, match="a different gain map"):
            check_promises(shown, replace(reopened, gain_map=wrong))


def test_xmp_that_only_fits_without_the_directory_is_refused_before_the_work() -> None:
    photo = read_photo(phones.ultra_hdr(phones.gain_map()))
    filled = photo.metadata.xmp.replace(b"kept", b"k" * 65_000)
    photo = replace(photo, metadata=replace(photo.metadata, xmp=filled))
    Destination(Path("x.png")).check_fits(photo, masked=False)
    Destination(Path("x.jpg")).check_fits(replace(photo, gain_map=None), masked=False)
    with pytest.raises(SaveError, match="bytes of XMP, and JPEG holds"):
        Destination(Path("x.jpg")).check_fits(photo, masked=False)


def test_a_photo_without_xmp_gets_a_packet_for_it(tmp_path: Path) -> None:
    mapped = phones.gain_map()
    photo = replace(plain(phones.base()), gain_map=GainMap(mapped, "1.0"))
    assert round_trip(photo, tmp_path / "x.jpg").gain_map == photo.gain_map
    assert hdr((tmp_path / "x.jpg").read_bytes()).max() > 3


def test_a_version_that_is_markup_is_not_written(tmp_path: Path) -> None:
    given = phones.ultra_hdr(phones.gain_map(), mpf=False)
    forged = given.replace(b'hdrgm:Version="1.0"', b"hdrgm:Version=\"'>'\"", 1)
    photo = read_photo(forged)
    assert photo.gain_map.version == ""
    assert round_trip(photo, tmp_path / "x.jpg").gain_map == photo.gain_map
