"""Reading pictures: what comes in, what is refused, and what a photo is."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin

from photovax.errors import (
    AnimatedPhoto,
    PhotoError,
    TooManyPixels,
    UnreadablePhoto,
)
from photovax.pictures.exif import ExifTable
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import (
    CASES,
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


def test_grey_and_alpha_are_turned_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    array = noise(5, 9, 2)
    photo = read_photo(saved(tmp_path / "x.png", array, exif=exif))
    assert np.array_equal(photo.pixels[..., 0], np.rot90(array[..., 0], -1))
    assert np.array_equal(photo.alpha, np.rot90(array[..., 1], -1))


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
    with pytest.raises(AnimatedPhoto, match="3 frames") as caught:
        read_photo(path)
    assert f'magick "{path}[0]" frame.png' in (caught.value.hint or "")


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
        with pytest.raises(UnreadablePhoto, match=r"x\.heic: .* pillow.heif") as caught:
            read_photo(tmp_path / "x.heic")
        assert 'pip install "photovax[heic]"' in (caught.value.hint or "")


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
        with pytest.raises(TooManyPixels, match=rf"x\.{suffix}: 99 pixels, .* {cap} ") as caught:
            read_photo(path, max_pixels=cap)
        assert "--max-pixels 99" in (caught.value.hint or "")
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


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp"])
def test_resolution_is_read(suffix: str, tmp_path: Path) -> None:
    photo = read_photo(saved(tmp_path / f"x.{suffix}", noise(4, 4, 3), dpi=(240, 240)))
    assert photo.metadata.dpi == pytest.approx((240, 240), abs=0.02)


def test_reading_pictures_does_not_import_torch() -> None:
    parts = "photovax.pictures.photo, photovax.pictures.write"
    code = f"import sys, {parts}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
