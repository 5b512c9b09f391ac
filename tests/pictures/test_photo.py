"""Reading pictures (photo, channels, metadata) and writing them back (saving, tiff)."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import errno
import io
import json
import os
import random
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from photovax.errors import (
    AnimatedPhoto,
    OutputExists,
    PhotoError,
    SaveError,
    TooManyPixels,
    UnreadablePhoto,
)
from photovax.pictures.exif import ExifTable, Metadata
from photovax.pictures.masks import white_of
from photovax.pictures.outputs import Destination, default_output, plan_outputs
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.write import write_photo
from tests.places import SHARED

CASES = SHARED / "cases/make_cases.py"
LOSSLESS = [".png", ".tif", ".webp"]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_ICC = SRGB[:16] + b"GRAY" + SRGB[20:]
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    b'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'exif:GPSLatitude="48,51.5N" exif:ExposureTime="1/50">'
    b"<exif:GPSLongitude>2,17.4E</exif:GPSLongitude><dc:rights>\xc2\xa9 Ann</dc:rights>"
    b"<xmp:Thumbnails><rdf:Alt><rdf:li>UNPROTECTED</rdf:li></rdf:Alt></xmp:Thumbnails>"
    b'</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int = 24, width: int = 40) -> np.ndarray:
    """Three gradients, which lossy codecs change by little."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], -1
    ).astype(np.uint8)


def saved(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def round_trip(photo: Photo, path: Path) -> Photo:
    write_photo(photo, path)
    return read_photo(path)


def plain(pixels: np.ndarray, alpha: np.ndarray | None = None, **metadata) -> Photo:
    return Photo(pixels, alpha, Metadata(**metadata), "PNG", ())


def png(
    width: int, height: int, bits: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]
) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def camera_exif(order: str = "<", orientation: int = 6) -> bytes:
    """As a camera writes it: maker note with an offset and a preview, GPS, and a thumbnail."""
    out = bytearray(
        {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8) + bytes(600)
    )
    free = 200

    def put(data: bytes) -> int:
        nonlocal free
        start, free = free, free + len(data) + len(data) % 2
        out[start : start + len(data)] = data
        return start

    def table(at: int, following: int, *entries: tuple[int, int, int, bytes]) -> int:
        body = b"".join(
            struct.pack(order + "HHI", tag, kind, count)
            + (data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "I", put(data)))
            for tag, kind, count, data in entries
        )
        packed = struct.pack(order + "H", len(entries)) + body + struct.pack(order + "I", following)
        out[at : at + len(packed)] = packed
        return at

    def long(value: int) -> bytes:
        return struct.pack(order + "I", value)

    secret = put(b"far-away maker data")
    thumbnail = put(b"\xff\xd8\xff\xdbTHUMBNAIL\xff\xd9")
    note = b"MAKER" + long(secret) + b"\xff\xd8\xff\xdbPREVIEW\xff\xd9" + b"end"
    exif = table(70, 0, (0x9003, 2, 20, b"2024:05:06 07:08:09\0"), (0x927C, 7, len(note), note))
    gps = table(
        110, 0, (1, 2, 2, b"N\0"), (2, 5, 3, struct.pack(order + "6I", 48, 1, 51, 1, 777777, 1000))
    )
    first = table(150, 0, (0x0201, 4, 1, long(thumbnail)), (0x0202, 4, 1, long(15)))
    table(
        8,
        first,
        (0x010F, 2, 12, b"Camera Inc.\0"),
        (0x0112, 3, 1, struct.pack(order + "H", orientation)),
        (0x8769, 4, 1, long(exif)),
        (0x8825, 4, 1, long(gps)),
    )
    return b"Exif\0\0" + bytes(out)


# --- what comes in ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CASES.is_file():
        pytest.skip(f"needs {CASES} (set PHOTOVAX_SHARED)")
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, CASES, folder], check=True, capture_output=True)  # noqa: S603
    return folder


