"""Files appear whole or not at all."""

# A None where bytes or an array belong fails the test itself, so mypy need not mind it here.
# mypy: disable-error-code="arg-type, index, no-untyped-def, operator, type-arg, union-attr"

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from photovax.errors import (
    OutputExists,
    SaveError,
)
from photovax.pictures.outputs import Destination
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import noise, plain, round_trip


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
