"""C2PA manifests: what they say, that nothing else changes, and what certificates make of them."""

import base64
import io
import json
import re
import shlex
import shutil
import struct
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, MpoImagePlugin
from typer.testing import CliRunner, Result

from photovax.certificates.container import holds_manifest, photo_digest, stream_digest
from photovax.certificates.document import Budget, Certificate, PhotoFacts, signed
from photovax.certificates.keys import KeyRing, timestamp
from photovax.certificates.verification import Seen
from photovax.cli import app
from photovax.digests import file_digest
from photovax.errors import (
    CertificateError,
    OutputExists,
    PhotovaxError,
    SaveError,
    UnreadablePhoto,
    UsageError,
)
from photovax.pictures.compression import compression_for
from photovax.pictures.exif import Metadata
from photovax.pictures.outputs import record_of
from photovax.pictures.photo import Photo, read_photo
from photovax.pictures.write import write_photo
from photovax.saving import check_promises
from tests.pictures import phones
from tests.places import ROOT

TYPES = [".png", ".tif", ".webp", ".avif", ".heic", ".jpg"]


@pytest.fixture(scope="module")
def c2pa():
    return pytest.importorskip("c2pa", reason='needs pip install "photovax[c2pa]"')


def _photo(*, alpha: bool = False, forbidding: bool = True) -> Photo:
    """A small photo with inner EXIF tables, a profile, XMP and a resolution."""
    pixels = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x8298] = "Ann"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    known = Metadata(exif=b"Exif\0\0" + exif.tobytes()[6:], icc=b"", dpi=(300.0, 300.0))
    photo = Photo(pixels, pixels[..., 0] if alpha else None, replace(known, icc=None), "PNG", ())
    return photo.forbidding_ai() if forbidding else photo


def _saved(folder: Path, suffix: str = ".png", **options: bool) -> Path:
    """A photo as photovax saves it, with so much of a record as is looked at."""
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    path = folder / f"photo{suffix}"
    write_photo(_photo(**options), path)
    record_of(path).write_text(json.dumps({"sha256": file_digest(path)}))
    return path


def _certified(photo: Path, ring: KeyRing) -> str:
    seen = Seen.of(photo, read_photo(photo))
    return signed(
        Certificate(
            kind="photovax certificate",
            version=2,
            serial="1",
            issued=timestamp(datetime.now(UTC)),
            key=ring.current,
            software="photovax",
            photo=PhotoFacts(sha256=seen.sha256, dhash=seen.dhash, width=51, height=37),
            recipe="unknown",
            budget=Budget(norm="linf", unit="levels", total=16.0, used=7.5),
            visible={"psnr": 41.2345, "l2": None},
            models=(),
            not_covered=("all else, ü",),
            renews=None,
        ),
        ring,
    )