def test_the_files_people_feed_such_tools(cases: Path, tmp_path: Path) -> None:
    for number, case in enumerate(json.loads((cases / "manifest.json").read_text("utf-8"))):
        source, keeps = cases / case["file"], case.get("keeps", ())
        if case["expect"] == "error":
            with pytest.raises(PhotoError) as caught:
                read_photo(source)
            assert str(source) in str(caught.value)
            assert "\n" not in str(caught.value)
            continue
        photo = read_photo(source)
        if "shown_size" in case:
            assert [photo.width, photo.height] == case["shown_size"], case
        assert photo.grey or "grey" not in keeps, case
        assert photo.alpha is not None or "alpha" not in keeps, case
        for kept in {"icc", "exif", "dpi"}.intersection(keeps):
            assert getattr(photo.metadata, kept), case
        for suffix in LOSSLESS:
            back = round_trip(photo, tmp_path / f"{number}{suffix}")
            assert (back.height, back.width) == (photo.height, photo.width)
            assert (back.pixels == photo.pixels).all(), (case, suffix)
            if photo.alpha is None or (suffix == ".webp" and (photo.alpha == 255).all()):
                assert back.alpha is None, (case, suffix)
            else:
                assert np.array_equal(back.alpha, photo.alpha), (case, suffix)
            assert back.metadata.icc == photo.metadata.icc, (case, suffix)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif"])
def test_every_orientation_comes_upright_and_only_once(
    orientation: int, suffix: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Camera"
    path = saved(tmp_path / f"x.{suffix}", smooth(), exif=exif)
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photo(path)
    assert np.array_equal(photo.pixels, shown)
    assert np.array_equal(round_trip(photo, tmp_path / "out.png").pixels, shown)
    kept = Image.Exif()
    kept.load(photo.metadata.exif or b"")
    assert dict(kept) == {0x010F: "Camera"}


def test_orientation_that_only_xmp_tells_is_applied_and_dropped(tmp_path: Path) -> None:
    xmp = XMP.replace(b"exif:ExposureTime=", b'tiff:Orientation="6" exif:ExposureTime=')
    photo = read_photo(saved(tmp_path / "x.jpg", smooth(24, 40), xmp=xmp))
    assert photo.pixels.shape == (40, 24, 3)
    assert b"Orientation" not in photo.metadata.xmp
    assert b'exif:ExposureTime="1/50"' in photo.metadata.xmp


def test_grey_and_alpha_are_turned_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    array = noise(5, 9, 2)
    photo = read_photo(saved(tmp_path / "x.png", array, exif=exif))
    assert np.array_equal(photo.pixels[..., 0], np.rot90(array[..., 0], -1))
    assert np.array_equal(photo.alpha, np.rot90(array[..., 1], -1))


def test_sixteen_bits_are_rounded_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65535]], np.uint16)
    photo = read_photo(saved(tmp_path / "x.png", values))
    assert photo.pixels[..., 0].tolist() == [[0, 0, 1, 1, 128, 254, 255]]
    assert "16-bit" in photo.notes[0]
    assert np.array_equal(read_photo(saved(tmp_path / "x.tif", values)).pixels, photo.pixels)


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


def test_palette_with_an_alpha_for_each_colour(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "x.png", transparency=bytes([0, 128]))
    photo = read_photo(tmp_path / "x.png")
    assert photo.pixels.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert photo.alpha.tolist() == [[0, 128, 255]]


def cmyk_profile() -> bytes:
    """A CMYK profile by which every ink is grey, so that its use shows."""
    lightness = [max(0, 255 - 60 * (c + m + y + 3 * k)) for c, m, y, k in np.ndindex(2, 2, 2, 2)]
    ramp = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + ramp * 4
    lut += b"".join(bytes([value, 128, 128]) for value in lightness) + ramp * 3
    header = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    header = header.ljust(128, b"\0")
    body = header + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut
    return struct.pack(">I", len(body)) + body[4:]


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
    ("channels", "icc"), [(1, SRGB), (3, GREY_ICC), (3, b"junk"), (3, SRGB[:100])]
)
def test_a_profile_that_does_not_fit_is_dropped_with_a_note(channels, icc, tmp_path: Path) -> None:
    array = noise(8, 8, channels).squeeze()
    photo = read_photo(saved(tmp_path / "x.jpg", array, icc_profile=icc))
    assert photo.metadata.icc is None
    assert "profile" in photo.notes[0]


