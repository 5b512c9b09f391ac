"""The form of certificates: what is signed, what is none."""

import json

import pytest

from photovax.certificates.document import canonical, fingerprint, parse_certificate, signed
from photovax.certificates.verification import verify
from photovax.errors import CertificateError


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
    ],
)
def test_what_is_no_certificate_says_so_in_a_line(text):
    with pytest.raises(CertificateError) as caught:
        verify(text, {})
    assert "\n" not in str(caught.value)


def test_layout_does_not_matter_but_every_field_does(provider):
    data = json.loads(provider.text)
    loose = json.dumps(dict(reversed(data.items())), indent=7)
    assert verify(loose, provider.ring.public).valid
    assert fingerprint(loose) == fingerprint(provider.text)
    data["more"] = 1
    with pytest.raises(CertificateError, match="more"):
        parse_certificate(json.dumps(data))


def test_the_signed_form_is_what_other_languages_write():
    text = canonical({"b": 1.0, "a": [0.12344, 16.0, None, True], "ü": "é"})
    assert text == '{"a":[0.12344,16,null,true],"b":1,"ü":"é"}'.encode()
    with pytest.raises(CertificateError):
        canonical(float("nan"))


def test_certificates_are_made_with_four_decimals(provider):
    says = parse_certificate(provider.text)[0]
    budget = says.budget.model_copy(update={"total": 16.123456})
    text = signed(says.model_copy(update={"budget": budget}), provider.ring)
    assert json.loads(text)["budget"]["total"] == 16.1235
    assert verify(text, provider.ring.public).valid