def _photovax(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def _manifest(c2pa, path: Path) -> tuple[dict[str, Any], str, list[str]]:
    """The manifest, the state of its validation, and what it fails in, by the C2PA library."""
    with c2pa.Reader(path) as reader:
        store = json.loads(reader.json())
    codes = [each["code"] for each in store.get("validation_status", ())]
    return store["manifests"][store["active_manifest"]], store["validation_state"], codes


def _same(first: Photo, second: Photo) -> bool:
    alphas = [each for each in (first.alpha, second.alpha) if each is not None]
    return (
        np.array_equal(first.pixels, second.pixels)
        and len(alphas) != 1
        and all(np.array_equal(alphas[0], each) for each in alphas)
        and first.metadata == second.metadata
    )


@pytest.mark.parametrize("command", [("sign",), ("renew", "--certificate", "c.json")])
def test_a_photo_that_is_not_there_is_named(c2pa, tmp_path, command):
    made = _photovax(*command, tmp_path / "none.png")
    assert isinstance(made.exception, UnreadablePhoto)
    assert "none.png: cannot be read: No such file" in made.exception.line


@pytest.mark.parametrize(
    ("suffix", "alpha"), [*((each, False) for each in TYPES), *((each, True) for each in TYPES[:5])]
)
def test_a_signed_photo_differs_in_its_manifest_only(c2pa, tmp_path, suffix, alpha):
    photo = _saved(tmp_path, suffix, alpha=alpha)
    made = _photovax("sign", photo)
    assert made.exit_code == 0, made.output
    result = tmp_path / f"photo.signed{suffix}"
    assert _same(read_photo(photo), read_photo(result))
    assert read_photo(photo).metadata.exif is not None
    (note,) = read_photo(result).notes
    assert note.startswith("Content Credentials (C2PA): not kept")
    assert holds_manifest(result)
    assert photo_digest(result) == file_digest(photo) != file_digest(result)
    assert result.stat().st_size - photo.stat().st_size < 8_000
    _, state, codes = _manifest(c2pa, result)
    assert (state, codes) == ("Valid", ["signingCredential.untrusted"])
    assert "untrusted" in made.output


def test_what_a_manifest_says(c2pa, tmp_path):
    photo = _saved(tmp_path)
    assert _photovax("sign", photo, "-o", tmp_path / "out.png").exit_code == 0
    manifest, _, _ = _manifest(c2pa, tmp_path / "out.png")
    said = {each["label"]: each["data"] for each in manifest["assertions"]}
    actions = [each["action"] for each in said["c2pa.actions.v2"]["actions"]]
    assert actions == ["c2pa.opened", "c2pa.edited"]
    # Nothing on data mining: that would also shut out search engines and research.
    assert said["cawg.training-mining"]["entries"] == {
        "cawg.ai_training": {"use": "notAllowed"},
        "cawg.ai_generative_training": {"use": "notAllowed"},
        "cawg.ai_inference": {
            "use": "constrained",
            "constraints_info": "No editing by generative AI without permission of the rights "
            "holder.",
        },
    }
    assert said["photovax.immunization"] == {
        "photo_sha256": file_digest(photo),
        "record_sha256": file_digest(record_of(photo)),
    }
    assert "thumbnail" not in manifest
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_photo_that_forbids_nothing_gets_no_word_on_ai(c2pa, tmp_path):
    photo = _saved(tmp_path, forbidding=False)
    assert _photovax("sign", photo, "-o", tmp_path / "out.png").exit_code == 0
    manifest, _, _ = _manifest(c2pa, tmp_path / "out.png")
    labels = [each["label"] for each in manifest["assertions"]]
    assert labels == ["c2pa.actions.v2", "photovax.immunization"]


@pytest.mark.parametrize("suffix", TYPES)
def test_the_promised_budget_holds_after_signing(
    c2pa, tmp_path, immunizer, photo_file, quick, suffix
):
    compression = compression_for(suffix, None)
    result = immunizer.immunize(
        read_photo(photo_file).forbidding_ai(), replace(quick, steps=1), compression=compression
    )
    saved = immunizer.save(result, tmp_path / f"x{suffix}")
    made = _photovax("sign", saved.path, "-o", tmp_path / f"signed{suffix}")
    assert made.exit_code == 0, made.output
    check_promises(result, read_photo(tmp_path / f"signed{suffix}"), result.shown)
    digest = json.loads(saved.record.read_text())["sha256"]
    assert digest == photo_digest(tmp_path / f"signed{suffix}")


@pytest.mark.parametrize("suffix", TYPES)
def test_a_certificate_travels_in_the_photo_and_goes_on_to_hold(c2pa, tmp_path, suffix):
    photo, ring = _saved(tmp_path, suffix), KeyRing(tmp_path / "data/keys")
    certificate, result = tmp_path / "c.json", tmp_path / f"signed{suffix}"
    certificate.write_text(_certified(photo, ring), encoding="utf-8")
    record_of(photo).unlink()  # the certificate is evidence enough
    made = _photovax("sign", photo, "--certificate", certificate, "-o", result)
    assert made.exit_code == 0, made.output
    data = ("--data", tmp_path / "data")
    for arguments in ((result,), (certificate, "--photo", result), (certificate, "--photo", photo)):
        held = _photovax("certificate", "verify", *arguments, *data)
        assert held.exit_code == 0, held.output
        assert held.stdout.startswith("valid")
        assert ("does not cover the C2PA manifest" in held.stdout) == (result in arguments)
    held = _photovax("certificate", "verify", result, "--json", *data)
    assert json.loads(held.stdout)["c2pa_manifest"] is True
    again = read_photo(result)
    again.pixels[5, 5] ^= 1
    write_photo(again, tmp_path / f"changed{suffix}")
    fails = _photovax(
        *("certificate", "verify", result, "--photo", tmp_path / f"changed{suffix}"), *data
    )
    assert fails.exit_code == 9
    assert "another file" in fails.stdout


def test_a_picture_without_certificate_is_not_taken_for_one(c2pa, tmp_path):
    photo = _saved(tmp_path)
    plain = _photovax("certificate", "verify", photo, "--data", tmp_path)
    assert isinstance(plain.exception, CertificateError)
    assert "without a C2PA manifest" in str(plain.exception)
    assert _photovax("sign", photo).exit_code == 0
    bare = _photovax("certificate", "verify", tmp_path / "photo.signed.png", "--data", tmp_path)
    assert isinstance(bare.exception, CertificateError)
    assert "holds no certificate" in str(bare.exception)


def test_a_changed_pixel_breaks_the_manifest(c2pa, tmp_path):
    assert _photovax("sign", _saved(tmp_path, ".tif"), "-o", tmp_path / "x.tif").exit_code == 0
    data = bytearray((tmp_path / "x.tif").read_bytes())
    data[400] ^= 1
    (tmp_path / "x.tif").write_bytes(data)
    _, state, codes = _manifest(c2pa, tmp_path / "x.tif")
    assert state == "Invalid"
    assert "assertion.dataHash.mismatch" in codes


@pytest.mark.parametrize("listed", [True, False])
def test_a_signed_jpeg_is_as_hdr_as_before(c2pa, tmp_path, listed):
    mapped = phones.gain_map()
    photo = tmp_path / "photo.jpg"
    write_photo(read_photo(phones.ultra_hdr(mapped, mpf=not listed, listed=listed)), photo)
    record_of(photo).write_text(json.dumps({"sha256": file_digest(photo)}))
    assert _photovax("sign", photo).exit_code == 0
    result = tmp_path / "photo.signed.jpg"
    assert photo_digest(result) == file_digest(photo)
    assert _manifest(c2pa, result)[1] == "Valid"
    again = read_photo(result)
    assert again.gain_map is not None
    assert again.gain_map.data == mapped
    with MpoImagePlugin.MpoImageFile(result) as image:
        image.seek(1)
        with Image.open(io.BytesIO(mapped)) as same:
            assert np.array_equal(np.asarray(image), np.asarray(same))
    assert phones.parts(result.read_bytes())[1] == mapped
    if listed:
        hdr = imagecodecs.ultrahdr_decode(result.read_bytes())
        assert np.array_equal(hdr, imagecodecs.ultrahdr_decode(photo.read_bytes()))


def test_other_pixels_behind_a_certified_tiff_are_another_file(tmp_path):
    photo = _saved(tmp_path, ".tif")
    data = photo.read_bytes()
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    entries = [data[i : i + 12] for i in range(at + 2, at + 2 + 12 * count, 12)]
    manifest = struct.pack(order + "HHII", 52545, 7, 4, 0)

    def extended(table: list[bytes]) -> str:
        padded = data + b"\0" * (-len(data) % 4)
        head = padded[:4] + struct.pack(order + "I", len(padded)) + padded[8:]
        forged = struct.pack(order + "H", len(table)) + b"".join(table) + bytes(4)
        (tmp_path / "forged.tif").write_bytes(head + forged)
        return photo_digest(tmp_path / "forged.tif")

    assert extended([*entries, manifest]) == file_digest(photo)
    (strips,) = (i for i, each in enumerate(entries) if each[:2] == struct.pack(order + "H", 273))
    moved = struct.pack(order + "HHII", 273, 4, 1, 8)
    assert extended([*entries[:strips], moved, *entries[strips + 1 :], manifest]) != file_digest(
        photo
    )


@pytest.mark.parametrize("suffix", TYPES)
def test_damaged_files_count_whole(tmp_path, suffix):
    data = _saved(tmp_path, suffix).read_bytes()
    file = tmp_path / "damaged"
    for end in (0, 3, 8, 11, 12, 20, 60, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:end])
        assert photo_digest(file) == file_digest(file)
        assert not holds_manifest(file)
    for at in range(8, 24):
        file.write_bytes(data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])
        assert photo_digest(file) == file_digest(file)


