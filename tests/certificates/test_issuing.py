"""Certificates are issued of what was measured."""

from dataclasses import replace

import pytest
from PIL import Image

from photovax.attack.presets import load_recipe
from photovax.certificates.document import parse_certificate
from photovax.certificates.issuing import Issuer, recorded_networks
from photovax.certificates.verification import verify
from photovax.digests import file_digest
from photovax.errors import BudgetExceeded, ModelError, UsageError
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


def test_a_photo_without_a_change_is_not_certified(provider):
    original = read_photo(provider.original)
    with pytest.raises(UsageError, match="the photo is its original: nothing of it is immunized"):
        provider.issuer.certify(provider.original, original, QUICK)


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


def test_the_network_of_the_record_is_certified(provider, network_file, tmp_path):
    issuer = Issuer(
        provider.register.supported(), provider.ring, networks=[network_file], device="cpu"
    )
    photo = tmp_path / "photo.png"
    original = read_photo(provider.original)
    recipe = replace(load_recipe("instant"), size=64)
    issuer.immunizer.save(issuer.immunizer.immunize(original, recipe), photo)
    found = recorded_networks(photo)
    assert found == {"embedded": file_digest(network_file)}
    text = issuer.certify(photo, original, recipe, networks=found)
    says = verify(text, provider.ring.public).certificate
    assert [each.network for each in says.models] == list(found.values())
    photo.write_bytes(provider.photo.read_bytes())  # the record is of another file now
    assert recorded_networks(photo) == {}
    assert recorded_networks(tmp_path / "none.png") == {}


def test_networks_of_models_that_are_supported_no_longer_are_left_out(provider, network_file):
    (model,) = provider.register.supported()
    retired = replace(model, sha256="ab" * 32)
    with pytest.raises(ModelError, match="changed") as found:
        Issuer([retired], provider.ring, networks=[network_file], device="cpu")
    assert "network" not in str(found.value)
