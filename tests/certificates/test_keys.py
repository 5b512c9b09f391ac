"""Keys: who may read them, that none is lost, how they are published."""

import base64
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from photovax.certificates.keys import KeyRing, read_keys
from photovax.errors import CertificateError


def test_private_keys_are_their_owners_only(tmp_path):
    KeyRing(tmp_path / "keys").rotate()
    assert (tmp_path / "keys/signing.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(tmp_path / "keys")) == ["keys.json", "signing.pem"]
    for name in ("signing.pem", "keys.json"):
        (tmp_path / "keys" / name).write_text("{}")
        with pytest.raises(CertificateError):
            KeyRing(tmp_path / "keys")


def test_services_that_start_at_once_have_one_key(tmp_path):
    for n in range(5):
        with ThreadPoolExecutor(4) as pool:
            rings = list(pool.map(lambda _, n=n: KeyRing(tmp_path / f"{n}/keys"), range(4)))
        assert len({ring.current for ring in rings}) == 1
        assert all(list(ring.public) == [ring.current] for ring in rings)


def test_no_rotation_is_lost_where_two_happen_at_once(tmp_path):
    first, second = KeyRing(tmp_path / "keys"), KeyRing(tmp_path / "keys")
    made = [first.current, first.rotate(), second.rotate()]
    keys = read_keys(tmp_path / "keys")
    assert list(keys) == made
    assert [key.until is None for key in keys.values()] == [False, False, True]
    with ThreadPoolExecutor(4) as pool:
        made += pool.map(lambda _: KeyRing(tmp_path / "keys").rotate(), range(8))
    keys = read_keys(tmp_path / "keys")
    assert set(keys) == set(made)
    assert [key for key in keys.values() if key.until is None] == [keys[list(keys)[-1]]]
    assert KeyRing(tmp_path / "keys").current == list(keys)[-1]


def test_keys_are_published_as_json_web_keys(provider):
    (key,) = json.loads((provider.folder / "keys/keys.json").read_text())["keys"]
    assert (key["kty"], key["crv"], len(base64.urlsafe_b64decode(key["x"] + "="))) == (
        *("OKP", "Ed25519"),
        32,
    )
    key["kid"] = "0" * 16
    (provider.folder / "other.json").write_text(json.dumps({"keys": [key]}))
    with pytest.raises(CertificateError, match="not what its id says"):
        read_keys(provider.folder / "other.json")


def test_times_of_keys_have_a_zone(provider, tmp_path):
    (key,) = json.loads((provider.folder / "keys/keys.json").read_text())["keys"]
    key["since"] = "2026-01-01T00:00:00"
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key]}))
    with pytest.raises(CertificateError, match="2026-01-01T00:00:00 has no time zone"):
        read_keys(tmp_path / "keys.json")