def test_a_manifest_that_reaches_beyond_the_file_is_none(tmp_path):
    data = _saved(tmp_path, ".webp").read_bytes()
    file = tmp_path / "damaged.webp"
    for size in (100, 1 << 20, 1 << 31):
        file.write_bytes(data + b"C2PA" + struct.pack("<I", size) + b"end")
        assert photo_digest(file) == file_digest(file)
        with file.open("rb") as raw:  # a reader that takes no negative number of bytes
            assert stream_digest(raw) == file_digest(file)


def test_tables_without_end_are_not_followed(tmp_path):
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(body), kind) + body

    store = box(b"uuid", bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + bytes(20))
    items = struct.pack(">HHH", 1, 0, 65535) * 65535
    table = box(b"iloc", bytes(4) + b"\0\0" + struct.pack(">H", 65535) + items)
    file = tmp_path / "x.avif"
    file.write_bytes(box(b"ftyp", b"avif\0\0\0\0") + store + box(b"meta", bytes(4) + table))
    assert photo_digest(file) == file_digest(file)  # at once, not after 4,000,000,000 extents


def test_what_cannot_be_signed_says_so_in_a_line(c2pa, tmp_path):
    photo, picture = _saved(tmp_path), tmp_path / "picture.bmp"
    Image.new("RGB", (8, 8)).save(picture)
    other = tmp_path / "other.png"
    write_photo(_photo(forbidding=False), other)
    ring = KeyRing(tmp_path / "keys")
    (tmp_path / "c.json").write_text(_certified(other, ring), encoding="utf-8")
    (tmp_path / "is.png").write_bytes(b"mine")
    assert _photovax("sign", photo).exit_code == 0
    signed_photo = tmp_path / "photo.signed.png"
    there = sorted(tmp_path.iterdir())
    for arguments, kind, why in [
        ((other,), UsageError, "nothing shows that it was immunized"),
        ((photo, "--certificate", tmp_path / "c.json"), CertificateError, "about another file"),
        (
            (picture, "-o", tmp_path / "x.png"),
            UsageError,
            "only JPEG, PNG, TIFF, WebP, AVIF and HEIC",
        ),
        ((photo, "-o", tmp_path / "x.webp"), UsageError, "end -o in .png"),
        ((photo, "-o", tmp_path / "x.gif"), SaveError, "not a type that is written"),
        ((photo, "-o", tmp_path / "is.png"), OutputExists, "is.png: "),
        ((photo, "-o", photo, "--overwrite"), UsageError, "never replaced"),
        ((signed_photo,), UsageError, "holds a C2PA manifest already"),
        ((photo, "--key", photo), UsageError, "--chain"),
        ((photo, "--key", photo, "--chain", photo), CertificateError, "not a private key in PEM"),
    ]:
        options = () if "-o" in arguments else ("-o", tmp_path / "new.png")
        error = _photovax("sign", *arguments, *options).exception
        assert isinstance(error, PhotovaxError), (arguments, error)
        assert isinstance(error, kind)
        assert why in error.line
        assert "\n" not in str(error)
    assert sorted(tmp_path.iterdir()) == there
    assert (tmp_path / "is.png").read_bytes() == b"mine"
    assert _photovax("sign", photo, "-o", tmp_path / "is.png", "--overwrite").exit_code == 0
    assert _same(read_photo(tmp_path / "is.png"), read_photo(photo))


