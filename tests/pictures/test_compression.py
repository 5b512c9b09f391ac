"""Lossy compression: what is read from a file, and what a file decodes to."""

import io

import numpy as np
import pytest
from PIL import AvifImagePlugin, Image
from PIL.JpegImagePlugin import JpegImageFile

from photovax.errors import UsageError
from photovax.pictures.compression import LEAST_LOSS, Compression, compression_for, least_loss
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.write import write_photo


@pytest.mark.parametrize("quality", [5, 50, 83, 95, 100])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_copy_has_the_compression_of_the_file(tmp_path, pixels, quality, sampling):
    source, copy = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(pixels).save(
        source, quality=quality, subsampling=sampling, progressive=quality > 50
    )
    photo = read_photo(source)
    own = photo.compression
    assert own is not None
    assert (own.quality, own.subsampling, own.progressive) == (quality, sampling, quality > 50)
    write_photo(photo, copy, compression=own)
    assert read_photo(copy).compression == own
    with JpegImageFile(source) as first, JpegImageFile(copy) as second:
        assert first.quantization == second.quantization
        assert first.info.get("progressive") == second.info.get("progressive")


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        *(("JPEG", 1), ("JPEG", 3), ("WEBP", 3), ("WEBP", 4), ("AVIF", 1), ("AVIF", 3)),
        *(("HEIF", 1), ("HEIF", 3)),
    ],
)
def test_a_file_decodes_to_what_was_foretold(tmp_path, pixels, kind, channels):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    alpha = (np.arange(pixels.shape[1]) * 3 % 256).astype(np.uint8)
    shown = np.dstack([pixels, np.broadcast_to(alpha, pixels.shape[:2])])[..., :channels]
    photo = Photo.from_array(np.ascontiguousarray(shown))
    compression = Compression(kind, 60)
    file = tmp_path / f"a.{kind.lower()}"
    write_photo(photo, file, compression=compression)
    reopened = read_photo(file)
    assert np.array_equal(photo.compressed(compression).pixels, reopened.pixels)
    assert (photo.pixels != reopened.pixels).any()
    if channels == 4:
        assert photo.alpha is not None
        assert reopened.alpha is not None
        assert np.array_equal(photo.alpha, reopened.alpha)


def test_noise_fits_into_the_finest_file(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=100, subsampling="4:4:4")
    photo = read_photo(tmp_path / "a.jpg")
    write_photo(photo, tmp_path / "b.jpg", compression=photo.compression)
    shown = read_photo(tmp_path / "b.jpg").pixels.astype(int)
    assert np.abs(shown - photo.pixels).max() <= 3


@pytest.mark.parametrize("sampling", ["4:2:2", "4:2:0"])
def test_colour_is_stored_whole_in_coarser_steps(tmp_path, pixels, sampling):
    source, copy = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(pixels).save(source, quality=92, subsampling=sampling)
    photo = read_photo(source)
    asked = compression_for(".jpg", photo.compression)
    assert asked is not None
    write_photo(photo, copy, compression=asked)
    with JpegImageFile(source) as first, JpegImageFile(copy) as second:
        assert first.quantization[0] == second.quantization[0]
        steps = [round(1.75 * step) for step in first.quantization[1]]
        assert second.quantization[1] == steps
    found = read_photo(copy).compression
    assert found == asked
    assert found.label == "JPEG, quality about 92, 4:4:4"
    assert found.with_fine_colour() is found
    fine = np.array([[[90, 160, 90], [160, 90, 160]]] * 8, np.uint8)  # colours in turn
    fine = np.tile(fine, (4, 16, 1))
    assert photo.compression is not None
    kept, halved = (
        np.abs(each.decoded(fine).astype(int) - fine).mean() for each in (asked, photo.compression)
    )
    assert kept < halved / 4


def test_the_compression_of_a_result():
    own = Compression("JPEG", 70, subsampling="4:4:4")
    assert compression_for(".jpg", own) == own
    assert compression_for(".jpeg", None) == Compression("JPEG", 90).with_fine_colour()
    assert compression_for(".jpg", own, 55) == Compression("JPEG", 55)
    assert compression_for(".jpg", own, "lossless") is None
    assert compression_for(".webp", own) is None
    assert compression_for(".webp", own, 55) == Compression("WEBP", 55)
    assert compression_for(".avif", own) == Compression("AVIF", 85)
    assert compression_for(".avif", own, 55) == Compression("AVIF", 55)
    assert compression_for(".avif", own, "lossless") is None
    assert compression_for(".heic", own) == Compression("HEIF", 60)
    assert compression_for(".HIF".lower(), own, 55) == Compression("HEIF", 55)
    assert compression_for(".png", own, 55) is None


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_out_of_range_is_refused(quality):
    with pytest.raises(UsageError, match=f"from 1 to 100, got {quality}"):
        Compression("JPEG", quality)


