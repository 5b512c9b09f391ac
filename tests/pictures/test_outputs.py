"""Where results go: names, and every check of an output."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photovax.errors import OutputExists, SaveError, UsageError
from photovax.pictures import write
from photovax.pictures.compression import Compression
from photovax.pictures.outputs import Destination, own_suffix, plan_outputs, result_name
from photovax.pictures.photo import Metadata, Photo
from photovax.pictures.types import WRITTEN_SUFFIXES
from tests.pictures.made import XMP, camera_exif, noise, plain, smooth


def test_every_type_that_is_said_to_be_written_has_a_writer() -> None:
    assert set(write._WRITERS) == WRITTEN_SUFFIXES


def test_a_free_name_in_a_folder_passes(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    source.touch()
    destination = Destination(tmp_path / "x.PNG", source=source)
    destination.check()
    assert (destination.suffix, destination.record.name) == (".png", "x.PNG.json")


def test_each_obstacle_is_named_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path, why in (
        (tmp_path / "x.jxl", r"\.jxl is not a type that is written; use \.png"),
        (tmp_path / "x", "no suffix is not a type"),
        (tmp_path / "none" / "x.png", "there is no folder .*none"),
        (tmp_path / "folder.png", r"folder\.png: is a folder"),
    ):
        for overwrite in (False, True):
            with pytest.raises(SaveError, match=why):
                Destination(path, overwrite).check()


@pytest.mark.parametrize("name", ["x.png", "x.png.json"])
def test_neither_photo_nor_record_is_replaced_unless_asked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    destination = Destination(tmp_path / "x.png")
    with pytest.raises(OutputExists) as caught:
        destination.check()
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "--overwrite" in (caught.value.hint or "")
    Destination(tmp_path / "x.png", overwrite=True).check()
    if name.endswith(".json"):  # where none is written, it is in nobody's way
        destination.check(recorded=False)


def test_the_source_is_never_replaced_by_whatever_name(tmp_path: Path) -> None:
    source, link = tmp_path / "x.png", tmp_path / "link.png"
    source.touch()
    link.hardlink_to(source)
    for path in (source, link):
        with pytest.raises(UsageError, match="never replaced"):
            Destination(path, overwrite=True, source=source).check()
    Destination(tmp_path / "y.png", source=tmp_path / "missing.png").check()


def test_a_name_that_no_disk_takes_is_refused_before_the_work(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    source.touch()
    # The last is too long only with the record's suffix.
    for name in ("x" * 300 + ".png", "a\0b.png", "x" * 250 + ".png"):
        with pytest.raises(SaveError, match="cannot be written"):
            Destination(tmp_path / name, source=source).check()


def test_a_result_has_the_photos_own_type_where_that_can_hold_it() -> None:
    clear = np.zeros((4, 4), np.uint8)
    grey, coloured = plain(noise(4, 4, 1)), plain(noise(4, 4, 3))
    for kind, photo, masked, suffix in (
        ("AVIF", coloured, False, ".avif"),
        ("AVIF", coloured, True, ".png"),
        ("AVIF", plain(noise(4, 4, 3), clear), False, ".avif"),
        ("AVIF", plain(noise(4, 4, 1), clear), False, ".png"),
        ("MPO", coloured, False, ".jpg"),
        ("JPEG", coloured, True, ".png"),
        ("WEBP", coloured, True, ".webp"),
        ("WEBP", grey, False, ".png"),
        ("TIFF", grey, True, ".tif"),
        ("HEIF", coloured, False, ".png"),  # few programs show a lossless HEIC
    ):
        assert own_suffix(replace(photo, format=kind), masked=masked) == suffix, (kind, suffix)


def test_types_that_cannot_hold_a_photo_say_so(tmp_path: Path) -> None:
    seen = np.full((4, 4), 255, np.uint8)
    grey, opaque = plain(noise(4, 4, 1)), plain(noise(4, 4, 3), seen)
    see_through = plain(noise(4, 4, 3), seen - 1)
    grey_see_through = plain(noise(4, 4, 1), seen - 1)
    for name, photo, masked, why in (
        ("x.webp", grey, False, "grey, which WebP cannot hold"),
        ("x.jpg", see_through, False, "transparent, which JPEG cannot hold"),
        ("x.jpeg", opaque, True, "outside the mask"),
        ("x.avif", opaque, True, "AVIF would change pixels outside the mask"),
        ("x.avif", grey_see_through, False, "grey and transparent, which AVIF cannot hold"),
        ("x.heic", grey_see_through, False, "grey and transparent, which HEIC cannot hold"),
        ("x.gif", opaque, False, "not a type that is written"),
    ):
        with pytest.raises(SaveError, match=why):
            Destination(tmp_path / name).check_fits(photo, masked=masked)
    for name, photo in (("x.webp", opaque), ("x.jpg", opaque), ("x.jpg", grey), ("x.png", grey)):
        Destination(tmp_path / name).check_fits(photo, masked=False)
    for name in ("x.png", "x.tif", "x.webp"):
        Destination(tmp_path / name).check_fits(see_through, masked=True)
    avif = Destination(tmp_path / "x.avif")
    for photo in (see_through, grey):
        avif.check_fits(photo, masked=False)
    with pytest.raises(SaveError, match="lossy AVIF would change"):
        avif.check_fits(see_through, masked=False, compression=Compression("AVIF", 85))
    heic = Destination(tmp_path / "x.heic")
    heic.check_fits(see_through, masked=True)
    for masked, why in (
        (False, "transparent, which lossy HEIC"),
        (True, "lossy HEIC"),
    ):
        with pytest.raises(SaveError, match=f"{why} would change"):
            heic.check_fits(see_through, masked=masked, compression=Compression("HEIF", 100))


@pytest.mark.parametrize("kind", ["EXIF", "XMP"])
def test_more_than_jpeg_holds_is_said_before_the_work(kind: str, tmp_path: Path) -> None:
    most = {"EXIF": 65_533, "XMP": 65_504}[kind]
    for size in (most, most + 1):
        block = (camera_exif() if kind == "EXIF" else XMP).ljust(
            size, b"\0" if kind == "EXIF" else b" "
        )
        photo = plain(smooth(), None, **{kind.lower(): block})
        Destination(tmp_path / "x.png").check_fits(photo, masked=False)
        jpeg = Destination(tmp_path / "x.jpg")
        if size > most:
            with pytest.raises(SaveError, match=rf"x\.jpg: the photo has {size} bytes of {kind}"):
                jpeg.check_fits(photo, masked=False)
        else:
            jpeg.check_fits(photo, masked=False)
            write.write_photo(photo, tmp_path / "x.jpg")


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
def test_the_name_of_a_result(source: str, result: str) -> None:
    assert result_name(source, suffix=".png", addition=".immunized") == result


def test_the_name_of_a_result_of_another_type() -> None:
    assert result_name("a.png", suffix=".tif", addition="") == "a.tif"
    others = [
        result_name(name, suffix=None, addition="")
        for name in ("a.jfif", "b.JPE", "c.mpo", "d.apng", "e.gif")
    ]
    assert others == ["a.jpg", "b.jpg", "c.jpg", "d.png", "e.png"]
    own = [result_name(name, suffix=None, addition=".x") for name in ("a.JPG", "b.heic", "c.bmp")]
    assert own == ["a.x.JPG", "b.x.heic", "c.x.png"]


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
    plan = plan_outputs(dict.fromkeys(names, "out"))
    assert list(plan) == names
    assert [path.removeprefix("out/") for path in plan.values()] == [
        "photo.jpg.immunized.png",
        "photo.png.immunized.png",
        "other.immunized.png",
        "Photo.WEBP.immunized.png",
        "photo.jpg.bmp.immunized.png",
        "a.b.immunized.png",
        "a.c.immunized.png",
    ]


def test_the_same_name_in_two_folders_is_no_clash() -> None:
    plan = plan_outputs({"x/a.png": "x", "y/a.png": "y"})
    assert list(plan.values()) == ["x/a.immunized.png", "y/a.immunized.png"]


def test_a_result_never_takes_the_name_of_another_source() -> None:
    plan = plan_outputs({"a.png": "", "a.immunized.png": ""})
    assert plan["a.png"] == "a.png.immunized.png"
    assert plan_outputs({"a.png": "", "b.jpg": ""}, addition="") == {
        "a.png": "a.png.png",
        "b.jpg": "b.png",
    }


def test_a_heic_without_its_package_is_refused_before_the_work(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(SaveError, match=r"x\.heic: HEIC needs the package pillow_heif") as raised:
        Destination(tmp_path / "x.heic").check()
    assert raised.value.hint == 'type: pip install "photovax[heic]"'


@pytest.mark.parametrize("folder", [".", str(Path.cwd())])
def test_a_result_takes_the_name_of_no_other_source_however_it_is_written(folder: str) -> None:
    plan = plan_outputs({"b.jpg": folder, "b-x.png": folder}, addition="-x")
    assert [Path(result).name for result in plan.values()] == ["b.jpg-x.png", "b-x-x.png"]
    plan = plan_outputs({"a.png": folder}, addition="")
    assert [Path(result).name for result in plan.values()] == ["a.png.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody may write")
def test_a_folder_that_takes_no_files_is_told_before_the_work() -> None:
    with pytest.raises(SaveError, match=r"/proc/x\.png: cannot be written: "):
        Destination(Path("/proc/x.png")).check()


@pytest.mark.parametrize(
    ("suffix", "sides"), [(".webp", (1, 16384)), (".jpg", (65501, 1)), (".jpeg", (1, 65501))]
)
def test_sides_that_a_type_does_not_take_are_told_before_the_work(suffix: str, sides) -> None:
    photo = Photo.from_array(np.zeros((*sides, 3), np.uint8))
    with pytest.raises(SaveError, match=r"takes \d+ a side; use \.png"):
        Destination(Path(f"x{suffix}")).check_fits(photo, masked=False)
    Destination(Path("x.png")).check_fits(photo, masked=False)


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".heic", ".png", ".tif", ".jpg"])
def test_a_resolution_that_a_type_has_no_place_for_is_noted(suffix: str) -> None:
    def notes(metadata: Metadata) -> tuple[str, ...]:
        photo = replace(Photo.from_array(np.zeros((4, 4, 3), np.uint8)), metadata=metadata)
        return Destination(Path(f"x{suffix}")).notes(photo)

    table = Image.Exif()
    table[0x011A] = 300.0
    told = f"a resolution of 300 dots per inch: kept in .png, .tif and .jpg, but not in {suffix}"
    without = suffix in {".webp", ".avif", ".heic"}
    assert notes(Metadata(dpi=(300.0, 300.0))) == ((told,) if without else ())
    assert notes(Metadata(dpi=(300.0, 300.0), exif=b"broken")) == ((told,) if without else ())
    assert notes(Metadata(dpi=(300.0, 300.0), exif=table.tobytes())) == ()
    assert notes(Metadata()) == ()
