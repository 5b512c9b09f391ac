"""Which certificates hold, and of which photos."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from photovax.certificates.document import fingerprint, parse_certificate
from photovax.certificates.keys import KeyRing
from photovax.certificates.register import gaps
from photovax.certificates.verification import Seen, verify
from photovax.demo import SAMPLE
from photovax.pictures.chains import CHAINS
from photovax.pictures.photo import read_photo
from tests.certificates.provider import QUICK


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
    data = json.loads(provider.text)
    change(data)
    found = verify(json.dumps(data), provider.ring.public)
    assert not found.valid
    assert reason in found.reasons[0]


def test_a_number_that_would_round_to_the_signed_one_does_not_carry_its_signature(provider):
    used = json.loads(provider.text)["budget"]["used"]
    near = provider.text.replace(f'"used": {used}', f'"used": {used - 4e-5:.5f}')
    assert near != provider.text
    assert parse_certificate(near)[0].budget.used < used
    found = verify(near, provider.ring.public)
    assert not found.valid
    assert "changed after it was signed" in found.reasons[0]
    assert fingerprint(near) != fingerprint(provider.text)


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
