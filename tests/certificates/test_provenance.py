"""The original's Content Credentials go on in the manifest of its immunized copy."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from photovax.certificates.likeness import SAME_PICTURE, dhash, distance
from photovax.cli import app
from photovax.digests import file_digest
from photovax.errors import PhotovaxError, UsageError
from photovax.pictures.outputs import record_of
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures.made import smooth

pytest.importorskip("c2pa", reason='needs pip install "photovax[c2pa]"')

import c2pa

from tests.certificates.cameras import TYPES, signed_by_camera


def _encoded(kind: str = "JPEG", pixels: np.ndarray | None = None, **options: Any) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(smooth(64, 96) if pixels is None else pixels).save(file, kind, **options)
    return file.getvalue()


def _immunized(folder: Path, original: bytes, *, without_gps: bool = False) -> Path:
    """The original with a slight change, saved with so much of a record as is looked at."""
    photo = read_photo(original)
    photo = photo.without_gps() if without_gps else photo
    path = folder / "photo.png"
    write_photo(photo.with_pixels(photo.pixels ^ np.uint8(3)), path)
    record_of(path).write_text(json.dumps({"sha256": file_digest(path)}))
    return path


def _sign(photo: Path, original: Path) -> Result:
    arguments = ("sign", photo, "--original", original, "--overwrite")
    return CliRunner().invoke(app, [*map(str, arguments)])


def _store(path: Path) -> dict[str, Any]:
    with c2pa.Reader(path) as reader:
        store: dict[str, Any] = json.loads(reader.json())
        return store | {"detailed": json.loads(reader.detailed_json())}


@pytest.mark.parametrize("kind", TYPES)
def test_the_manifest_of_the_original_goes_on(kind: str, tmp_path: Path) -> None:
    given = signed_by_camera(_encoded(kind), TYPES[kind])
    original = tmp_path / "original"
    original.write_bytes(given)
    photo = _immunized(tmp_path, given)
    made = _sign(photo, original)
    assert made.exit_code == 0, made.output
    assert "the Content Credentials of the original go on" in made.stdout
    store = _store(tmp_path / "photo.signed.png")
    assert store["validation_state"] == "Valid"
    active = store["manifests"][store["active_manifest"]]
    (parent,) = active["ingredients"]
    assert parent["relationship"] == "parentOf"
    before = store["manifests"][parent["active_manifest"]]
    assert before["claim_generator_info"][0]["name"] == "Camera"
    failures = parent["validation_results"]["activeManifest"]["failure"]
    assert [each["code"] for each in failures] == ["signingCredential.untrusted"]
    labels = [each["label"] for each in active["assertions"]]
    assert labels == ["c2pa.actions.v2", "photovax.immunization"]
    assert b"original" not in (tmp_path / "photo.signed.png").read_bytes()


def test_previews_of_the_original_do_not_go_along(tmp_path: Path) -> None:
    large = _encoded(pixels=smooth(640, 960))
    first = signed_by_camera(large, preview=True)
    given = signed_by_camera(large, preview=True, parent=first)
    assert given.count(b"\xff\xd8\xff") >= 4
    (tmp_path / "original.jpg").write_bytes(given)
    photo = _immunized(tmp_path, given)
    assert _sign(photo, tmp_path / "original.jpg").exit_code == 0
    signed = tmp_path / "photo.signed.png"
    assert b"\xff\xd8\xff" not in signed.read_bytes()
    assert signed.stat().st_size - photo.stat().st_size < 20_000
    store = _store(signed)
    assert store["validation_state"] == "Valid"
    assert len(store["manifests"]) == 3
    active = store["detailed"]["manifests"][store["active_manifest"]]
    actions = active["assertion_store"]["c2pa.actions.v2"]["actions"]
    assert [each["action"] for each in actions] == [
        "c2pa.opened",
        "c2pa.edited",
        *["c2pa.redacted"] * 3,
    ]
    for manifest in store["detailed"]["manifests"].values():
        assert not [name for name in manifest["assertion_store"] if "thumbnail" in name]


@pytest.mark.parametrize("without", [True, False])
def test_a_location_goes_along_only_if_the_photo_has_one(without: bool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "Model"
    exif.get_ifd(0x8825)[1] = "N"
    said = {"@context": {"exif": "http://ns.adobe.com/exif/1.0/"}, "exif:GPSLatitude": "39,21.1N"}
    where = {"label": "c2pa.metadata", "data": said, "kind": "Json"}
    given = signed_by_camera(_encoded(exif=exif), "image/jpeg", where)
    (tmp_path / "original.jpg").write_bytes(given)
    photo = _immunized(tmp_path, given, without_gps=without)
    made = _sign(photo, tmp_path / "original.jpg")
    assert made.exit_code == 0, made.output
    signed = tmp_path / "photo.signed.png"
    assert (b"39,21.1N" in signed.read_bytes()) is not without
    assert _store(signed)["validation_state"] == "Valid"


def test_an_original_that_was_changed_or_is_unsigned_is_named_as_such(tmp_path: Path) -> None:
    original = tmp_path / "original.jpg"
    plain = _encoded()
    photo = _immunized(tmp_path, plain)
    original.write_bytes(plain)
    assert "has no Content Credentials" in _sign(photo, original).stdout
    store = _store(tmp_path / "photo.signed.png")
    (parent,) = store["manifests"][store["active_manifest"]]["ingredients"]
    assert (parent["format"], parent.get("active_manifest")) == ("image/jpeg", None)
    changed = bytearray(signed_by_camera(plain))
    changed[-200] ^= 1
    original.write_bytes(changed)
    assert "do not fit it" in _sign(photo, original).stdout
    store = _store(tmp_path / "photo.signed.png")
    assert store["validation_state"] == "Valid"
    (parent,) = store["manifests"][store["active_manifest"]]["ingredients"]
    failures = parent["validation_results"]["activeManifest"]["failure"]
    assert "assertion.dataHash.mismatch" in [each["code"] for each in failures]


def test_a_drawing_on_white_is_known_again(tmp_path: Path) -> None:
    """The hash of an even area is that of the change alone."""
    down, right = np.mgrid[:256, :256] - 128
    disc = (down**2 + right**2 < 36**2)[..., None]
    drawing = np.where(disc, [200, 30, 40], 250).astype(np.uint8)
    original, photo = tmp_path / "drawing.png", tmp_path / "photo.png"
    original.write_bytes(_encoded("PNG", drawing))
    clouds = np.kron(np.random.default_rng(0).integers(-4, 5, (8, 8, 1)), np.ones((32, 32, 1)))
    changed = read_photo(original).with_pixels((drawing + clouds).astype(np.uint8))
    write_photo(changed, photo)
    record_of(photo).write_text(json.dumps({"sha256": file_digest(photo)}))
    assert distance(dhash(drawing), dhash(changed.pixels)) > SAME_PICTURE
    assert _sign(photo, original).exit_code == 0


def test_neither_the_photo_nor_its_original_is_replaced(tmp_path: Path) -> None:
    photo, original = _immunized(tmp_path, _encoded()), tmp_path / "original.png"
    original.write_bytes(_encoded("PNG"))
    before = original.read_bytes(), photo.read_bytes()
    arguments = ("sign", photo, "--original", original, "-o", original, "--overwrite")
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert "never replaced" in str(done.exception)
    assert (original.read_bytes(), photo.read_bytes()) == before


def test_what_is_not_the_original_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    photo = _immunized(tmp_path, _encoded())
    other = tmp_path / "other.png"
    noise = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    for data, why in [
        (_encoded("PNG", noise), "not the original, but another picture"),
        (_encoded("PNG", smooth(32, 48)), "another picture (48 x 32, and the photo is 96 x 64"),
        (_encoded("BMP"), "the original is BMP, and C2PA knows avif, gif, heic, jpeg"),
    ]:
        other.write_bytes(data)
        error = _sign(photo, other).exception
        assert isinstance(error, UsageError)
        assert why in str(error)
    other.write_bytes(b"none")
    assert isinstance(_sign(photo, other).exception, PhotovaxError)
    assert not (tmp_path / "photo.signed.png").exists()
