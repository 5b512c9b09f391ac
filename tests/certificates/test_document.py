"""The form of certificates: what is signed, what is none."""

import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError, SecurityWarning
from joserfc.jwk import KeySet

from photovax.certificates import jws as own
from photovax.certificates.document import canonical, fingerprint, parse_certificate, signed
from photovax.certificates.keys import key_set
from photovax.certificates.verification import verify
from photovax.errors import CertificateError
from tests.certificates.provider import altered, payload_of


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 60_000,
        '{"kind": "photovax certificate", "kind": "x"}',
        '{"signature": {"algorithm": "none", "value": ""}}',
        '{"signature": {"algorithm": "Ed25519", "value": "%%%"}}',
        "x" * 70_000,
        '{"key": "\\ud800"}',  # half a character
        "a.b.c",
        '{"protected": "e30", "payload": "e30", "signature": ""}',
        '{"protected": 1, "payload": [], "signature": null}',
        '{"protected": "_w", "payload": "_w", "signature": "_w"}',
    ],
)
def test_what_is_no_certificate_says_so_in_a_line(text):
    with pytest.raises(CertificateError) as caught:
        verify(text, {})
    assert "\n" not in str(caught.value)


def test_layout_does_not_matter_but_every_field_does(provider):
    data = json.loads(provider.text)
    loose = json.dumps(dict(reversed(data.items())), indent=7)
    compact = ".".join(data[name] for name in ("protected", "payload", "signature"))
    for text in (loose, compact, f"{compact}\n"):
        assert verify(text, provider.ring.public).valid
        assert fingerprint(text) == fingerprint(provider.text)
    with pytest.raises(CertificateError, match="no other"):
        parse_certificate(json.dumps(data | {"header": {"alg": "none"}}))
    with pytest.raises(CertificateError, match="more"):
        parse_certificate(altered(provider.text, lambda stated: stated.update(more=1)))


def test_any_library_for_jose_verifies_it(provider):
    given: Any = key_set(provider.ring.public)
    published = KeySet.import_key_set(given)
    data = json.loads(provider.text)
    compact = ".".join(data[name] for name in ("protected", "payload", "signature"))
    with pytest.warns(SecurityWarning, match="RFC 9864"):  # its newer name is known to few yet
        flat = jws.deserialize_json(data, published, algorithms=["EdDSA"])
    with pytest.warns(SecurityWarning, match="RFC 9864"):
        same = jws.deserialize_compact(compact, published, algorithms=["EdDSA"])
    assert json.loads(flat.payload) == json.loads(same.payload) == payload_of(provider.text)
    assert same.protected["kid"] == provider.ring.current
    forged = json.loads(altered(provider.text, lambda stated: stated["budget"].update(used=0)))
    with pytest.warns(SecurityWarning), pytest.raises(BadSignatureError):
        jws.deserialize_json(forged, published, algorithms=["EdDSA"])


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"kid": "0" * 16},
        {"typ": "JWT"},
        {"crit": ["b64"], "b64": False},
        {"jwk": {"kty": "OKP"}},
    ],
)
def test_no_other_header_is_accepted(provider, header):
    usual = own.header_of(provider.ring.current)
    text = json.dumps(payload_of(provider.text)).encode()
    data = own.signing_input(usual | header, text)
    with pytest.raises(CertificateError, match="its header is not"):
        verify(json.dumps(own.flattened(data, provider.ring.sign(data))), provider.ring.public)
    data = own.signing_input(usual, text)
    assert verify(
        json.dumps(own.flattened(data, provider.ring.sign(data))), provider.ring.public
    ).valid


@pytest.mark.parametrize("end", ["=", "\n", "+", "é"])
def test_there_is_one_spelling_of_each_member(provider, end):
    data = json.loads(provider.text)
    for name in ("protected", "payload", "signature"):
        with pytest.raises(CertificateError, match=f"{name} is not base64url"):
            parse_certificate(json.dumps(data | {name: data[name] + end}))
    spare = data["signature"][:-1] + {"A": "B", "Q": "R", "g": "h", "w": "x"}[data["signature"][-1]]
    with pytest.raises(CertificateError, match="shortest"):
        parse_certificate(json.dumps(data | {"signature": spare}))


def test_the_signed_form_is_what_other_languages_write():
    text = canonical({"b": 1.0, "a": [0.12344, 16.0, None, True], "ü": "é"})
    assert text == '{"a":[0.12344,16,null,true],"b":1,"ü":"é"}'.encode()
    with pytest.raises(CertificateError):
        canonical(float("nan"))


def test_certificates_are_made_with_four_decimals(provider):
    says = parse_certificate(provider.text)[0]
    budget = says.budget.model_copy(update={"total": 16.123456})
    text = signed(says.model_copy(update={"budget": budget}), provider.ring)
    assert payload_of(text)["budget"]["total"] == 16.1235
    assert verify(text, provider.ring.public).valid
