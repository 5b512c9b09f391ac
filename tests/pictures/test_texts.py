"""Captions, comments and texts: where they are found in each type of file that is written."""

# A None where bytes belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, attr-defined, index, no-untyped-def, operator, union-attr"

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin, PngImagePlugin, TiffImagePlugin

from photovax.errors import SaveError
from photovax.pictures.iptc import jpeg_segment
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import XMP, dataset, noise, plain, round_trip, smooth

IIM = b"".join(
    [
        dataset(90, b"\x1b%G", record=1),
        dataset(5, b"Harbour"),
        dataset(25, b"boat"),
        dataset(25, b"sea"),
        dataset(55, b"20240506"),
        dataset(80, "Żaneta 写".encode()),
        dataset(90, b"Paris"),
        dataset(110, b"Agency & Sons"),
        dataset(116, b"\xc2\xa9 Agency <all rights>"),
        dataset(120, b"A harbour\nat dawn"),
    ]
)


UUIDS = {
    "exif": b"JpgTiffExif->JP2",
    "xmp": bytes.fromhex("be7acfcb97a942e89c71999491e3afac"),
    "iptc": bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"),
}


def encoded(kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(smooth()).save(file, kind, **options)
    return file.getvalue()


def jpeg() -> bytes:
    return encoded("JPEG", extra=jpeg_segment(IIM))


def tiff(kind: int, value: bytes, tag: int = 33723) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag], tags.tagtype[tag] = value, 7
    data = encoded("TIFF", tiffinfo=tags)
    written = struct.pack("<HHI", tag, 7, len(value))
    assert written in data
    count = len(value) // 4 if kind == 4 else len(value)
    return data.replace(written, struct.pack("<HHI", tag, kind, count))


PADDED = IIM + bytes(-len(IIM) % 4)
SWAPPED = struct.pack(f">{len(PADDED) // 4}I", *struct.unpack(f"<{len(PADDED) // 4}I", PADDED))


def png(**texts: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key.replace("_", " "), text)
    return encoded("PNG", pnginfo=info)


def as_imagemagick(kind: str, data: bytes) -> dict[str, str]:
    digits = data.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return {f"Raw_profile_type_{kind}": f"\n{kind}\n{len(data):8}\n" + "\n".join(lines) + "\n"}


def xmp_of(path: Path) -> dict[str, Any]:
    """The properties of a file's packet, as Pillow reads them."""
    with Image.open(path) as image:
        image.load()
        descriptions = image.getxmp()["xmpmeta"]["RDF"]["Description"]
    parts = descriptions if isinstance(descriptions, list) else [descriptions]
    return {key: value for part in parts for key, value in part.items()}


def jpeg2000(**blocks: bytes) -> bytes:
    """A JP2 with blocks of metadata behind its picture, as ExifTool writes them."""
    data = encoded("JPEG2000", irreversible=False)
    for kind, block in blocks.items():
        data += struct.pack(">I4s", 24 + len(block), b"uuid") + UUIDS[kind] + block
    return data


