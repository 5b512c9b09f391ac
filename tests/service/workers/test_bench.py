"""What comes out of jobs, as a client of a running service sees it."""

import io
import json
import struct
import weakref
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photovax.attack.networks.files import read_network, write_network
from photovax.attack.presets import load_recipe
from photovax.certificates.container import holds_manifest
from photovax.certificates.credential import self_made
from photovax.certificates.document import parse_certificate
from photovax.certificates.keys import KeyRing, read_keys
from photovax.certificates.register import Register, registered, today
from photovax.certificates.verification import Seen, verify
from photovax.checks.noise import noisy
from photovax.client import ServiceError
from photovax.digests import file_digest
from photovax.errors import CertificateError, UsageError
from photovax.metrics.visibility import flip_picture
from photovax.models.load import load_autoencoder
from photovax.pictures.photo import read_photo
from photovax.service.app import build_app
from photovax.service.workers import bench, provider
from photovax.service.workers.bench import Bench
from photovax.service.workers.parcels import write_parcel
from photovax.service.workers.worker import pack, unpack
from photovax.tensors import CPU
from tests.certificates.provider import Provider, altered
from tests.service.asking import begun, detail_of, pictures_in, settings_in
from tests.serving import recipe_file

FLIP = find_spec("flip_evaluator") is not None