def test_a_compression_is_only_for_its_own_files(tmp_path, pixels):
    photo = Photo.from_array(pixels)
    for name in ("a.png", "a.tif", "a.webp"):
        write_photo(photo, tmp_path / name, compression=Compression("JPEG", 20))
        assert np.array_equal(read_photo(tmp_path / name).pixels, pixels)
    assert LEAST_LOSS.label == "JPEG, quality 100, 4:4:4"


def test_tables_of_other_programs_are_named_by_the_nearest_quality(tmp_path, pixels):
    tables = [[min(255, 3 + each) for each in range(64)], [40] * 64]
    Image.fromarray(pixels).save(tmp_path / "a.jpg", qtables=tables, subsampling=0)
    own = read_photo(tmp_path / "a.jpg").compression
    assert own is not None
    assert not own.exact
    assert own.label.startswith("JPEG, quality about ")
    assert own.tables == tuple(map(tuple, tables))
    assert Compression("JPEG", 80).exact


def test_what_has_no_compression_to_keep(tmp_path, pixels):
    picture = Image.fromarray(pixels)
    picture.convert("CMYK").save(tmp_path / "a.jpg")
    picture.save(tmp_path / "a.png")
    for name in ("a.jpg", "a.png"):
        assert read_photo(tmp_path / name).compression is None
    picture.save(tmp_path / "b.jpg", quality=100, subsampling=0)
    finest = read_photo(tmp_path / "b.jpg")
    assert finest.compression is not None
    assert finest.compression.only_rounds
    assert finest.with_pixels(pixels).compression is None


def test_grey_files_keep_their_table(tmp_path, pixels):
    Image.fromarray(pixels).convert("L").save(tmp_path / "a.jpg", quality=60)
    own = read_photo(tmp_path / "a.jpg").compression
    assert own is not None
    assert (own.quality, own.exact) == (60, True)


@pytest.mark.parametrize("quality", [60, 85, 100])
def test_an_avif_is_the_same_on_machines_with_more_cores(pixels, monkeypatch, quality):
    files = []
    for cores in (1, 4):
        monkeypatch.setattr(AvifImagePlugin, "_get_default_max_threads", lambda cores=cores: cores)
        file = io.BytesIO()
        large = Image.fromarray(np.tile(pixels, (6, 6, 1)))
        large.save(file, "AVIF", **Compression("AVIF", quality).options())
        files.append(file.getvalue())
    assert files[0] == files[1]


def test_the_finest_avif_is_nearly_lossless_and_exactly_transparent(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    photo = Photo.from_array(rgba)
    write_photo(photo, tmp_path / "a.avif")
    back = read_photo(tmp_path / "a.avif")
    assert np.abs(back.pixels.astype(int) - photo.pixels).max() <= 3
    assert back.alpha is not None
    assert np.array_equal(back.alpha, rgba[..., 3])
    assert least_loss(".png") is None


def test_a_grey_avif_drops_alpha_that_is_opaque(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (40, 60, 1), np.uint8)
    opaque = np.full_like(grey, 255)
    photo = Photo.from_array(np.dstack([grey, opaque]))
    assert photo.alpha is not None
    write_photo(photo, tmp_path / "a.avif")
    back = read_photo(tmp_path / "a.avif")
    assert back.pixels.shape == photo.pixels.shape
    assert np.array_equal(back.pixels, photo.compressed(Compression("AVIF", 100)).pixels)


@pytest.mark.parametrize("quality", [95, 100])
def test_grain_that_fills_the_encoders_buffer_is_written_nevertheless(tmp_path, quality):
    grain = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    copy = tmp_path / "b.jpg"
    own = Compression("JPEG", quality, subsampling="4:4:4", progressive=True)
    with pytest.raises(OSError, match="broken data stream"):  # what is worked around
        Image.fromarray(grain).save(copy, "JPEG", **own.options())
    write_photo(Photo.from_array(grain), copy, compression=own)
    assert np.array_equal(read_photo(copy).pixels, own.decoded(grain))