def test_a_phone_jpeg_with_a_second_picture_gives_the_first(tmp_path: Path) -> None:
    first, second = (Image.fromarray(noise(16, 16, 3, seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    first.save(tmp_path / "alone.jpg", quality=95)
    photo = read_photo(tmp_path / "x.jpg")
    assert np.array_equal(photo.pixels, read_photo(tmp_path / "alone.jpg").pixels)
    assert photo.format == "MPO"
    assert "2 pictures" in photo.notes[0]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif"])
def test_several_frames_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    frames = [Image.fromarray(noise(16, 16, 3, seed=seed)) for seed in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(AnimatedPhoto, match=r"3 frames or pages .* magick '.*\[0\]' frame\.png"):
        read_photo(path)


def test_a_camera_raw_file_is_not_taken_for_its_preview(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "x.nef", "TIFF", tiffinfo=tags)
    with pytest.raises(UnreadablePhoto, match="raw file, or only a preview; develop it"):
        read_photo(tmp_path / "x.nef")


class TestHeic:
    @pytest.fixture(autouse=True)
    def heif(self) -> None:
        pytest.importorskip("pillow_heif").register_heif_opener()

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_is_turned_once(self, orientation: int, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = orientation, "Camera"
        image = Image.fromarray(smooth(64, 96))
        image.save(tmp_path / "x.heic", quality=-1, exif=exif.tobytes(), xmp=XMP, icc_profile=SRGB)
        image.getexif()[0x0112] = orientation
        shown = np.asarray(ImageOps.exif_transpose(image)).astype(int)
        photo = read_photo(tmp_path / "x.heic")
        assert photo.pixels.shape == shown.shape
        assert np.abs(photo.pixels - shown).mean() < 3
        assert (photo.format, photo.metadata.icc) == ("HEIF", SRGB)
        assert ExifTable(photo.metadata.exif).orientation() is None
        assert b"Ann" in photo.metadata.xmp

    def test_with_alpha_and_further_pictures_gives_the_primary_one(self, tmp_path: Path) -> None:
        first = Image.fromarray(np.dstack([smooth(64, 64), noise(64, 64)]))
        first.save(
            tmp_path / "x.heic",
            save_all=True,
            append_images=[Image.new("RGB", (32, 32))],
            quality=-1,
            primary_index=0,
        )
        photo = read_photo(tmp_path / "x.heic")
        assert photo.pixels.shape == (64, 64, 3)
        assert photo.alpha is not None
        assert "2 pictures" in photo.notes[0]

    def test_without_the_extra_tells_what_to_type(self, tmp_path: Path, monkeypatch) -> None:
        Image.fromarray(smooth(64, 64)).save(tmp_path / "x.heic")
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(UnreadablePhoto, match=r"x\.heic: .*pillow_heif") as caught:
            read_photo(tmp_path / "x.heic")
        assert "pip install 'photovax[heic]'" in caught.value.line


# --- what is not a picture, or not a whole one -----------------------------------------------


def test_what_is_not_a_readable_file(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UnreadablePhoto, match=r"none\.png: .*No such file"):
        read_photo(tmp_path / "none.png")
    with pytest.raises(UnreadablePhoto, match="is a folder"):
        read_photo(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(UnreadablePhoto, match="is empty"):
        read_photo(tmp_path / "empty")
    with pytest.raises(UnreadablePhoto, match="damaged"):
        read_photo("a\0b.png")
    path = saved(tmp_path / "x.png", noise(4, 4, 3))
    monkeypatch.setattr(
        Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(UnreadablePhoto, match=r"x\.png: cannot be read: Permission denied"):
        read_photo(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_keep_us_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadablePhoto, match="not a regular file"):
        read_photo(tmp_path / "pipe.png")


def test_other_types_are_refused_without_starting_their_interpreter(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    with pytest.raises(UnreadablePhoto, match="not a picture that can be read; allowed are JPEG"):
        read_photo(tmp_path / "x.png")


def test_names_that_would_break_a_message_are_quoted(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(tmp_path / "two\nlines.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "tif", "bmp", "avif"])
def test_cut_or_damaged_files_raise_nothing_but_our_own(suffix: str, tmp_path: Path) -> None:
    options = {} if suffix in ("gif", "bmp") else {"exif": camera_exif(), "icc_profile": SRGB}
    whole = saved(tmp_path / f"whole.{suffix}", noise(24, 24, 3), **options).read_bytes()
    chance, path = random.Random(suffix), tmp_path / "damaged"  # noqa: S311
    messages = []
    for length in range(1, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        try:
            read_photo(path)
        except PhotoError as error:
            messages.append(str(error))
    assert len(messages) >= 36
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(min(len(whole), 600))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            photo = read_photo(path).without_gps()
            write_photo(photo, Destination(tmp_path / "out.tif", overwrite=True))
            assert np.array_equal(read_photo(tmp_path / "out.tif").pixels, photo.pixels)
        except PhotoError as error:
            messages.append(str(error))
    assert not any("\n" in message for message in messages)


def test_leniency_set_by_another_library_is_not_ours(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = saved(tmp_path / "x.jpg", noise(64, 64, 3)).read_bytes()
    (tmp_path / "x.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadablePhoto, match="damaged or cut short"):
        read_photo(tmp_path / "x.jpg")
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
def test_the_cap_is_exact_and_checked_before_decoding(suffix, tmp_path: Path, monkeypatch) -> None:
    path, before = saved(tmp_path / f"x.{suffix}", noise(9, 11, 3)), Image.MAX_IMAGE_PIXELS
    assert read_photo(path, max_pixels=99).width == 11
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    for cap in (98, 50, 1):
        with pytest.raises(
            TooManyPixels, match=rf"x\.{suffix}: 99 pixels, .* {cap} .*--max-pixels 99"
        ):
            read_photo(path, max_pixels=cap)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_cap_above_pillows_own_holds_too(tmp_path: Path, monkeypatch) -> None:
    path = saved(tmp_path / "x.tif", noise(20, 20, 3), compression="tiff_lzw")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_photo(path).width == 20
    assert Image.MAX_IMAGE_PIXELS == 10


def test_threads_with_different_caps_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, wrong = saved(tmp_path / "x.png", noise(20, 20, 3)), []

    def work(cap: int) -> None:
        for _ in range(20):
            try:
                read_photo(path, max_pixels=cap)
                wrong.extend([cap] * (cap < 400))
            except TooManyPixels:
                wrong.extend([cap] * (cap >= 400))

    threads = [threading.Thread(target=work, args=(cap,)) for cap in (10, 400, 399, 10**9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- what a Photo is -------------------------------------------------------------------------


def test_hidden_colour_has_no_influence_on_what_is_visible() -> None:
    alpha = np.array([[0, 1, 255]], np.uint8)
    one, other = noise(1, 3, 3, seed=1), noise(1, 3, 3, seed=1)
    other[0, 0] = 7
    assert np.array_equal(plain(one, alpha).visible(), plain(other, alpha).visible())
    assert plain(one, alpha).visible()[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(plain(one, alpha).visible()[:, 1:], one[:, 1:])
    assert plain(one, alpha).visible().dtype == np.uint8
    assert plain(one).visible() is one


def test_with_pixels_keeps_the_rest_and_minds_the_shape(tmp_path: Path) -> None:
    photo = plain(noise(4, 6, 3), noise(4, 6), icc=SRGB)
    changed = photo.with_pixels(255 - photo.pixels)
    assert (changed.metadata, changed.alpha is photo.alpha) == (photo.metadata, True)
    assert (changed.height, changed.width, changed.grey) == (4, 6, False)
    for wrong in (noise(4, 6, 1), noise(6, 4, 3), photo.pixels / 255.0):
        with pytest.raises(ValueError, match=r"must be uint8 \(4, 6, 3\)"):
            photo.with_pixels(wrong)


def test_pixels_can_be_written_to(tmp_path: Path) -> None:
    for mode in ("L", "RGB", "RGBA", "P", "CMYK", "I;16"):
        Image.new(mode, (4, 4)).save(tmp_path / "x.tif")
        assert read_photo(tmp_path / "x.tif").pixels.flags.writeable, mode


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


@pytest.mark.parametrize("kind", ["EXIF", "XMP"])
def test_more_than_jpeg_holds_is_said_before_the_work(kind: str, tmp_path: Path) -> None:
    most = {"EXIF": 65_533, "XMP": 65_504}[kind]
    for size in (most, most + 1):
        block = (camera_exif() if kind == "EXIF" else XMP).ljust(
            size, b"\0" if kind == "EXIF" else b" "
        )
        photo = plain(smooth(), **{kind.lower(): block})
        Destination(tmp_path / "x.png").check_fits(photo, masked=False)
        jpeg = Destination(tmp_path / "x.jpg")
        if size > most:
            with pytest.raises(SaveError, match=rf"x\.jpg: the photo has {size} bytes of {kind}"):
                jpeg.check_fits(photo, masked=False)
        else:
            jpeg.check_fits(photo, masked=False)
            write_photo(photo, tmp_path / "x.jpg")


@pytest.mark.parametrize("white", [True, False])
def test_where_a_mask_is_transparent_it_marks_nothing(white: bool) -> None:
    photo = plain(noise(4, 6, 3))
    opaque = np.zeros((4, 6), dtype=np.uint8)
    opaque[1:3] = 255
    mask = plain(np.full((4, 6, 3), 255 * white, dtype=np.uint8), opaque)
    assert np.array_equal(white_of(mask, photo, name="m"), (opaque > 0) & white)


@pytest.mark.parametrize(
    "xmp",
    [
        XMP.decode().encode("utf-16"),
        XMP.replace(b"</exif:GPSLongitude>", b""),
        XMP.replace(b'exif="http', b'place="http').replace(b"exif:", b"place:"),
    ],
    ids=["utf-16", "no end", "other prefix"],
)
def test_no_form_of_xmp_lets_the_place_through(xmp: bytes) -> None:
    kept = plain(noise(1, 1, 3), xmp=xmp).without_gps().metadata.xmp
    assert kept is None or b"GPS" not in kept
    assert kept is None or b"Ann" in kept


def test_exif_too_damaged_to_search_is_dropped(tmp_path: Path) -> None:
    cut = camera_exif()[:40]
    photo = read_photo(saved(tmp_path / "x.jpg", smooth(), exif=cut))
    assert photo.metadata.exif is None
    assert "damaged EXIF" in photo.notes[0]
    assert plain(noise(1, 1, 3), exif=cut).without_gps().metadata.exif is None


def test_text_that_cannot_be_kept_is_noted(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Ann")
    for path in (
        saved(tmp_path / "x.png", noise(4, 4, 3), pnginfo=info),
        saved(tmp_path / "x.jpg", noise(4, 4, 3), comment=b"by Ann"),
    ):
        assert "not kept" in read_photo(path).notes[0]


# --- what goes out ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".tiff", ".PNG"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_pixels_and_alpha_come_back_bit_by_bit(suffix, channels, with_alpha, tmp_path) -> None:
    alpha = noise(33, 150, seed=2) if with_alpha else None
    if alpha is not None:
        alpha[:, :70] = 0  # the colour beneath must survive too
    photo = plain(noise(33, 150, channels), alpha)
    back = round_trip(photo, tmp_path / f"x{suffix}")
    assert back.grey == (channels == 1 and suffix != ".webp")
    assert (back.pixels == photo.pixels).all()
    assert np.array_equal(back.alpha, alpha) if with_alpha else back.alpha is None
    assert back.notes == ()


def test_tiff_of_many_strips_is_read_alike_by_others(tmp_path: Path) -> None:
    photo = plain(noise(300, 700, 3), noise(300, 700), dpi=(300, 299.5))
    write_photo(photo, tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as image:
        assert (image.mode, image.info["compression"]) == ("RGBA", "tiff_adobe_deflate")
        assert np.array_equal(np.asarray(image)[..., :3], photo.pixels)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_profile_exif_xmp_and_resolution_come_back(suffix: str, tmp_path: Path) -> None:
    source = saved(
        tmp_path / "x.jpg",
        smooth(),
        exif=camera_exif(">"),
        xmp=XMP,
        icc_profile=SRGB,
        dpi=(300, 150),
    )
    photo = read_photo(source)
    assert photo.metadata.icc == SRGB
    back = round_trip(photo, tmp_path / f"out{suffix}").metadata
    assert (back.icc, back.xmp) == (SRGB, photo.metadata.xmp)
    if suffix != ".tif":  # there it is read from the file's own tables
        assert back.exif == photo.metadata.exif
    if suffix != ".webp":  # which has no place for it
        assert back.dpi == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp"])
def test_resolution_is_read(suffix: str, tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path / f"x.{suffix}", noise(4, 4, 3), dpi=(240, 240)))
    assert photo.metadata.dpi == pytest.approx((240, 240), abs=0.02)


def test_grey_profile_stays(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        back = round_trip(plain(noise(4, 4, 1), icc=GREY_ICC), tmp_path / f"x{suffix}")
        assert back.metadata.icc == GREY_ICC


def test_tags_about_the_sources_pixels_do_not_spoil_a_tiff(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[256], exif[257], exif[258], exif[262], exif[0x010F] = 4000, 3000, 16, 5, "Camera"
    photo = plain(noise(8, 9, 3), exif=exif.tobytes())
    back = round_trip(photo, tmp_path / "x.tif")
    assert np.array_equal(back.pixels, photo.pixels)
    assert ExifTable(back.metadata.exif).entries


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    for name in ("x.heic", "x.avif", "x"):
        with pytest.raises(SaveError, match=r"not a type that is written; use \.png, \.tif"):
            write_photo(plain(noise(4, 4, 3)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_webp_has_a_largest_side(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=r"16384 x 1, and WebP takes 16383 a side; use \.png"):
        write_photo(plain(np.zeros((1, 16384, 3), np.uint8)), tmp_path / "x.webp")
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExists, match=r"x\.png: exists already") as caught:
        write_photo(plain(noise(4, 4, 3)), path)
    assert "--overwrite" in caught.value.line
    assert "--overwrite" not in str(caught.value)
    assert path.read_bytes() == b"precious"
    write_photo(plain(noise(4, 4, 3)), Destination(path, overwrite=True))
    assert read_photo(path).width == 4
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_file_that_comes_to_be_meanwhile_is_kept_too(links, tmp_path, monkeypatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", no_links)
    path = tmp_path / "x.png"
    with pytest.raises(OutputExists):
        write_photo(
            plain(noise(4, 4, 3)), path, verify=lambda _: path.write_bytes(b"precious") and None
        )
    assert path.read_bytes() == b"precious"
    assert [each.name for each in tmp_path.iterdir()] == ["x.png"]
    path.unlink()
    assert round_trip(plain(noise(4, 4, 3)), path).width == 4


@pytest.mark.parametrize("raised", [SaveError("no"), OSError("disk"), KeyboardInterrupt()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_verify_sees_the_whole_file_and_can_refuse_it(raised, overwrite, tmp_path: Path) -> None:
    photo, path = plain(noise(4, 4, 3)), tmp_path / "x.png"
    if overwrite:
        path.write_bytes(b"precious")

    def verify(written: Path) -> None:
        assert written.parent == tmp_path
        assert np.array_equal(read_photo(written).pixels, photo.pixels)
        raise raised

    with pytest.raises(type(raised)) as caught:
        write_photo(photo, Destination(path, overwrite), verify=verify)
    assert caught.value is raised
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"precious"] * overwrite


def test_what_the_disk_refuses_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    photo = plain(noise(4, 4, 3))
    with pytest.raises(SaveError, match=r"x\.png: cannot be written: No such file"):
        write_photo(photo, tmp_path / "none" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SaveError, match=r"folder\.png: cannot be written: Is a directory"):
        write_photo(photo, Destination(tmp_path / "folder.png", overwrite=True))
    (tmp_path / "folder.png").rmdir()
    with pytest.raises(SaveError, match="cannot be written: File name too long"):
        write_photo(photo, tmp_path / ("x" * 300 + ".png"))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match=r"x\.png: cannot be written: No space left"):
        write_photo(photo, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
def test_the_file_gets_the_mode_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_photo(plain(noise(4, 4, 3)), tmp_path / "x.png")
    finally:
        os.umask(before)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o640


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("a.b.png", "a.b.immunized.png"),
        ("UPPER.JPG", "UPPER.immunized.png"),
        ("name.with.dots.and no ext", "name.with.dots.and no ext.immunized.png"),
        ("Ünïcode 名前.heic", "Ünïcode 名前.immunized.png"),
        (".png", ".png.immunized.png"),
    ],
)
def test_default_output(source: str, result: str) -> None:
    assert default_output(Path("in") / source) == Path("in") / result


def test_default_output_of_another_type() -> None:
    assert default_output(Path("a.png"), suffix=".tif") == Path("a.immunized.tif")
    own = {name: default_output(Path(name), suffix=None).name for name in ("a.JPG", "b.heic")}
    assert own == {"a.JPG": "a.immunized.JPG", "b.heic": "b.immunized.png"}


def test_a_batch_never_gives_two_results_one_name() -> None:
    names = [
        "photo.jpg",
        "photo.png",
        "other.jpg",
        "Photo.WEBP",
        "photo.jpg.bmp",
        "a.b.png",
        "a.c.png",
    ]
    plan = plan_outputs([Path(name) for name in names])
    assert [path.name for path in plan] == names
    assert [path.name for path in plan.values()] == [
        "photo.jpg.immunized.png",
        "photo.png.immunized.png",
        "other.immunized.png",
        "Photo.WEBP.immunized.png",
        "photo.jpg.bmp.immunized.png",
        "a.b.immunized.png",
        "a.c.immunized.png",
    ]


def test_the_same_name_in_two_folders_is_no_clash() -> None:
    plan = plan_outputs([Path("x/a.png"), Path("y/a.png"), Path("x/a.png")])
    assert list(plan.values()) == [Path("x/a.immunized.png"), Path("y/a.immunized.png")]


def test_a_result_never_takes_the_name_of_another_source() -> None:
    plan = plan_outputs([Path("a.png"), Path("a.immunized.png")])
    assert plan[Path("a.png")] == Path("a.png.immunized.png")


def test_reading_pictures_does_not_import_torch() -> None:
    parts = "photovax.pictures.photo, photovax.pictures.write"
    code = f"import sys, {parts}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603


def test_what_a_program_sees_in_a_buffer_is_what_we_see(tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path / "x.png", noise(5, 6, 3)))
    write_photo(photo, tmp_path / "y.png")
    with Image.open(io.BytesIO((tmp_path / "y.png").read_bytes())) as image:
        assert np.array_equal(np.asarray(image), photo.pixels)
