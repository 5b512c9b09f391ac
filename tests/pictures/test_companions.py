"""What lies beside a photo in its file: noted where it is lost, and nothing points at it after."""

# mypy: disable-error-code="arg-type, operator, union-attr"

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from photovax.errors import UnreadablePhoto
from photovax.pictures.companions import companions
from photovax.pictures.photo import Photo, read_photo
from tests.pictures import phones
from tests.pictures.made import XMP, round_trip, smooth

CAMERA = f'xmlns:GCamera="{phones.PHOTOS}camera/" '
MOTION = CAMERA + 'GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:BurstID="7"'
MICRO = CAMERA + f'GCamera:MicroVideo="1" GCamera:MicroVideoOffset="{len(phones.MP4)}"'
VIDEO = "a motion photo's video (40 bytes): not kept"


def motion_photo(attributes: str = MOTION) -> bytes:
    items = phones.directory(("MotionPhoto", len(phones.MP4)))
    return phones.jpeg(phones.base(), xmp=phones.packet(attributes, items)) + phones.MP4


@pytest.mark.parametrize("attributes", [MOTION, MICRO], ids=["motion photo", "micro video"])
def test_the_video_of_a_motion_photo_is_noted_and_no_longer_announced(
    attributes: str, tmp_path: Path
) -> None:
    photo = read_photo(motion_photo(attributes))
    assert photo.notes == (VIDEO,)
    for suffix in (".jpg", ".png"):
        again = round_trip(photo, tmp_path / f"x{suffix}")
        assert again.notes == ()
        assert b'dc:source="kept"' in again.metadata.xmp
        assert (b'BurstID="7"' in again.metadata.xmp) == (attributes == MOTION)
        assert not re.search(rb"MotionPhoto|MicroVideo|Directory|Item:", again.metadata.xmp)
        assert b"ftyp" not in (tmp_path / f"x{suffix}").read_bytes()


@pytest.mark.parametrize("index", [True, False])
def test_a_gain_map_before_a_video_is_kept(index: bool, tmp_path: Path) -> None:
    mapped = phones.gain_map()
    given = phones.ultra_hdr(mapped, mpf=index, behind=phones.MP4, attributes=MOTION)
    photo = read_photo(given)
    assert photo.notes == (VIDEO,)
    again = round_trip(photo, tmp_path / "x.jpg")
    assert again.gain_map.data == mapped
    assert again.notes == ()
    assert b"MotionPhoto" not in (tmp_path / "x.jpg").read_bytes()


def test_a_video_in_a_makers_own_wrapping_is_found() -> None:
    wrapped = b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + phones.MP4 + b"SEFHk\0\0\0SEFT"
    assert read_photo(phones.jpeg(phones.base()) + wrapped).notes == (
        VIDEO,
        "34 bytes behind the picture: not kept",
    )


def test_further_pictures_are_noted_whether_or_not_one_is_a_gain_map(tmp_path: Path) -> None:
    first, second = phones.jpeg(phones.base()), phones.jpeg(smooth(8, 8))
    mapped = phones.gain_map()
    alone = read_photo(phones.indexed(first, second))
    assert alone.notes == ("2 pictures in one file: only the primary one is kept",)
    assert alone.gain_map is None
    for order in "<>":
        both = read_photo(phones.indexed(first, second, mapped, order=order))
        assert both.notes == alone.notes
        assert both.gain_map.data == mapped
        assert round_trip(both, tmp_path / f"{ord(order)}.jpg").notes == ()


def test_an_index_that_leads_past_a_gap_is_followed() -> None:
    first, mapped = phones.jpeg(phones.base()), phones.gain_map()
    hidden = phones.indexed(first, b"maker's block" + mapped)
    at = hidden.index(b"MPF\0") + 4 + 50 + 16
    size, offset = struct.unpack_from("<II", hidden, at + 4)
    led = hidden[: at + 4] + struct.pack("<II", size - 13, offset + 13) + hidden[at + 12 :]
    photo = read_photo(led)
    assert photo.gain_map.data == mapped
    assert photo.notes == ("13 bytes behind the picture: not kept",)


@pytest.mark.parametrize("offset", [0, 7, 0xFFFFFFFF])
def test_a_wrong_index_leads_nowhere(offset: int) -> None:
    first, second = phones.jpeg(phones.base()), phones.jpeg(smooth(8, 8))
    whole = phones.indexed(first, second)
    at = whole.index(b"MPF\0") + 4 + 50 + 16 + 8
    wrong = whole[:at] + struct.pack("<I", offset) + whole[at + 4 :]
    photo = read_photo(wrong)
    assert photo.notes == ("2 pictures in one file: only the primary one is kept",)
    assert np.array_equal(photo.pixels, read_photo(first).pixels)


def portrait(namespace: str, *, extended: bool) -> bytes:
    held = f'xmlns:G="{phones.PHOTOS}{namespace}/" G:Data="{"A" * 400}"'
    if not extended:
        return phones.jpeg(phones.base(), xmp=phones.packet(held))
    whole = phones.packet(held)
    identifier = b"0123456789ABCDEF0123456789ABCDEF"
    note = f'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="{identifier!r}"'
    pieces = [
        phones.segment(
            0xE1,
            b"http://ns.adobe.com/xmp/extension/\0"
            + identifier
            + struct.pack(">II", len(whole), at)
            + whole[at : at + 300],
        )
        for at in range(0, len(whole), 300)
    ]
    return phones.jpeg(phones.base(), *pieces, xmp=phones.packet(note))


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize(
    ("namespace", "what"),
    [("depthmap", "a depth map"), ("image", "a picture before"), ("audio", "a sound")],
)
def test_what_a_portrait_holds_in_xmp_is_noted(
    namespace: str, what: str, extended: bool, tmp_path: Path
) -> None:
    photo = read_photo(portrait(namespace, extended=extended))
    (note,) = photo.notes
    assert note.startswith(what)
    assert note.endswith("in its XMP: not kept")
    again = round_trip(photo, tmp_path / "x.png")
    assert not re.search(rb"G:Data|xmpNote:HasExtendedXMP", again.metadata.xmp)
    assert b'dc:source="kept"' in again.metadata.xmp