SOURCES = {
    "JPEG": jpeg,
    "JPEG 2000": lambda: jpeg2000(iptc=IIM),
    "TIFF": lambda: tiff(7, IIM),
    "TIFF of bytes": lambda: tiff(1, IIM),
    "TIFF of whole numbers": lambda: tiff(4, PADDED),
    "TIFF of another machine": lambda: tiff(4, SWAPPED),
    "TIFF with Photoshop's blocks": lambda: tiff(1, jpeg_segment(IIM)[18:], tag=34377),
    "PNG by ImageMagick": lambda: png(**as_imagemagick("iptc", jpeg_segment(IIM)[18:])),
    "PNG with bare IIM": lambda: png(**as_imagemagick("iptc", IIM)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_iptc_is_kept_in_jpeg_and_tiff_and_in_the_xmp_of_others(source, tmp_path: Path) -> None:
    photo = read_photo(SOURCES[source]())
    assert photo.notes == ()
    for suffix in (".jpg", ".tif"):
        write_photo(photo, tmp_path / f"x{suffix}")
        with Image.open(tmp_path / f"x{suffix}") as image:
            read = IptcImagePlugin.getiptcinfo(image)
        assert read[2, 80] == "Żaneta 写".encode()
        assert read[2, 25] == [b"boat", b"sea"]
        assert read[2, 116] == "© Agency <all rights>".encode()
        assert read_photo(tmp_path / f"x{suffix}").metadata.iptc == photo.metadata.iptc
    for suffix in (".png", ".webp"):
        write_photo(photo, tmp_path / f"x{suffix}")
        found = xmp_of(tmp_path / f"x{suffix}")
        assert found["creator"]["Seq"]["li"] == "Żaneta 写"
        assert found["subject"]["Bag"]["li"] == ["boat", "sea"]
        assert found["rights"]["Alt"]["li"] == {
            "lang": "x-default",
            "text": "© Agency <all rights>",
        }
        assert found["description"]["Alt"]["li"]["text"] == "A harbour\nat dawn"
        assert (found["Credit"], found["City"]) == ("Agency & Sons", "Paris")
        assert found["DateCreated"] == "2024-05-06"


def test_what_xmp_says_already_stays_to_the_byte(tmp_path: Path) -> None:
    photo = plain(noise(8, 8, 3), xmp=XMP, iptc=dataset(116, b"another") + dataset(5, b"Title"))
    found = round_trip(photo, tmp_path / "x.png").metadata.xmp
    assert xmp_of(tmp_path / "x.png")["title"]["Alt"]["li"]["text"] == "Title"
    assert b"another" not in found
    assert found.startswith(XMP[: XMP.index(b"<xmp:Thumbnails")])
    only = plain(noise(8, 8, 3), xmp=XMP, iptc=dataset(116, b"another"))
    write_photo(only, tmp_path / "y.webp")
    with Image.open(tmp_path / "y.webp") as image:
        assert image.info["xmp"] == XMP


def test_a_damaged_packet_gives_way_to_one_that_can_be_read(tmp_path: Path) -> None:
    photo = plain(noise(8, 8, 3), xmp=b"<x:xmpmeta", iptc=dataset(5, b"Title \x01"))
    write_photo(photo, tmp_path / "x.png")
    assert xmp_of(tmp_path / "x.png")["title"]["Alt"]["li"]["text"] == "Title "
    data = encoded("JPEG", extra=jpeg_segment(IIM), xmp=b"<x:xmpmeta")
    (note,) = read_photo(data).notes
    assert note == "damaged XMP: a new packet replaces it where texts are carried into XMP"
    assert read_photo(encoded("JPEG", xmp=b"<x:xmpmeta")).notes == ()


def test_places_go_with_the_location(tmp_path: Path) -> None:
    texts = (("exif:GPSLatitude", "48/1"), ("Title", "Harbour"))
    photo = plain(noise(8, 8, 3), iptc=IIM, texts=texts).without_gps()
    for suffix in (".jpg", ".tif", ".png", ".webp"):
        write_photo(photo, tmp_path / f"x{suffix}")
        data = (tmp_path / f"x{suffix}").read_bytes()
        assert b"Paris" not in data
        assert b"48/1" not in data
        assert b"Agency" in data


def test_texts_of_png_stay_in_png_and_go_into_xmp_elsewhere(tmp_path: Path) -> None:
    texts = {"Title": "Boat", "Author": "Zoë", "Description": "写真", "parameters": "Steps: 20"}
    photo = read_photo(png(**texts, Comment="noted", Software="x"))
    assert photo.notes == ("PNG text ('parameters'): only PNG keeps it",)
    back = round_trip(photo, tmp_path / "x.png")
    assert back.metadata == photo.metadata
    with Image.open(tmp_path / "x.png") as image:
        assert dict(image.text) == texts | {"Comment": "noted", "Software": "x"}
    for suffix in (".jpg", ".tif", ".webp"):
        write_photo(photo, tmp_path / f"x{suffix}")
        found = xmp_of(tmp_path / f"x{suffix}")
        assert found["title"]["Alt"]["li"]["text"] == "Boat"
        assert found["creator"]["Seq"]["li"] == "Zoë"
        assert found["description"]["Alt"]["li"]["text"] == "写真"
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.info["comment"] == b"noted"


def test_all_comments_of_a_jpeg_stay(tmp_path: Path) -> None:
    data = encoded("JPEG", comment=b"second")
    at = data.index(b"\xff\xfe")
    first = b"\xff\xfe" + struct.pack(">H", 2 + 5) + b"first"
    photo = read_photo(data[:at] + first + data[at:])
    assert photo.metadata.texts == (("Comment", "first\nsecond"),)
    write_photo(photo, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.text == {"Comment": "first\nsecond"}


@pytest.mark.parametrize("comment", [b"by hand", "né à Żory".encode(), "né".encode("latin-1")])
def test_comments_stay(comment: bytes, tmp_path: Path) -> None:
    photo = read_photo(encoded("JPEG", comment=comment))
    text = comment.decode("latin-1" if comment[-1] == 0xE9 else "utf-8")
    assert photo.notes == ()
    write_photo(photo, tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.info["comment"].decode() == text
        assert "xmp" not in image.info
    write_photo(photo, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.text == {"Comment": text}
    write_photo(photo, tmp_path / "x.webp")
    assert xmp_of(tmp_path / "x.webp")["description"]["Alt"]["li"]["text"] == text


def test_a_description_goes_before_a_comment_and_iptc_before_both(tmp_path: Path) -> None:
    texts = (("Comment", "one"), ("Description", "two"))
    write_photo(plain(noise(8, 8, 3), texts=texts), tmp_path / "x.webp")
    assert xmp_of(tmp_path / "x.webp")["description"]["Alt"]["li"]["text"] == "two"
    photo = plain(noise(8, 8, 3), texts=texts, iptc=dataset(120, b"three"))
    write_photo(photo, tmp_path / "y.webp")
    assert xmp_of(tmp_path / "y.webp")["description"]["Alt"]["li"]["text"] == "three"


def test_a_pillow_image_has_them_in_its_xmp() -> None:
    photo = plain(noise(8, 8, 3), texts=(("Title", "Boat"),), iptc=dataset(80, b"Ann"))
    file = io.BytesIO()
    image = photo.to_image()
    image.save(file, "JPEG", xmp=image.info["xmp"])
    found = read_photo(file.getvalue()).metadata.xmp
    assert b"Boat" in found
    assert b"Ann" in found


def test_raw_profiles_are_read_or_noted() -> None:
    photo = read_photo(png(**as_imagemagick("xmp", XMP), **as_imagemagick("8bim", b"x")))
    assert b"Ann" in photo.metadata.xmp
    assert photo.notes == ("raw profiles in PNG text ('8bim'): not kept",)
    assert photo.metadata.texts == ()


def test_what_is_damaged_is_noted() -> None:
    for data in (encoded("JPEG", extra=jpeg_segment(b"rubbish")), tiff(7, b"rubbish")):
        photo = read_photo(data)
        assert photo.notes == ("damaged IPTC or XMP: not kept",)
        assert photo.metadata.iptc is None
    assert read_photo(encoded("JPEG", extra=jpeg_segment(b""))).notes == ()
    notes = read_photo(png(Raw_profile_type_iptc="\niptc\n 3\nxyz\n")).notes
    assert notes == ("damaged IPTC or XMP: not kept",)


def test_what_only_some_types_keep_is_noted() -> None:
    photo = read_photo(encoded("JPEG", extra=jpeg_segment(IIM + dataset(118, b"Ann"))))
    assert photo.notes == ("IPTC without a name in XMP (2:118): only JPEG and TIFF keep it",)
    many = read_photo(png(**{f"k{number}": "x" for number in range(9)}))
    assert many.notes == ("PNG text ('k0', 'k1', 'k2', 'k3' and 5 more): only PNG keeps it",)


def test_more_than_jpeg_holds_is_said_before_the_work(tmp_path: Path) -> None:
    for wrong, kind in (
        ({"iptc": dataset(120, b"x" * 66_000)}, "IPTC"),
        ({"texts": (("Comment", "x" * 66_000),)}, "comment"),
        ({"texts": (("Title", "x" * 66_000),)}, "XMP"),
    ):
        photo = plain(noise(8, 8, 3), **wrong)
        with pytest.raises(SaveError, match=rf"66\d\d\d bytes of {kind}, and JPEG holds 65"):
            Destination(tmp_path / "x.jpg").check_fits(photo, masked=False)
        Destination(tmp_path / "x.png").check_fits(photo, masked=False)
        assert isinstance(round_trip(photo, tmp_path / f"{kind}.png"), Photo)


def test_the_largest_iptc_fits_a_jpeg(tmp_path: Path) -> None:
    iim = dataset(120, b"x" * (65_506 - 9))
    photo = plain(noise(8, 8, 3), iptc=iim)
    Destination(tmp_path / "x.jpg").check_fits(photo, masked=False)
    assert len(iim) == 65_506
    assert round_trip(photo, tmp_path / "x.jpg").metadata.iptc == iim


def test_a_text_named_as_a_property_of_the_picture_is_a_text(tmp_path: Path) -> None:
    photo = read_photo(png(gamma="1.0", srgb="0", chromaticity="x", comment="y", nclx_profile="z"))
    assert photo.metadata.icc is None
    assert ("comment", "y") in photo.metadata.texts
    assert all(note.startswith("PNG text") for note in photo.notes)
    assert np.array_equal(photo.pixels, smooth())


def test_exif_and_xmp_of_jpeg_2000_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[274] = "Leica", 6
    photo = read_photo(jpeg2000(exif=exif.tobytes().removeprefix(b"Exif\0\0"), xmp=XMP))
    plainly = read_photo(jpeg2000())
    assert np.array_equal(photo.pixels, np.rot90(plainly.pixels, -1))  # as its EXIF says
    same = read_photo(encoded("WEBP", lossless=True, exif=exif.tobytes(), xmp=XMP))
    assert replace(photo.metadata, texts=()) == same.metadata
    assert photo.metadata.xmp is not None
    assert photo.notes == ()
    write_photo(photo, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        kept = image.getexif()
        assert (kept[271], kept.get(274, 1)) == ("Leica", 1)
    cut = jpeg2000() + struct.pack(">I4s", 20, b"uuid") + UUIDS["xmp"]
    assert read_photo(cut).metadata.xmp is None
