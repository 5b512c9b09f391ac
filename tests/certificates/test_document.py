"""Certificates and keys: what is signed, what no longer holds, and renewal within one budget."""

import base64
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from photovax.attack.recipe import DEFAULT, Recipe, load_recipe
from photovax.certificates.document import canonical, fingerprint, parse_certificate, signed
from photovax.certificates.issuing import Issuer
from photovax.certificates.keys import KeyRing, read_keys
from photovax.certificates.likeness import SAME_PICTURE, dhash, distance
from photovax.certificates.read import read_certificate
from photovax.certificates.register import Register, Registered, gaps, registered
from photovax.certificates.renewal import Renewer, Wish
from photovax.certificates.verification import Seen, verify
from photovax.cli import app
from photovax.demo import SAMPLE
from photovax.errors import BudgetExceeded, BudgetSpent, CertificateError, UsageError
from photovax.pictures.photo import read_photo
from photovax.registry import Part

QUICK = Recipe(
    objective=Part("latent_drift"),
    budget=Part("linf", {"radius": 8 / 255}),
    views=(Part("short_side"),),
    steps=6,
    step_size=3 / 255,
    schedule="cosine",
    size=64,
)


class Provider:
    """One provider with a photo immunized against the embedded model, and certified."""

    def __init__(self, folder: Path, recipe: Recipe = QUICK) -> None:
        self.folder = folder
        self.recipe = recipe
        self.ring = KeyRing(folder / "keys")
        self.register = Register(folder / "register.json")
        self.issuer = Issuer(self.register.supported(), self.ring, device="cpu")
        self.original = folder / "original.png"
        Image.open(SAMPLE).crop((150, 20, 246, 100)).save(self.original)
        self.photo = folder / "photo.png"
        result = self.issuer.immunizer.immunize(read_photo(self.original), recipe)
        self.issuer.immunizer.save(result, self.photo)
        self.text = self.certified(total=16)

    def certified(self, **options: Any) -> str:
        original = read_photo(self.original)
        return self.issuer.certify(self.photo, original, self.recipe, **options)

    def seen(self) -> Seen:
        return Seen.of(self.photo, read_photo(self.photo))


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return Provider(tmp_path_factory.mktemp("provider"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    """A provider with the default recipe, whose budget is of what is seen."""
    recipe = replace(load_recipe(DEFAULT), steps=4, size=64)
    return Provider(tmp_path_factory.mktemp("usual"), recipe)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Registered:
    """The embedded model with slightly other weights: the next version of it."""
    from safetensors.torch import load_file, save_file

    from photovax.models.catalog.places import model_folder

    folder = tmp_path_factory.mktemp("next") / "embedded"
    shutil.copytree(model_folder("embedded") / "vae", folder / "vae")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: 1.01 * value for name, value in load_file(file).items()}, file)
    return registered(str(folder / "vae"), name="embedded", version="2")


def _renewer(provider: Provider, *models: Registered, recipe: Recipe = QUICK) -> Renewer:
    return Renewer(
        provider.ring, models, recipe, lambda those: Issuer(those, provider.ring, device="cpu")
    )


def _wish(provider: Provider, output: Path, **options: Any) -> Wish:
    options = {"certificate": provider.text, **options}
    return Wish(photo=read_photo(provider.photo), seen=provider.seen(), output=output, **options)


def _change(first: Path, second: Path) -> int:
    before, after = (read_photo(path).pixels.astype(int) for path in (first, second))
    return int(np.abs(after - before).max())


def test_a_model_may_be_on_the_register_twice(provider):
    (model,) = provider.register.supported()
    twice = (model, replace(model, version="again"))
    issuer = Issuer(twice, provider.ring, device="cpu")
    text = issuer.certify(provider.photo, read_photo(provider.original), QUICK, masked=True)
    says = verify(text, provider.ring.public).certificate
    first, second = says.models
    assert first.effect == second.effect


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
    assert set(model.survival) == {"jpeg75", "resize50"}
    assert says.recipe == QUICK.digest()
    assert len(says.not_covered) >= 3
    assert not gaps(says, provider.register.supported())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["budget"].update(used=1), "changed after it was signed"),
        (lambda c: c["models"][0]["effect"].update(shift=9), "changed after it was signed"),
        (lambda c: c.update(key="0" * 16), "none of the keys that are trusted"),
        (lambda c: c.update(not_covered=[]), "changed after it was signed"),
    ],
)
def test_a_changed_certificate_does_not_hold(provider, change, reason):
    data = json.loads(provider.text)
    change(data)
    found = verify(json.dumps(data), provider.ring.public)
    assert not found.valid
    assert reason in found.reasons[0]


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