def test_the_pictures_of_a_portrait_are_named_as_its_directory_names_them() -> None:
    depth, original = phones.jpeg(smooth(8, 8)), phones.jpeg(smooth(16, 8))
    items = phones.directory(("Depth", len(depth)), ("Original", len(original)))
    given = phones.jpeg(phones.base(), xmp=phones.packet("", items)) + depth + original
    photo = read_photo(given)
    assert photo.notes == (
        "3 pictures in one file (Depth, Original): only the primary one is kept",
    )
    assert b"Directory" not in photo.metadata.xmp


def test_other_extended_xmp_and_makers_segments_are_noted() -> None:
    extension = b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + b"<x/>"
    given = phones.jpeg(
        phones.base(),
        phones.segment(0xE1, extension),
        phones.segment(0xE3, b"META"),
        phones.segment(0xE1, b"FLIR\0thermal"),
    )
    assert read_photo(given).notes == (
        "4 bytes of extended XMP: not kept",
        "its maker's own data (APP1, APP3): not kept",
    )


def test_zeros_behind_a_photo_and_its_own_xmp_are_nothing_to_note(tmp_path: Path) -> None:
    photo = read_photo(phones.jpeg(phones.base(), xmp=XMP) + bytes(5000))
    assert photo.notes == ()
    assert b"GPSLatitude" in photo.metadata.xmp
    assert round_trip(photo, tmp_path / "x.jpg").metadata == photo.metadata


def test_a_heic_motion_photo_is_noted() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(smooth(64, 64)).save(file, "HEIF", xmp=phones.packet(MOTION))
    photo = read_photo(file.getvalue())
    assert photo.notes == ("a motion photo's video: not kept",)
    assert b"MotionPhoto=" not in photo.metadata.xmp


def test_a_lazily_opened_image_is_searched_and_still_decodes(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(motion_photo())
    with Image.open(tmp_path / "x.jpg") as image:
        photo = Photo.from_image(image)
    assert photo.notes == (VIDEO,)
    assert np.array_equal(photo.pixels, read_photo(tmp_path / "x.jpg").pixels)


def test_damage_behind_the_photo_never_breaks_the_reading() -> None:
    whole = phones.ultra_hdr(phones.gain_map(), behind=phones.MP4, attributes=MOTION)
    picture = len(whole) - len(phones.MP4) - len(phones.gain_map())
    pixels = read_photo(whole).pixels
    random = np.random.default_rng(0)
    for cut in random.integers(picture, len(whole), 60):
        assert np.array_equal(read_photo(whole[:cut]).pixels, pixels)
    index = whole.index(b"MPF\0")
    read = 0
    for _ in range(100):
        data = bytearray(whole)
        for at in (*random.integers(index, index + 90, 2), *random.integers(picture, len(data), 3)):
            data[at] = random.integers(256)
        with suppress(UnreadablePhoto):  # Pillow refuses some indices
            assert np.array_equal(read_photo(bytes(data)).pixels, pixels)
            read += 1
    assert read > 40


def blocks(number: int) -> bytes:
    """A resource of Photoshop's with four bytes."""
    return b"8BIM" + struct.pack(">HHI", number, 0, 4) + b"data"


@pytest.mark.parametrize(
    ("number", "path"), [(1999, False), (2000, True), (2999, True), (3000, False)]
)
def test_clipping_paths_are_noted(number: int, path: bool, tmp_path: Path) -> None:
    segment = phones.segment(0xED, b"Photoshop 3.0\0" + blocks(1005) + blocks(number))
    wanted = ("clipping paths: not kept",) if path else ()
    assert read_photo(phones.jpeg(phones.base(), segment)).notes == wanted
    tags = ImageFileDirectory_v2()
    tags[34377] = blocks(1005) + blocks(number)
    tags.tagtype[34377] = 1
    smooth_picture = Image.fromarray(smooth(8, 8))
    smooth_picture.save(tmp_path / "a.tif", tiffinfo=tags)
    assert read_photo(tmp_path / "a.tif").notes == wanted


def test_a_place_on_a_map_and_layers_are_noted(tmp_path: Path) -> None:
    tags = ImageFileDirectory_v2()
    tags[34735] = (1, 1, 0, 0)
    tags[37724] = b"Adobe Photoshop Document Data Block\0"
    tags.tagtype.update({34735: 3, 37724: 7})
    Image.fromarray(smooth(8, 8)).save(tmp_path / "a.tif", tiffinfo=tags)
    assert read_photo(tmp_path / "a.tif").notes == (
        "its place on a map (GeoTIFF): not kept",
        "Photoshop's layers: not kept",
    )


def test_an_avif_of_the_brand_of_gain_maps_is_noted(tmp_path: Path) -> None:
    Image.fromarray(smooth(16, 16)).save(tmp_path / "a.avif")
    assert read_photo(tmp_path / "a.avif").notes == ()
    data = (tmp_path / "a.avif").read_bytes()
    size = int.from_bytes(data[:4], "big")
    # The decoder wants the map itself, which no package here writes.
    mapped = io.BytesIO(data[:size].replace(b"MA1B", b"tmap") + data[size:])
    with Image.open(tmp_path / "a.avif") as image:
        assert companions(image, mapped).notes == ("an HDR gain map: not kept",)
    assert mapped.tell() == 0
