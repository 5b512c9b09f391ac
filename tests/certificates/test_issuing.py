"""Certificates are issued of what was measured."""

from dataclasses import replace

import pytest
from PIL import Image

from photovax.certificates.document import parse_certificate
from photovax.certificates.issuing import Issuer
from photovax.certificates.verification import verify
from photovax.errors import BudgetExceeded
from photovax.pictures.photo import read_photo
from tests.certificates.provider import QUICK, largest_change


def test_a_model_may_be_on_the_register_twice(provider):
    (model,) = provider.register.supported()
    twice = (model, replace(model, version="again"))
    issuer = Issuer(twice, provider.ring, device="cpu")
    text = issuer.certify(provider.photo, read_photo(provider.original), QUICK, masked=True)
    says = verify(text, provider.ring.public).certificate
    first, second = says.models
    assert first.effect == second.effect


def test_more_than_the_total_is_not_certified(provider):
    with pytest.raises(BudgetExceeded, match="in total"):
        provider.certified(total=1)


def test_what_a_lossy_file_adds_to_the_change_is_said(provider, tmp_path):
    with Image.open(provider.photo) as picture:
        picture.save(tmp_path / "rough.jpg", quality=30)
        picture.save(tmp_path / "fine.jpg", quality=100, subsampling=0)
    for name, hint in (("rough.jpg", "immunize to .png, or with --lossless"), ("fine.jpg", None)):
        with pytest.raises(BudgetExceeded, match="in total") as found:
            provider.issuer.certify(tmp_path / name, read_photo(provider.original), QUICK, total=1)
        assert found.value.hint == hint


def test_the_default_is_certified_by_its_largest_change(usual):
    for options, total in (({}, 24), ({"total": 32}, 32)):
        text = usual.certified(**options)
        assert verify(text, usual.ring.public, photo=usual.seen()).valid
        says = parse_certificate(text)[0]
        assert (says.budget.norm, says.budget.unit, says.budget.total) == ("linf", "levels", total)
        assert (
            says.budget.used == says.visible["linf"] == largest_change(usual.original, usual.photo)
        )
        assert says.budget.used <= 24
        assert says.recipe == usual.recipe.digest()
