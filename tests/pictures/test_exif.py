"""Metadata: what is kept, what is taken out, and what is noted."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from photovax.pictures.exif import Metadata, tidied
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import (
    LOSSLESS,
    XMP,
    camera_exif,
    noise,
    plain,
    round_trip,
    saved,
    smooth,
)


def test_orientation_that_only_xmp_tells_is_applied_and_dropped(tmp_path: Path) -> None:
    xmp = XMP.replace(b"exif:ExposureTime=", b'tiff:Orientation="6" exif:ExposureTime=')
    photo = read_photo(saved(tmp_path / "x.jpg", smooth(24, 40), xmp=xmp))
    assert photo.pixels.shape == (40, 24, 3)
    assert b"Orientation" not in photo.metadata.xmp
    assert b'exif:ExposureTime="1/50"' in photo.metadata.xmp


@pytest.mark.parametrize("order", ["<", ">"])
def test_thumbnails_and_previews_are_gone_and_the_maker_note_stays_in_place(
    order, tmp_path
) -> None:
    path = saved(tmp_path / "x.jpg", smooth(), exif=camera_exif(order), xmp=XMP)
    photo = read_photo(path)
    for stale in (b"THUMBNAIL", b"PREVIEW", b"UNPROTECTED"):
        assert stale in path.read_bytes()
        assert stale not in photo.metadata.exif + photo.metadata.xmp
    for suffix in LOSSLESS:
        kept = round_trip(photo, tmp_path / f"out{suffix}").metadata.exif
        exif = Image.Exif()
        exif.load(kept)
        assert exif[0x010F] == "Camera Inc."
        assert 0x0112 not in exif
        assert not exif.get_ifd(0x0201)
        assert exif.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"
        assert exif.get_ifd(0x8825)[2] == (48, 51, 777.777)
        note = exif.get_ifd(0x8769)[0x927C]
        assert note[:5] + note[-3:] == b"MAKERend"
        (offset,) = struct.unpack(order + "I", note[5:9])
        file = (tmp_path / "out.tif").read_bytes() if suffix == ".tif" else kept[6:]
        assert file[offset:].startswith(b"far-away maker data"), suffix


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_gps_only_the_place_is_gone(order, tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path / "x.jpg", smooth(), exif=camera_exif(order), xmp=XMP))
    assert b"GPSLatitude" in photo.metadata.xmp
    clean = photo.without_gps()
    coordinate = struct.pack(order + "I", 777777)
    assert coordinate in photo.metadata.exif
    assert coordinate not in clean.metadata.exif
    assert b"GPS" not in clean.metadata.xmp
    assert b'exif:ExposureTime="1/50"' in clean.metadata.xmp
    assert b"<dc:rights>\xc2\xa9 Ann</dc:rights>" in clean.metadata.xmp
    assert clean.pixels is photo.pixels
    for suffix in LOSSLESS:
        write_photo(clean, tmp_path / f"out{suffix}")
        assert coordinate not in (tmp_path / f"out{suffix}").read_bytes()
        exif = Image.Exif()
        exif.load(read_photo(tmp_path / f"out{suffix}").metadata.exif)
        assert not exif.get_ifd(0x8825)
        assert exif.get_ifd(0x8769)[0x9003] == "2024:05:06 07:08:09"


def test_places_under_other_names_are_gone_too() -> None:
    places = (
        b' xmlns:drone="http://www.dji.com/drone-dji/1.0/" drone:GpsLatitude="48.1"'
        b' drone:FlightYawDegree="3" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        b' photoshop:City="Bern" photoshop:Credit="Ann"'
        b' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        b"<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li>Wankdorf</rdf:li></rdf:Bag>"
        b"</Iptc4xmpExt:LocationShown>"
    )
    xmp = XMP.replace(b' exif:ExposureTime="1/50">', b' exif:ExposureTime="1/50"' + places)
    kept = plain(noise(1, 1, 3), xmp=xmp).without_gps().metadata.xmp
    assert kept is not None
    for secret in (b"48", b"2,17", b"Bern", b"Wankdorf"):
        assert secret not in kept
    for fact in (b'YawDegree="3"', b'Credit="Ann"', b'ExposureTime="1/50"', b"Ann</dc:rights>"):
        assert fact in kept


def _with_default_namespace(name: bytes, namespace: bytes) -> bytes:
    """A packet with a property that has no prefix."""
    end = b"</rdf:Description>"
    return XMP.replace(
        end, b"<" + name + b' xmlns="' + namespace + b'">41,53.4N</' + name + b">" + end, 1
    )


@pytest.mark.parametrize(
    "xmp",
    [
        XMP.decode().encode("utf-16"),
        XMP.replace(b"</exif:GPSLongitude>", b""),
        XMP.replace(b'exif="http', b'place="http').replace(b"exif:", b"place:"),
        XMP.replace(b'exif="http', 'é="http'.encode()).replace(b"exif:", "é:".encode()),
        _with_default_namespace(b"GPSLatitude", b"http://ns.adobe.com/exif/1.0/"),
        _with_default_namespace(b"City", b"http://ns.adobe.com/photoshop/1.0/"),
    ],
    ids=["utf-16", "no end", "other prefix", "a prefix with an accent", "no prefix", "a city"],
)
def test_no_form_of_xmp_lets_the_place_through(xmp: bytes) -> None:
    kept = plain(noise(1, 1, 3), xmp=xmp).without_gps().metadata.xmp
    assert kept is None or (b"GPS" not in kept and b"41,53.4N" not in kept)
    assert kept is None or b"Ann" in kept


def test_places_in_packets_inside_exif_are_gone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a hut"
    for tag in (700, 33723, 34377):
        exif[tag] = b'<x exif:GPSLatitude="41,53.4N"/> ' + bytes(9)
    for suffix in (".jpg", ".png", ".webp"):
        photo = read_photo(saved(tmp_path / f"x{suffix}", smooth(), exif=exif.tobytes()))
        write_photo(photo.without_gps(), tmp_path / f"out{suffix}")
        written = (tmp_path / f"out{suffix}").read_bytes()
        assert b"41,53.4N" not in written
        assert b"a hut" in written


def test_a_preview_without_a_prefix_is_gone_too() -> None:
    xmp = _with_default_namespace(b"Thumbnails", b"http://ns.adobe.com/xap/1.0/")
    found, _, notes = tidied(Metadata(xmp=xmp))
    assert found.xmp is None
    assert "XMP" in notes[0]


def test_exif_too_damaged_to_search_is_dropped(tmp_path: Path) -> None:
    cut = camera_exif()[:40]
    photo = read_photo(saved(tmp_path / "x.jpg", smooth(), exif=cut))
    assert photo.metadata.exif is None
    assert "damaged EXIF" in photo.notes[0]
    assert plain(noise(1, 1, 3), exif=cut).without_gps().metadata.exif is None


@pytest.mark.parametrize(("orientation", "sides"), [(1, (20, 12)), (3, (20, 12)), (6, (12, 20))])
def test_the_sides_in_exif_are_those_of_the_upright_photo(
    orientation: int, sides: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker"
    exif.get_ifd(0x8769).update({0xA002: 20, 0xA003: 12, 0x829A: 0.5})
    photo = read_photo(saved(tmp_path / "x.jpg", smooth(12, 20), exif=exif.tobytes()))
    kept = Image.Exif()
    kept.load(photo.metadata.exif)
    inner = kept.get_ifd(0x8769)
    assert (inner[0xA002], inner[0xA003]) == sides == (photo.width, photo.height)
    assert inner[0x829A] == 0.5