def test_a_given_key_signs_and_must_fit_its_chain(c2pa, tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from photovax.certificates.credential import read_credential, self_made

    photo, given = _saved(tmp_path), self_made()
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    key.write_bytes(given.key)
    chain.write_bytes(given.chain)
    made = _photovax("sign", photo, "-o", tmp_path / "x.png", "--key", key, "--chain", chain)
    assert made.exit_code == 0, made.output
    manifest, _, _ = _manifest(c2pa, tmp_path / "x.png")
    own = x509.load_pem_x509_certificate(given.chain)
    assert manifest["signature_info"]["cert_serial_number"] == str(own.serial_number)
    key.write_bytes(self_made().key)
    with pytest.raises(CertificateError, match="not that of the key"):
        read_credential(key, chain)
    strange = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    curve, unknown = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")
    body = base64.encodebytes(strange.replace(curve, unknown)).decode()
    key.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n")
    with pytest.raises(CertificateError, match="not a private key in PEM"):
        read_credential(key, chain)
    chain.write_bytes(b"no chain")
    key.write_bytes(given.key)
    with pytest.raises(CertificateError, match="not a chain of certificates in PEM"):
        read_credential(key, chain)
    assert b"PRIVATE" not in repr(given).encode()


@pytest.mark.skipif(None in map(shutil.which, ("bash", "openssl")), reason="needs openssl")
def test_the_recipe_for_a_key_and_its_chain_works(c2pa, tmp_path, monkeypatch):
    page = (ROOT / "docs/policy.md").read_text("utf-8")
    (block,) = re.findall(r"^    openssl req.*?(?=^\S)", page, re.MULTILINE | re.DOTALL)
    made, signs = textwrap.dedent(block).strip().rsplit("\n", 1)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["bash", "-ec", made], check=True, capture_output=True)  # noqa: S603, S607
    _saved(tmp_path).rename("photo.immunized.png")
    record_of(tmp_path / "photo.png").rename("photo.immunized.png.json")
    program, *arguments = shlex.split(signs)
    assert program == "photovax"
    signed = _photovax(*arguments)
    assert signed.exit_code == 0, signed.output
    manifest, state, codes = _manifest(c2pa, tmp_path / "photo.immunized.signed.png")
    assert (state, codes) == ("Valid", ["signingCredential.untrusted"])
    assert manifest["signature_info"]["issuer"] == "Example"


def test_a_chain_that_does_not_do_is_refused_and_nothing_is_written(c2pa, tmp_path):
    from photovax.certificates.credential import self_made
    from photovax.certificates.manifest import sign_photo

    photo, good = _saved(tmp_path), self_made()
    root = good.chain[good.chain.rindex(b"-----BEGIN") :]
    with pytest.raises(CertificateError, match="cannot be signed"):
        sign_photo(photo, tmp_path / "x.png", replace(good, chain=root))
    assert not (tmp_path / "x.png").exists()
    assert not list(tmp_path.glob(".photovax-*"))


def test_without_the_extra_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    monkeypatch.delitem(sys.modules, "photovax.certificates.manifest", raising=False)
    error = _photovax("sign", _saved(tmp_path)).exception
    assert isinstance(error, UsageError)
    assert error.line == 'this needs the package c2pa; type: pip install "photovax[c2pa]"'
