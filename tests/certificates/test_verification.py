"""Which certificates hold, and of which photos."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from photovax.certificates.document import fingerprint, parse_certificate
from photovax.certificates.issuing import Issuer
from photovax.certificates.keys import KeyRing, read_keys
from photovax.certificates.register import gaps
from photovax.certificates.verification import Seen, verify
from photovax.errors import CertificateError
from photovax.pictures.chains import CHAINS
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from tests.certificates.provider import QUICK, altered

FIRST = Path(__file__).with_name("version1.json")  # photovax 0.1.0 wrote it, and its keys


def test_a_certificate_holds_and_says_what_was_measured(provider):
    found = verify(provider.text, provider.ring.public, photo=provider.seen())
    assert found.valid
    assert found.photo == "same file"
    says = found.certificate
    assert says.budget.norm == "linf"
    assert 1 <= says.budget.used <= 8
    assert says.budget.total == 16
    (model,) = says.models
    assert model.effect.shift > 2 * model.floor.shift
    assert set(model.survival) == {"jpeg75", "resize50", *CHAINS}
    assert says.recipe == QUICK.digest()
    assert len(says.not_covered) >= 3
    assert not gaps(says, provider.register.supported())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["budget"].update(used=1), "changed after it was signed"),
        (lambda c: c["models"][0]["effect"].update(shift=9), "changed after it was signed"),
        (lambda c: c.update(key="0" * 16), "not among the trusted keys"),
        (lambda c: c.update(not_covered=[]), "changed after it was signed"),
    ],
)
def test_a_changed_certificate_does_not_hold(provider, change, reason):
    found = verify(altered(provider.text, change), provider.ring.public)
    assert not found.valid
    assert reason in found.reasons[0]
    (key,) = (old := read_keys(FIRST.with_name("version1.keys.json"))).values()
    data = json.loads(FIRST.read_text(encoding="utf-8"))
    change(data)
    if data["key"] == key.id:
        assert "changed after it was signed" in verify(json.dumps(data), old).reasons[0]
    else:
        assert "not among the trusted keys" in verify(json.dumps(data), old).reasons[0]


def test_certificates_of_version_1_still_hold():
    text, keys = FIRST.read_text(encoding="utf-8"), read_keys(FIRST.with_name("version1.keys.json"))
    found = verify(text, keys)
    assert found.valid
    assert found.certificate.version == 1
    loose = json.dumps(dict(reversed(json.loads(text).items())), indent=7)
    assert verify(loose, keys).valid
    assert fingerprint(loose) == fingerprint(text)
    later = json.dumps(json.loads(text) | {"version": 2})
    with pytest.raises(CertificateError, match="version 2 is not signed in this form"):
        verify(later, keys)


def test_a_number_that_would_round_to_the_signed_one_does_not_carry_its_signature(provider):
    text, keys = FIRST.read_text(encoding="utf-8"), read_keys(FIRST.with_name("version1.keys.json"))
    used = json.loads(text)["budget"]["used"]
    near = text.replace(f'"used": {used}', f'"used": {used - 4e-5:.5f}')
    assert near != text
    assert parse_certificate(near)[0].budget.used < used
    found = verify(near, keys)
    assert not found.valid
    assert "changed after it was signed" in found.reasons[0]
    assert fingerprint(near) != fingerprint(text)


def test_a_changed_photo_is_told_from_another_one(provider, tmp_path):
    keys = provider.ring.public
    Image.open(provider.photo).save(tmp_path / "again.jpg", quality=70)
    again = Seen.of(tmp_path / "again.jpg", read_photo(tmp_path / "again.jpg"))
    found = verify(provider.text, keys, photo=again)
    assert found.photo == "same picture"
    assert "changed after it was certified" in found.reasons[0]
    Image.open(SAMPLE).crop((10, 200, 200, 330)).save(tmp_path / "other.png")
    other = Seen.of(tmp_path / "other.png", read_photo(tmp_path / "other.png"))
    assert verify(provider.text, keys, photo=other).photo == "another picture"


def test_a_key_that_is_replaced_while_a_photo_is_made_signs_no_more(provider, tmp_path):
    shutil.copytree(provider.folder / "keys", tmp_path / "keys")
    issuer = Issuer(provider.register.supported(), KeyRing(tmp_path / "keys"), device="cpu")
    new = KeyRing(tmp_path / "keys").rotate()
    text = issuer.certify(provider.photo, read_photo(provider.original), provider.recipe)
    assert parse_certificate(text)[0].key == new
    assert verify(text, issuer.ring.public).valid


def test_certificates_of_a_replaced_key_still_hold(provider, tmp_path):
    shutil.copytree(provider.folder / "keys", tmp_path / "keys")
    ring = KeyRing(tmp_path / "keys")
    old = ring.current
    new = ring.rotate()
    assert new == KeyRing(tmp_path / "keys").current != old
    assert verify(provider.text, ring.public).valid
    # Whoever finds the old key can sign, but no longer with today's date.
    later = datetime.now(UTC) - timedelta(days=1)
    public = {old: replace(ring.public[old], until=later)}
    assert "did not sign" in verify(provider.text, public).reasons[0]
    assert not verify(provider.text, {new: ring.public[new]}).valid
    assert not verify(provider.text, ring.public, now=datetime(2020, 1, 1, tzinfo=UTC)).valid
