"""Pictures are decoded in a process of their own."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from photovax.errors import TooManyPixels, UnreadablePhoto
from photovax.pictures.gain_map import GainMap
from photovax.pictures.photo import Metadata, read_photo
from photovax.service.settings import Settings
from photovax.service.workers.decode import decode, decoded
from photovax.service.workers.parcels import read_parcel, write_parcel
from tests.places import ROOT


def test_photos_are_decoded_elsewhere_and_come_back_whole(tmp_path, photo_file):
    given = read_photo(photo_file)
    decoded(photo_file, tmp_path / "photo.npz", Settings(tmp_path))
    found = read_parcel(tmp_path / "photo.npz")
    assert (found.pixels == given.pixels).all()
    assert found.metadata == given.metadata
    assert (found.alpha, found.format, found.notes) == (None, "JPEG", given.notes)
    assert found.gain_map is None
    assert found.compression is not None
    assert found.compression == given.compression
    assert not photo_file.exists()
    whole = replace(
        given,
        alpha=given.pixels[..., 0],
        notes=("one",),
        metadata=Metadata(b"icc", b"Exif", b"xmp", (72.0, 72.5), b"iptc", (("Title", "写"),)),
        gain_map=GainMap(b"a map", "1.0", bytes(4)),
    )
    write_parcel(whole, tmp_path / "whole.npz")
    again = read_parcel(tmp_path / "whole.npz")
    assert again.alpha is not None
    assert (again.alpha == given.pixels[..., 0]).all()
    assert (again.metadata, again.notes) == (whole.metadata, ("one",))
    assert again.gain_map == whole.gain_map


def test_the_type_of_the_result_is_told(tmp_path):
    file = tmp_path / "photo.upload"
    Image.new("RGB", (16, 16), "red").save(file, "AVIF")
    told = decoded(file, tmp_path / "photo.npz", Settings(tmp_path))
    assert told == {"whole": ".avif", "masked": ".png"}


@pytest.mark.parametrize(
    ("content", "change", "error", "message"),
    [
        (b"no picture", {}, UnreadablePhoto, "not a picture"),
        (b"", {}, UnreadablePhoto, "is empty"),
        (None, {"max_pixels": 100}, TooManyPixels, "more than the 100 allowed"),
        (None, {"decode_bytes": 60 * 1024**2}, UnreadablePhoto, "more memory or time"),
        (None, {"decode_seconds": 0}, UnreadablePhoto, "more memory or time"),
    ],
)
def test_what_cannot_be_decoded_leaves_nothing(
    tmp_path, photo_file, content, change, error, message
):
    if content is not None:
        photo_file.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        decoded(photo_file, tmp_path / "photo.npz", replace(Settings(tmp_path), **change))
    assert str(tmp_path) not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_pictures_never_break_the_decoder(count):
    command = [sys.executable, "-m", "tests.mutated", str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)["ends"]
    assert sum(ends.values()) == count
    assert {"accepted", "UnreadablePhoto", "TooManyPixels"} <= set(ends)


def test_what_to_type_is_not_answered(tmp_path, monkeypatch):
    def refuse(file: Path, **_: object) -> None:
        raise UnreadablePhoto(f"{file}: damaged; so it is refused", hint="to go on: --max-pixels 9")

    monkeypatch.setattr("photovax.pictures.photo.read_photo", refuse)
    code, answer = decode(tmp_path / "x.upload", tmp_path / "x.npz", 9)
    assert answer == {"kind": "UnreadablePhoto", "message": "damaged; so it is refused"}
    assert code == UnreadablePhoto.exit_code
