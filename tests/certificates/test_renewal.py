"""Renewals: within one budget, by what the certificate promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from photovax.certificates.document import fingerprint, parse_certificate
from photovax.certificates.issuing import ONLY_INSIDE, Issuer
from photovax.certificates.register import Registered, gaps
from photovax.certificates.verification import Seen, verify
from photovax.errors import BudgetSpent, CertificateError, UsageError
from photovax.pictures.photo import read_photo
from photovax.registry import Part
from tests.certificates.provider import (
    QUICK,
    altered,
    largest_change,
    next_version,
    renewer_of,
    wish_for,
)


def test_renewal_from_the_original_keeps_the_total(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    done = renewer_of(provider, *models).renew(
        wish_for(provider, tmp_path / "new.png", original=read_photo(provider.original))
    )
    assert done is not None
    assert [gap.model for gap in done.gaps] == [newer]
    assert "weights differ" in done.gaps[0].reason
    change = largest_change(provider.original, tmp_path / "new.png")
    says = parse_certificate(done.certificate)[0]
    assert change == says.budget.used <= says.budget.total == 16
    assert says.renews == fingerprint(provider.text)
    assert not gaps(says, models)


def test_the_protected_photo_is_no_original(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    wish = wish_for(provider, tmp_path / "new.png", original=read_photo(provider.photo))
    with pytest.raises(UsageError, match="the original given is the protected photo itself"):
        renewer_of(provider, *models).renew(wish)
    assert not (tmp_path / "new.png").exists()


def test_renewal_without_the_original_keeps_the_total(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    done = renewer_of(provider, *models).renew(wish_for(provider, tmp_path / "new.png"))
    assert done is not None
    change = largest_change(provider.original, tmp_path / "new.png")
    says = parse_certificate(done.certificate)[0]
    assert 8 < says.budget.used <= 16
    assert change <= says.budget.used
    measured = {model.sha256: model.measured for model in says.models}
    assert measured == {
        newer.sha256: "against the protected photo",
        models[0].sha256: "at least, carried over",
    }
    again = renewer_of(provider, newer)
    seen = Seen.of(tmp_path / "new.png", read_photo(tmp_path / "new.png"))
    assert verify(done.certificate, provider.ring.public, photo=seen).valid
    assert again.lacking(done.certificate, seen)[1] == ()


def test_what_is_carried_over_claims_no_more_than_was_measured(provider, newer, tmp_path):
    (first,) = provider.register.supported()
    third = next_version(Path(newer.model), tmp_path / "third", "3")
    start = provider.certified(total=16, masked=True)
    once = renewer_of(provider, first, newer).renew(
        wish_for(provider, tmp_path / "once.png", certificate=start, most=4)
    )
    assert once is not None
    photo = read_photo(tmp_path / "once.png")
    wish = wish_for(provider, tmp_path / "twice.png", certificate=once.certificate, most=4)
    seen = Seen.of(tmp_path / "once.png", photo)
    twice = renewer_of(provider, first, newer, third).renew(replace(wish, photo=photo, seen=seen))
    assert twice is not None
    says = [parse_certificate(each)[0] for each in (start, once.certificate, twice.certificate)]
    facts = [{model.sha256: model for model in each.models} for each in says]
    assert [facts[2][model.sha256].measured for model in (first, newer, third)] == [
        "at least, carried over",
        "at least, against a former protected photo",
        "against the protected photo",
    ]
    floors = [each[first.sha256].floor.shift for each in facts]
    used = [each.budget.used for each in says]
    assert floors[2] / floors[0] == pytest.approx(used[2] / used[0], rel=1e-2)
    # Effects that are carried over are inside the first mask.
    assert all(ONLY_INSIDE in each.not_covered for each in says)


def test_a_renewal_may_use_less_than_is_left(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    renewer = renewer_of(provider, *models)
    original = read_photo(provider.original)
    for name, base, more in (("anew", {"original": original}, 17), ("further", {}, 9)):
        target = tmp_path / f"{name}.png"
        with pytest.raises(UsageError, match=f"may use {more - 1} levels of .* 16, got {more}"):
            renewer.renew(wish_for(provider, target, most=more, **base))
        assert not target.exists()
        done = renewer.renew(wish_for(provider, target, most=4, **base))
        assert done is not None
        budget = parse_certificate(done.certificate)[0].budget
        first = provider.original if base else provider.photo
        assert 0 < largest_change(first, target) <= 4
        assert budget.used == (4 if base else 12)
        assert budget.total == 16


def test_renewals_that_cannot_be(provider, newer, tmp_path):
    target = tmp_path / "new.png"
    spent = wish_for(provider, target, certificate=provider.certified())
    models = (*provider.register.supported(), newer)
    with pytest.raises(BudgetSpent, match="renew from the original"):
        renewer_of(provider, *models).renew(spent)
    l2 = replace(QUICK, budget=Part("l2", {"radius": 1.0}))
    with pytest.raises(UsageError, match="same kind"):
        renewer_of(provider, *models, recipe=l2).renew(spent)
    upside_down = read_photo(provider.original)
    upside_down = upside_down.with_pixels(np.ascontiguousarray(upside_down.pixels[::-1]))
    with pytest.raises(UsageError, match="another photo's original"):
        renewer_of(provider, *models).renew(wish_for(provider, target, original=upside_down))
    forged = altered(provider.text, lambda stated: stated["budget"].update(total=200))
    with pytest.raises(CertificateError, match="changed after it was signed"):
        renewer_of(provider, *models).renew(wish_for(provider, target, certificate=forged))
    assert renewer_of(provider, models[0]).renew(wish_for(provider, target)) is None
    assert not target.exists()


def test_the_default_is_renewed_within_the_total(usual, newer, tmp_path):
    models = (*usual.register.supported(), newer)
    renewer = renewer_of(usual, *models, recipe=usual.recipe)
    for total in (24, 32):
        wish = wish_for(
            usual,
            tmp_path / f"{total}.png",
            certificate=usual.certified(total=total),
            original=read_photo(usual.original),
        )
        done = renewer.renew(wish)
        assert done is not None
        says = parse_certificate(done.certificate)[0]
        assert largest_change(usual.original, wish.output.path) == says.budget.used <= total
        assert says.budget.total == total
        assert not gaps(says, models)
    # What is seen is bounded as before, however many levels are left for it.
    assert largest_change(usual.original, wish.output.path) < 32


def test_without_the_original_the_default_uses_what_is_left(usual, newer, tmp_path):
    models = (*usual.register.supported(), newer)
    renewer = renewer_of(usual, *models, recipe=usual.recipe)
    spent = largest_change(usual.original, usual.photo)
    nothing = wish_for(usual, tmp_path / "no.png", certificate=usual.certified(total=spent))
    with pytest.raises(BudgetSpent, match=f"{spent} of {spent} levels are used"):
        renewer.renew(nothing)
    assert not nothing.output.path.exists()
    wish = wish_for(usual, tmp_path / "new.png", certificate=usual.certified(total=spent + 5))
    done = renewer.renew(wish)
    assert done is not None
    says = parse_certificate(done.certificate)[0]
    assert spent < says.budget.used <= says.budget.total == spent + 5
    assert largest_change(usual.photo, wish.output.path) == says.budget.used - spent <= 5
    assert largest_change(usual.original, wish.output.path) <= says.budget.used
    seen = Seen.of(wish.output.path, read_photo(wish.output.path))
    assert verify(done.certificate, usual.ring.public, photo=seen).valid
    assert not gaps(says, models)


def test_a_renewal_shows_no_more_than_the_first_immunization(usual, newer, tmp_path):
    models = (*usual.register.supported(), newer)
    low = usual.recipe.with_visibility("low")
    first = usual.issuer.certify(usual.photo, read_photo(usual.original), low, total=28)
    renewer = renewer_of(usual, *models, recipe=usual.recipe)
    wish = wish_for(
        usual, tmp_path / "new.png", certificate=first, original=read_photo(usual.original)
    )
    done = renewer.renew(wish)
    assert done is not None
    renewed = parse_certificate(done.certificate)[0]
    assert renewed.recipe == low.with_bound(28.0).digest()
    # So it goes on from renewal to renewal, and where another visibility is usual.
    stronger = replace(renewer, recipe=usual.recipe.with_visibility("high"), written=usual.recipe)
    further = renewed.model_copy(update={"recipe": low.with_bound(28.0 - 7).digest()})
    for certificate in (parse_certificate(first)[0], renewed, further):
        assert renewer._as_visible(certificate) == low
        assert stronger._as_visible(certificate) == low
    unknown = renewed.model_copy(update={"recipe": "0" * 16})
    assert renewer._as_visible(unknown) == usual.recipe
    assert stronger._as_visible(unknown) == stronger.recipe


def test_a_renewal_loads_each_model_once(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    renewer = renewer_of(provider, *models)
    asked: list[tuple[Registered, ...]] = []

    def issuer(those: tuple[Registered, ...]) -> Issuer:
        asked.append(those)
        return renewer.issuer(those)

    done = replace(renewer, issuer=issuer).renew(wish_for(provider, tmp_path / "new.png"))
    assert done is not None
    assert asked == [models]