def test_a_photo_goes_in_and_comes_out_certified(client, web, photo, folder, tmp_path):
    seen: list[str] = []
    queued = client.immunize(photo, file_type="webp")
    job = client.wait(queued, callback=lambda state: seen.append(state.state))
    assert seen[-1] == "done"
    assert (job.done, job.steps) == (4, 4)
    assert (job.result["visibility"], job.result["levels"]) == ("medium", 24)
    client.save_photo(job, tmp_path / "photo.webp")
    client.save_certificate(job, tmp_path / "c.json")
    made, given = read_photo(tmp_path / "photo.webp"), read_photo(photo)
    change = np.abs(made.pixels.astype(int) - given.pixels).max()
    assert job.result["visible"]["linf"] == change <= 24
    assert (job.result["visible"]["jod_fhd"] is None) is (job.result["seen"] is None)
    held = verify(
        (tmp_path / "c.json").read_text(),
        read_keys(folder / "data/keys"),
        photo=Seen.of(tmp_path / "photo.webp", made),
    )
    assert held.valid
    assert b"DMI-PROHIBITED" not in (made.metadata.xmp or b"")
    assert held.certificate.budget.total == 32
    assert held.certificate.visible == pytest.approx(job.result["visible"], abs=1e-4)
    original = Image.open(io.BytesIO(client.picture(job, "original")))
    assert (np.asarray(original) == given.pixels).all()
    assert job.result["flip"] is ("flip" in job.links) is FLIP
    assert "preview" not in job.links
    answer = web.get(f"/v1/immunizations/{job.id}/preview")
    assert detail_of(answer, 404, "no-preview") == "browsers show the photo itself"
    if FLIP:
        where = Image.open(io.BytesIO(client.picture(job, "flip")))
        assert np.array_equal(np.asarray(where), flip_picture(given.pixels, made.pixels))

    checked = client.wait(
        client.check(tmp_path / "photo.webp", original=photo, certificate=tmp_path / "c.json")
    )
    assert checked.result["visible"] == job.result["visible"]
    assert checked.result["seen"] == job.result["seen"]
    says = {
        "valid": True,
        "reasons": [],
        "photo": "same file",
        "lacking": [],
        "budget": {"norm": "linf", "unit": "levels", "total": 32, "used": change},
        "models": job.result["models"],
    }
    assert checked.result["certificate"] == says
    unheld = client.wait(client.check(tmp_path / "photo.webp", certificate=tmp_path / "c.json"))
    assert unheld.result == {"certificate": says}
    alone = client.wait(client.check(tmp_path / "photo.webp", original=photo))
    assert alone.result["models"] == checked.result["models"]
    assert "certificate" not in alone.result
    assert alone.result["step"] is None
    half = (made.width // 2, made.height // 2)
    Image.fromarray(made.pixels).resize(half).save(tmp_path / "copy.jpg", quality=80)
    copied = client.wait(client.check(tmp_path / "copy.jpg", original=photo)).result
    assert "resized to" in copied["step"]
    assert "quality 80" in copied["step"]
    assert copied["models"]["embedded"]["effect"]["shift"] > 0
    # Signed with a C2PA manifest after it was certified, it is the same photo still.
    data = (tmp_path / "photo.webp").read_bytes()
    size, manifest = struct.pack("<I", len(data) + 4), b"C2PA\4\0\0\0jumb"
    (tmp_path / "signed.webp").write_bytes(data[:4] + size + data[8:] + manifest)
    renewed = client.wait(client.renew(tmp_path / "signed.webp", tmp_path / "c.json"))
    assert renewed.result == {"lacking": [], "basis": None, "file": None}

    edited = client.wait(client.edit(job, "make it night"))
    first, second = (
        Image.open(io.BytesIO(client.picture(edited, which))) for which in ("original", "immunized")
    )
    assert first.size == second.size == (80, 64)
    assert edited.result == {"known": True}
    assert client.wait(client.edit(job, "put a hat on")).result == {"known": False}
    client.delete(job)
    assert not {job.id, edited.id} & set(pictures_in(folder))
    with pytest.raises(ServiceError) as caught:
        client.picture(job)
    assert (caught.value.status, caught.value.kind) == (409, "not-done")
    if FLIP:
        with pytest.raises(ServiceError, match="the job is cancelled"):
            client.picture(job, "flip")


def test_a_renewal_covers_a_new_model_within_the_total(
    client, web, photo, folder, tmp_path, editor_folder
):
    register = Register(folder / "data/register.json")
    asked: list[dict[str, Any]] = [{"visibility": "low"}, {"levels": 8}, {"levels": 32}]
    jobs = [client.immunize(photo, **options) for options in asked]
    for name, job in zip(("low", "half", "spent"), jobs, strict=True):
        done = client.wait(job)
        client.save_photo(done, tmp_path / f"{name}.png")
        client.save_certificate(done, tmp_path / f"{name}.json")
    register.add(registered(str(editor_folder), name="newer", version="1"))
    try:
        assert [model.name for model in client.models()] == ["embedded", "newer"]
        for name, original in (("low", photo), ("half", None)):
            done = client.wait(
                client.renew(tmp_path / f"{name}.png", tmp_path / f"{name}.json", original=original)
            )
            assert [gap["name"] for gap in done.result["lacking"]] == ["newer"]
            made = Image.open(io.BytesIO(client.picture(done)))
            change = np.abs(np.asarray(made).astype(int) - read_photo(photo).pixels).max()
            says = parse_certificate(web.get(done.links["certificate"]).text)[0]
            assert change <= says.budget.used <= says.budget.total == 32
            assert says.renews is not None
            # What was asked for at first goes on to bound what is seen.
            usual, left = load_recipe(str(folder / "quick.json")), 32.0 if original else 24.0
            recipe = usual.with_visibility("low") if original else usual
            assert says.recipe == recipe.with_bound(left).digest()
            client.delete(done)
        with pytest.raises(ServiceError, match=r"newer 1\..* 32 of 32 levels"):
            client.wait(client.renew(tmp_path / "spent.png", tmp_path / "spent.json"))
    finally:
        register.end("newer", "1", today().replace(year=2000))


def test_a_photo_says_that_ai_is_forbidden_where_that_was_asked(client, photo, tmp_path):
    job = client.wait(client.immunize(photo, forbid_ai=True))
    client.save_photo(job, tmp_path / "photo.png")
    assert b"DMI-PROHIBITED" in (read_photo(tmp_path / "photo.png").metadata.xmp or b"")


def test_a_check_says_nothing_of_a_certificate_that_does_not_hold(client, photo, tmp_path):
    job = client.wait(client.immunize(photo))
    client.save_certificate(job, tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text()
    (tmp_path / "c.json").write_text(altered(text, lambda stated: stated["budget"].update(used=1)))
    found = client.wait(client.check(photo, certificate=tmp_path / "c.json")).result
    assert not found["certificate"]["valid"]
    assert "models" not in found["certificate"]


def test_a_check_measures_what_is_left_where_that_is_asked(photo, tmp_path, monkeypatch):
    monkeypatch.setattr("photovax.checks.survival.TREATMENTS", {"jpeg75": "JPEG at quality 75"})
    given = read_photo(photo)
    write_parcel(given, tmp_path / "original.npz")
    write_parcel(given.with_pixels(noisy(given.pixels, 8, 7)), tmp_path / "photo.npz")
    bench = Bench(begun(settings_in(tmp_path)))
    plain, asked = (
        bench.do("checks", tmp_path, tmp_path / f"{wish}", {"survival": wish}, lambda *_: None)
        for wish in (False, True)
    )
    (left,) = asked.pop("survival")["after"]
    assert left["label"] == "JPEG at quality 75"
    assert left["share"] > 0
    assert asked == plain


def test_bad_certificates_fail_the_job_with_the_reason(client, photo, tmp_path):
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ServiceError, match="not signed with Ed25519") as caught:
        client.wait(client.renew(photo, tmp_path / "c.json"))
    assert caught.value.kind == "certificate-error"


def test_a_job_that_cannot_be_done_says_why_and_leaves_nothing(client, photo, folder, tmp_path):
    Image.new("L", (5, 5)).save(tmp_path / "mask.png")
    with pytest.raises(ServiceError, match="the mask is 5 x 5 pixels, the photo 96 x 80"):
        client.wait(client.immunize(photo, mask=tmp_path / "mask.png"))
    Image.new("L", (96, 80), 90).save(tmp_path / "grey.png")
    with pytest.raises(ServiceError, match=r"^photo\.webp: the photo is grey"):
        client.wait(client.immunize(tmp_path / "grey.png", file_type="webp"))


def test_how_much_may_be_seen_is_asked_for(client, web, folder, photo):
    usual = load_recipe(str(folder / "quick.json"))
    for visibility in (None, "high"):
        job = client.wait(client.immunize(photo, visibility=visibility))
        says = parse_certificate(web.get(job.links["certificate"]).text)[0]
        assert says.recipe == usual.with_visibility(visibility or "medium").digest()
        assert says.budget.used == job.result["visible"]["linf"] <= says.budget.total == 32


def test_a_provider_that_signs_puts_the_certificate_into_the_photo(photo, tmp_path):
    pytest.importorskip("c2pa", reason='needs pip install "photovax[c2pa]"')
    from photovax.certificates.manifest import embedded_certificate

    made = self_made()
    key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
    key.write_bytes(made.key)
    chain.write_bytes(made.chain)
    settings = settings_in(tmp_path, sign_key=key, sign_chain=chain)
    bench = Bench(begun(settings))
    write_parcel(read_photo(photo), tmp_path / "photo.npz")
    for kind in ("png", "jpg"):
        output = tmp_path / kind
        asked = {"suffix": f".{kind}"}
        done = bench.do("immunizations", tmp_path, output, asked, lambda *_: None)
        file, text = output / f"photo.{kind}", (output / "certificate.json").read_text()
        assert done["file"] == file.name
        assert done["signed"] is holds_manifest(file) is True
        public = read_keys(settings.keys)
        assert verify(text, public, photo=Seen.of(file, read_photo(file))).valid
        assert json.loads(embedded_certificate(file)) == json.loads(text)


def test_only_jobs_that_sign_need_what_the_provider_signs_with(photo, tmp_path):
    """Such as while the disk with the key is away: photos can still be checked and edited."""
    lost = tmp_path / "lost.pem"
    bench = Bench(begun(settings_in(tmp_path, sign_key=lost, sign_chain=lost)))
    bench.warm()
    for name in ("original", "photo"):
        write_parcel(read_photo(photo), tmp_path / f"{name}.npz")
    for name in ("original", "immunized"):
        (tmp_path / name).write_bytes(photo.read_bytes())

    def done(kind: str, **asked: Any) -> dict[str, Any]:
        return bench.do(kind, tmp_path, tmp_path / f"out of {kind}", asked, lambda *_: None)

    assert done("checks")["verdict"] == "FAIL"
    assert done("edits", mode="instruct", prompt="make it night", seed=0) == {"known": True}
    for kind in ("immunizations", "renewals"):
        with pytest.raises(CertificateError, match=r"lost.pem: not a private key .*No such file"):
            done(kind, suffix=".png", sha256="", certificate="{}")


def test_a_provider_whose_files_are_away_makes_no_new_ones(tmp_path):
    settings = settings_in(tmp_path)
    with pytest.raises(UsageError, match="no register of models"):
        provider.Provider.of(settings, signs=False)
    Register(settings.register)
    with pytest.raises(CertificateError, match="no signing key"):
        provider.Provider.of(settings, signs=False)
    assert "keys" not in [file.name for file in settings.data.iterdir()]
    KeyRing(settings.keys)
    assert provider.Provider.of(settings, signs=False).models


def test_the_network_is_in_the_result_and_the_certificate(photo, tmp_path, network_file):
    recipe = str(recipe_file(tmp_path, "one-pass", preset="instant", warm=0))
    settings = settings_in(tmp_path, recipe=recipe, total=None, networks=(network_file,))
    bench = Bench(begun(unpack(pack(settings))))
    write_parcel(read_photo(photo), tmp_path / "photo.npz")
    asked = {"suffix": ".png"}
    made = bench.do("immunizations", tmp_path, tmp_path / "out", asked, lambda *_: None)
    digest = file_digest(network_file)
    record = json.loads((tmp_path / "out/photo.png.json").read_text())
    says = parse_certificate((tmp_path / "out/certificate.json").read_text())[0]
    assert made["networks"] == record["networks"] == {"embedded": digest}
    assert [model.network for model in says.models] == [digest]
    assert made["models"]["embedded"]["network"] == digest
    with_steps = {**asked, "recipe": str(recipe_file(tmp_path, steps=2, warm=None))}
    cold = bench.do("immunizations", tmp_path, tmp_path / "cold", with_steps, lambda *_: None)
    assert (cold["networks"], cold["models"]["embedded"]["network"]) == ({}, None)


def test_a_network_of_no_model_of_the_register_is_refused(tmp_path, network_file):
    other = tmp_path / "other.safetensors"
    network = read_network(network_file, CPU).network
    write_network(network, other, model="sd15", model_digest="ab" * 32)
    with pytest.raises(UsageError, match=r"is of sd15 .* not on the register") as found:
        build_app(settings_in(tmp_path, networks=(other,)))
    assert "photovax register add" in found.value.line


def test_one_set_of_models_is_in_memory(tmp_path, monkeypatch):
    loaded: list[str] = []

    def load(name: str, **options: Any) -> Any:
        loaded.append(name)
        return load_autoencoder(name, **options)

    monkeypatch.setattr("photovax.models.surrogates.load_autoencoder", load)
    bench = Bench(begun(settings_in(tmp_path)))
    first = weakref.ref(bench._issuer(bench._today))
    (embedded,) = bench._today
    assert first() is bench._issuer((embedded,))
    Register(bench._settings.register).add(replace(embedded, version="again"))
    second = bench._issuer(bench._today)
    assert first() is None
    some = second.only(bench._today[1:])
    assert some.immunizer.models == second.immunizer.models
    assert loaded == ["embedded", "embedded"]


def test_a_total_in_levels_is_none_of_a_length(photo, tmp_path):
    budget = {"name": "l2", "options": {"radius": 20}}
    length = recipe_file(tmp_path, "length", budget=budget, step_size=10)
    bench = Bench(begun(settings_in(tmp_path, recipes=(str(length),))))
    write_parcel(read_photo(photo), tmp_path / "photo.npz")
    asked = {"suffix": ".png", "recipe": str(length)}
    bench.do("immunizations", tmp_path, tmp_path / "out", asked, lambda *_: None)
    says = parse_certificate((tmp_path / "out/certificate.json").read_text())[0]
    assert (says.budget.norm, says.budget.unit, says.budget.total) == ("l2", "length", 20)


def test_two_versions_of_a_model_are_both_in_a_result(tmp_path, monkeypatch):
    says = parse_certificate(Provider(tmp_path).text)[0]
    (first,) = says.models
    second = first.model_copy(update={"sha256": "0" * 64, "verdict": "FAIL"})
    both = says.model_copy(update={"models": (first, second)})
    monkeypatch.setattr(bench, "parse_certificate", lambda _text: (both, b"", b""))
    found = bench._models("")
    same = says.model_copy(update={"models": (first, first.model_copy())})
    monkeypatch.setattr(bench, "parse_certificate", lambda _text: (same, b"", b""))
    assert list(bench._models("")) == ["embedded"]
    assert {name: each["verdict"] for name, each in found.items()} == {
        f"embedded {first.sha256[:12]}": first.verdict,
        "embedded 000000000000": "FAIL",
    }
