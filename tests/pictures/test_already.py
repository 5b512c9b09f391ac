"""Photos that are immunized already are not immunized once more, unless asked."""

# mypy: disable-error-code="arg-type"

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import photovax
from photovax.checks.verdicts import Verdict
from photovax.cli import app
from photovax.digests import file_digest
from photovax.errors import UsageError
from photovax.pictures.already import refuse_immunized
from photovax.pictures.content_credentials import manifest_store
from photovax.pictures.outputs import record_of
from photovax.pictures.photo import read_photo
from photovax.pictures.write import write_photo
from tests.pictures import phones
from tests.pictures.made import plain, saved, smooth

QUICK = ("--budget", "8", "--recipe", "fast-linf", "--size", "64", "--time", "0.01")
HARDLY = Verdict.FAIL.exit_code  # as one step does hardly anything
STEVT = 'xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"'


def _refused(path: Path) -> str:
    with pytest.raises(UsageError, match="is immunized already, as its") as caught:
        refuse_immunized(path, read_photo(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_result_is_not_immunized_again_unless_asked(tmp_path: Path) -> None:
    given = saved(tmp_path / "x.png", smooth(64, 64))

    def immunize(*arguments: object) -> tuple[int, str]:
        made = CliRunner().invoke(app, ["immunize", *map(str, arguments), *QUICK])
        error = made.exception
        return made.exit_code, error.line if isinstance(error, UsageError) else made.output

    assert immunize(given)[0] == HARDLY
    result = tmp_path / "x.immunized.png"
    code, said = immunize(result)
    assert code == UsageError.exit_code
    assert "is immunized already, as its record x.immunized.png.json says" in said
    assert said.rstrip().endswith("give the original, or to change it once more: --again")
    assert not (tmp_path / "x.immunized.immunized.png").exists()
    assert immunize(result, "--again")[0] == HARDLY
    assert (tmp_path / "x.immunized.immunized.png").exists()


def test_a_result_among_photos_is_left_out(tmp_path: Path) -> None:
    names = [saved(tmp_path / f"{name}.png", smooth(64, 64)) for name in "ab"]
    record_of(names[0]).write_text(json.dumps({"photovax": "0", "sha256": file_digest(names[0])}))
    made = CliRunner().invoke(
        app, ["immunize", *map(str, names), "-o", str(tmp_path / "o"), *QUICK]
    )
    assert made.exit_code == HARDLY
    assert "left out: 1 result of photovax" in made.stderr
    assert sorted(each.name for each in (tmp_path / "o").glob("b*")) == ["b.png", "b.png.json"]


def test_python_refuses_a_file_too(tmp_path: Path) -> None:
    given = saved(tmp_path / "x.png", smooth(64, 64))
    record_of(given).write_text(json.dumps({"photovax": "0", "sha256": file_digest(given)}))
    with pytest.raises(UsageError, match="is immunized already"):
        photovax.immunize(given)
    result = photovax.immunize(given, recipe="fast-linf", size=64, again=True)
    assert result.source == given


@pytest.mark.parametrize(
    "record",
    [
        None,
        "no json",
        "[]",
        '{"sha256": 1}',
        '{"photovax": "0"}',
        '{"photovax": "0", "sha256": "of another file"}',
    ],
)
def test_a_record_of_another_program_or_file_is_none(record: str | None, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", smooth(8, 8))
    if record is not None:
        record_of(path).write_text(record)
    refuse_immunized(path, read_photo(path))


@pytest.mark.parametrize(
    ("attributes", "refused"),
    [
        (f'{STEVT} stEvt:softwareAgent="photovax 0.1.0"', True),
        ('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Photovax"', True),
        ('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="Camera"', False),
        ('xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="ask photovax"', False),
    ],
)
def test_xmp_that_names_photovax_as_a_tool_counts(
    attributes: str, refused: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(phones.jpeg(smooth(16, 16), xmp=phones.packet(attributes)))
    if refused:
        assert "its XMP says" in _refused(path)
    else:
        refuse_immunized(path, read_photo(path))


class TestManifest:
    @pytest.fixture(autouse=True)
    def library(self) -> None:
        pytest.importorskip("c2pa", reason='needs pip install "photovax[c2pa]"')

    @pytest.mark.parametrize("kind", ["AVIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP"])
    def test_a_cameras_is_noted_and_photovaxs_refused(self, kind: str, tmp_path: Path) -> None:
        from tests.certificates.cameras import TYPES, signed_by_camera

        if kind == "HEIF":
            pytest.importorskip("pillow_heif").register_heif_opener()
        file = io.BytesIO()
        Image.fromarray(smooth(64, 64)).save(file, kind)
        bare, path = file.getvalue(), tmp_path / "x"
        path.write_bytes(bare)
        assert read_photo(path).notes == ()
        path.write_bytes(signed_by_camera(bare, TYPES[kind]))
        photo = read_photo(path)
        assert [note.partition(":")[0] for note in photo.notes] == ["Content Credentials (C2PA)"]
        assert np.array_equal(photo.pixels, read_photo(bare).pixels)
        refuse_immunized(path, photo)
        said = {"label": "photovax.immunization", "data": {"photo_sha256": "0"}, "kind": "Json"}
        path.write_bytes(signed_by_camera(bare, TYPES[kind], said))
        assert "its C2PA manifest says" in _refused(path)

    def test_one_in_many_segments_is_read_whole(self) -> None:
        from tests.certificates.cameras import signed_by_camera

        filling = {"label": "org.filling", "data": {"x": "y" * 150_000}, "kind": "Json"}
        said = {"label": "photovax.certificate", "data": {"photo": "0"}, "kind": "Json"}
        bare = phones.jpeg(smooth(16, 16), phones.segment(0xEB, b"JP" + bytes(30)))
        store = manifest_store(io.BytesIO(signed_by_camera(bare, "image/jpeg", filling, said)))
        assert store is not None
        assert b"photovax.certificate" in store
        assert len(store) > 150_000
        assert manifest_store(io.BytesIO(bare)) is None

    def test_the_address_of_one_elsewhere_goes_from_xmp(self, tmp_path: Path) -> None:
        terms = 'xmlns:t="http://purl.org/dc/terms/" t:provenance="https://example.com/x.c2pa"'
        photo = read_photo(phones.jpeg(smooth(16, 16), xmp=phones.packet(terms)))
        assert [note.partition(":")[0] for note in photo.notes] == ["Content Credentials (C2PA)"]
        write_photo(photo, tmp_path / "x.png")
        assert b"example.com" not in (tmp_path / "x.png").read_bytes()

    def test_a_file_that_is_cut_short_has_none(self, tmp_path: Path) -> None:
        from tests.certificates.cameras import TYPES, signed_by_camera

        for suffix, kind in ((".png", "PNG"), (".tif", "TIFF"), (".webp", "WEBP")):
            write_photo(plain(smooth(16, 16)), tmp_path / f"x{suffix}")
            data = signed_by_camera((tmp_path / f"x{suffix}").read_bytes(), TYPES[kind])
            for end in (0, 3, 9, 12, 30):
                assert manifest_store(io.BytesIO(data[:end])) is None

    def test_a_box_of_impossible_size_holds_none(self) -> None:
        uuid = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
        start = struct.pack(">I4s4sI", 16, b"ftyp", b"avif", 0)
        for size in (2**63, 2**64 - 1):
            box = struct.pack(">I4sQ", 1, b"uuid", size) + uuid
            assert manifest_store(io.BytesIO(start + box + bytes(64))) is None