def test_a_number_that_would_round_to_the_signed_one_does_not_carry_its_signature(provider):
    used = json.loads(provider.text)["budget"]["used"]
    near = provider.text.replace(f'"used": {used}', f'"used": {used - 4e-5:.5f}')
    assert near != provider.text
    assert parse_certificate(near)[0].budget.used < used
    found = verify(near, provider.ring.public)
    assert not found.valid
    assert "changed after it was signed" in found.reasons[0]
    assert fingerprint(near) != fingerprint(provider.text)


def test_certificates_are_made_with_four_decimals(provider):
    says = parse_certificate(provider.text)[0]
    budget = says.budget.model_copy(update={"total": 16.123456})
    text = signed(says.model_copy(update={"budget": budget}), provider.ring)
    assert json.loads(text)["budget"]["total"] == 16.1235
    assert verify(text, provider.ring.public).valid


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


def test_the_picture_hash_bears_small_changes_only(pixels):
    big = np.asarray(Image.fromarray(pixels).resize((400, 300), Image.Resampling.BICUBIC))
    noise = np.random.default_rng(1).integers(-8, 9, big.shape)
    near = np.clip(big + noise, 0, 255).astype(np.uint8)
    assert distance(dhash(big), dhash(near)) <= SAME_PICTURE
    assert distance(dhash(big), dhash(big[::-1])) > SAME_PICTURE


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


def test_more_than_the_total_is_not_certified(provider):
    with pytest.raises(BudgetExceeded, match="in total"):
        provider.certified(total=1)


def test_renewal_from_the_original_keeps_the_total(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    done = _renewer(provider, *models).renew(
        _wish(provider, tmp_path / "new.png", original=read_photo(provider.original))
    )
    assert done is not None
    assert [gap.model for gap in done.gaps] == [newer]
    assert "other weights" in done.gaps[0].reason
    change = _change(provider.original, tmp_path / "new.png")
    says = parse_certificate(done.certificate)[0]
    assert change == says.budget.used <= says.budget.total == 16
    assert says.renews == fingerprint(provider.text)
    assert not gaps(says, models)


def test_renewal_without_the_original_keeps_the_total(provider, newer, tmp_path):
    models = (*provider.register.supported(), newer)
    done = _renewer(provider, *models).renew(_wish(provider, tmp_path / "new.png"))
    assert done is not None
    change = _change(provider.original, tmp_path / "new.png")
    says = parse_certificate(done.certificate)[0]
    assert 8 < says.budget.used <= 16
    assert change <= says.budget.used
    measured = {model.sha256: model.measured for model in says.models}
    assert measured == {
        newer.sha256: "against the protected photo",
        models[0].sha256: "at least, carried over",
    }
    again = _renewer(provider, newer)
    seen = Seen.of(tmp_path / "new.png", read_photo(tmp_path / "new.png"))
    assert verify(done.certificate, provider.ring.public, photo=seen).valid
    assert again.lacking(done.certificate, seen)[1] == ()


def test_renewals_that_cannot_be(provider, newer, tmp_path):
    target = tmp_path / "new.png"
    spent = _wish(provider, target, certificate=provider.certified())
    models = (*provider.register.supported(), newer)
    with pytest.raises(BudgetSpent, match="renew from the original"):
        _renewer(provider, *models).renew(spent)
    l2 = replace(QUICK, budget=Part("l2", {"radius": 1.0}))
    with pytest.raises(UsageError, match="same kind"):
        _renewer(provider, *models, recipe=l2).renew(spent)
    upside_down = read_photo(provider.original)
    upside_down = upside_down.with_pixels(np.ascontiguousarray(upside_down.pixels[::-1]))
    with pytest.raises(UsageError, match="another photo's original"):
        _renewer(provider, *models).renew(_wish(provider, target, original=upside_down))
    forged = json.loads(provider.text)
    forged["budget"]["total"] = 200
    with pytest.raises(CertificateError, match="changed after it was signed"):
        _renewer(provider, *models).renew(_wish(provider, target, certificate=json.dumps(forged)))
    assert _renewer(provider, models[0]).renew(_wish(provider, target)) is None
    assert not target.exists()


def test_the_default_is_certified_by_its_largest_change(usual):
    for options, total in (({}, 16), ({"total": 32}, 32)):
        text = usual.certified(**options)
        assert verify(text, usual.ring.public, photo=usual.seen()).valid
        says = parse_certificate(text)[0]
        assert (says.budget.norm, says.budget.unit, says.budget.total) == ("linf", "levels", total)
        assert says.budget.used == says.visible["linf"] == _change(usual.original, usual.photo)
        assert says.budget.used <= 16
        assert says.recipe == usual.recipe.digest()


def test_the_default_is_renewed_within_the_total(usual, newer, tmp_path):
    models = (*usual.register.supported(), newer)
    renewer = _renewer(usual, *models, recipe=usual.recipe)
    for total in (16, 20, 32):
        wish = _wish(
            usual,
            tmp_path / f"{total}.png",
            certificate=usual.certified(total=total),
            original=read_photo(usual.original),
        )
        done = renewer.renew(wish)
        assert done is not None
        says = parse_certificate(done.certificate)[0]
        assert _change(usual.original, wish.output) == says.budget.used <= total
        assert says.budget.total == total
        assert not gaps(says, models)
    # What is seen is bounded as before, however many levels are left for it.
    assert _change(usual.original, wish.output) < 32


def test_without_the_original_the_default_uses_what_is_left(usual, newer, tmp_path):
    models = (*usual.register.supported(), newer)
    renewer = _renewer(usual, *models, recipe=usual.recipe)
    spent = _change(usual.original, usual.photo)
    nothing = _wish(usual, tmp_path / "no.png", certificate=usual.certified(total=spent))
    with pytest.raises(BudgetSpent, match=f"{spent} of {spent} levels are used"):
        renewer.renew(nothing)
    assert not nothing.output.exists()
    wish = _wish(usual, tmp_path / "new.png", certificate=usual.certified(total=spent + 5))
    done = renewer.renew(wish)
    assert done is not None
    says = parse_certificate(done.certificate)[0]
    assert spent < says.budget.used <= says.budget.total == spent + 5
    assert _change(usual.photo, wish.output) == says.budget.used - spent <= 5
    assert _change(usual.original, wish.output) <= says.budget.used
    seen = Seen.of(wish.output, read_photo(wish.output))
    assert verify(done.certificate, usual.ring.public, photo=seen).valid
    assert not gaps(says, models)


def test_verifying_needs_neither_what_only_unix_has_nor_what_serves(provider):
    (provider.folder / "c.json").write_text(provider.text)
    without = "import sys\nsys.modules |= dict.fromkeys({})\nfrom photovax.cli import main\nmain()"
    asked = ["certificate", "verify", "c.json", "--photo", "photo.png", "--data", "."]
    absent = ("fcntl", "resource", "fastapi", "uvicorn", "httpx2", "prometheus_client")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", without.format(absent), *asked],
        cwd=provider.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("it holds")
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", without.format(("fcntl", "resource")), "serve", "--data", "."],
        cwd=provider.folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install" not in done.stderr
    assert "needs Linux" in done.stderr


def test_the_command_line_issues_verifies_and_renews(provider, newer, tmp_path):
    recipe = {"preset": "fast", "steps": 6, "size": 64, "views": [{"name": "short_side"}]}
    (tmp_path / "quick.json").write_text(json.dumps(recipe))
    shutil.copytree(provider.folder, tmp_path / "p")
    data = tmp_path / "p"

    def photovax(*arguments: object) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments), "--data", str(data)])

    photo, original = data / "photo.png", data / "original.png"
    made = photovax("certificate", "issue", photo, "--original", original, "--total", 16,
                    "--recipe", tmp_path / "quick.json", "--device", "cpu")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    certificate = data / "photo.png.certificate.json"
    held = photovax("certificate", "verify", certificate, "--photo", photo)
    assert held.exit_code == 0, held.stderr
    assert held.stdout.startswith("it holds")
    Register(data / "register.json").add(newer)
    assert photovax("certificate", "verify", certificate).exit_code == 10
    renewed = photovax("renew", photo, "--certificate", certificate, "--original", original,
                       "--recipe", tmp_path / "quick.json", "--device", "cpu")  # fmt: skip
    assert renewed.exit_code == 0, renewed.stderr
    assert "made from the original, within the same total budget" in renewed.stdout
    result = data / "photo.renewed.png"
    again = photovax(
        *("certificate", "verify", f"{result}.certificate.json", "--photo", result, "--json")
    )
    assert again.exit_code == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["lacking"] == {}
    other = photovax("certificate", "verify", certificate, "--photo", result)
    assert other.exit_code == 9
    assert "another file" in other.stdout
    assert read_certificate(certificate) != read_certificate(Path(f"{result}.certificate.json"))
