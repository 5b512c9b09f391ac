"""What common treatments leave is measured on the photo itself, and the worst comes first."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from photovax.adversary.purify import PURIFICATIONS, Purifier, load_purifier
from photovax.attack.recipe import Recipe
from photovax.checks.check import check
from photovax.checks.noise import noisy
from photovax.checks.survival import SLOW, TREATMENTS, Survival
from photovax.checks.verdicts import Verdict
from photovax.cli.survival import survival_lines
from photovax.immunizer import Immunizer
from photovax.metrics.latent import latent_effect
from photovax.pictures.photo import Photo
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part

CPU = torch.device("cpu")
FEW = ("jpeg75", "resize50", "blur", "noise", "instagram")


@pytest.fixture(scope="module")
def original() -> Photo:
    with Image.open(SAMPLE) as sample:
        return Photo.from_image(sample.convert("RGB").crop((130, 20, 290, 148)))


@pytest.fixture(scope="module")
def immunized(immunizer: Immunizer, original: Photo) -> Photo:
    recipe = Recipe(
        objective=Part("latent_drift"),
        budget=Part("linf", {"radius": 12 / 255}),
        views=(Part("short_side", {"pixels": 128}),),
        steps=10,
        step_size=4 / 255,
        schedule="cosine",
    )
    return immunizer.immunize(original, recipe).photo


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: TREATMENTS[name] for name in FEW}
    monkeypatch.setattr("photovax.checks.survival.TREATMENTS", some)


def survival(photo: Photo, original: Photo) -> Survival:
    found = check(photo, original, device="cpu", size=128, survival=True).survival
    assert found is not None
    return found


def test_what_is_left_is_measured_on_both_pictures_after_the_treatment(
    few, immunizer, original, immunized
):
    found = survival(immunized, original)
    assert {each.name for each in found.left} == set(FEW)
    (model,) = immunizer.models
    before, after = original.visible(), immunized.visible()
    fresh = latent_effect(model, before, after, CPU, size=128).shift
    for each in found.left:
        treat = load_purifier(each.name)
        spoilt = treat(noisy(before, int(np.abs(after.astype(int) - before).max()), 0), 0)
        pair = treat(before, 0), treat(after, 0)
        shift = latent_effect(model, *pair, CPU, size=128).shift
        measured = each.models["embedded"]
        assert measured.effect.shift == pytest.approx(shift)
        assert each.share == pytest.approx(shift / fresh)
        floor = latent_effect(model, pair[0], spoilt, CPU, size=128).shift
        assert measured.floor.shift == pytest.approx(floor)
        assert measured.effect.damage is None
    shares = {each.name: each.share for each in found.left}
    assert shares["resize50"] < shares["jpeg75"] < 1


def test_the_worst_comes_first(few, original, immunized):
    found = survival(immunized, original).left
    order = [Verdict.FAIL, Verdict.WEAK, Verdict.PASS]
    ranks = [(order.index(each.verdict), each.share) for each in found]
    assert ranks == sorted(ranks)
    assert len({each.verdict for each in found}) > 1


def test_nothing_is_left_where_nothing_was(few, original):
    found = survival(original, original)
    assert {(each.share, each.verdict) for each in found.left} == {(0.0, Verdict.FAIL)}


def test_noise_is_no_immunization(few, original):
    noise = original.with_pixels(noisy(original.pixels, 12, 7))
    assert {each.verdict for each in survival(noise, original).left} == {Verdict.FAIL}


def test_a_grey_photo_is_treated_as_editors_open_it(few, original):
    grey = Photo.from_image(original.to_image().convert("L"))
    noise = grey.with_pixels(noisy(grey.pixels, 12, 7))
    assert {each.name for each in survival(noise, grey).left} == set(FEW)


def test_it_is_measured_only_if_asked(original, immunized):
    assert check(immunized, original, device="cpu", size=128).survival is None


def test_treatments_that_cannot_be_measured_say_why(original, monkeypatch):
    names = ("jpeg75", "adversecleaner", "tv")
    some = {name: TREATMENTS[name] for name in names}
    monkeypatch.setattr("photovax.checks.survival.TREATMENTS", some)
    monkeypatch.setitem(sys.modules, "cv2.ximgproc", None)
    found = survival(original, original)
    assert {each.name for each in found.left} == {"jpeg75", "tv"}
    assert 'pip install "photovax[evaluate]"' in found.left_out["adversecleaner"]
    monkeypatch.setattr("photovax.checks.survival.SLOW_PIXELS", 1000)
    found = survival(original, original)
    assert [each.name for each in found.left] == ["jpeg75"]
    assert found.left_out["tv"] == "takes minutes above 0.001 megapixels"
    assert set(found.figures()["left_out"]) == {"AdverseCleaner", "smoothing (total variation)"}


class OutOfOrder(Exception):
    """An error of a library, of no class that photovax knows."""


@pytest.mark.parametrize("error", [MemoryError(), OutOfOrder("(-4) no room\nin resize")])
def test_a_treatment_that_fails_is_told_and_the_others_are_measured(
    few, original, immunized, monkeypatch, error
):
    def load(name: str, *, device: str) -> Purifier:
        def failing(pixels: np.ndarray, seed: int) -> np.ndarray:
            raise error

        return failing if name == "blur" else load_purifier(name, device=device)

    monkeypatch.setattr("photovax.checks.survival.load_purifier", load)
    found = survival(immunized, original)
    assert {each.name for each in found.left} == {*FEW} - {"blur"}
    line = str(error).splitlines()[0] if str(error) else "MemoryError"
    assert found.left_out == {"blur": f"failed: {line}"}
    monkeypatch.setattr("photovax.checks.survival.TREATMENTS", {"blur": TREATMENTS["blur"]})
    nothing = survival(immunized, original)
    assert f"  not measured: a slight blur: failed: {line}" in survival_lines(nothing.figures())


def test_every_treatment_is_a_purification():
    assert TREATMENTS.keys() <= PURIFICATIONS.keys()
    assert TREATMENTS.keys() >= SLOW
    assert len(set(TREATMENTS.values())) == len(TREATMENTS)


def test_a_saved_photo_without_it_says_why(immunizer, original, quick, tmp_path, monkeypatch):
    def failing(*given: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("photovax.checks.check.survival_of", failing)
    result = immunizer.immunize(original, quick)
    saved = result.save(tmp_path / "asked.png", survival=True)
    assert saved.survival is None
    note = "what treatments leave was not measured: MemoryError"
    assert saved.notes == (note,)
    record = json.loads(saved.record.read_text())
    assert record["notes"] == [note]
    assert record["effects"]
    assert not result.save(tmp_path / "plain.png").notes


def test_a_saved_photo_has_it_in_its_record(few, immunizer, original, quick, tmp_path):
    result = immunizer.immunize(original, quick)
    plain = result.save(tmp_path / "plain.png")
    assert plain.survival is None
    assert "survival" not in json.loads(plain.record.read_text())
    saved = result.save(tmp_path / "asked.png", survival=True)
    assert saved.survival is not None
    record = json.loads(saved.record.read_text())
    assert record["survival"] == saved.survival.figures()
    (first, *_) = record["survival"]["after"]
    assert first.keys() == {"name", "label", "verdict", "left", "share", "models"}
    size = saved.effects["embedded"].size
    again = check(result.photo, original, device="cpu", size=size, survival=True).survival
    assert again is not None
    assert again.figures() == saved.survival.figures()


def test_a_line_shows_the_model_that_has_the_verdict():
    models = {
        "embedded": {"shift": 0.40, "noise": 0.05, "verdict": "PASS"},
        "taef2": {"shift": 0.80, "noise": 0.45, "verdict": "FAIL"},
    }
    row = {"label": "blur", "share": 0.5, "left": "lost", "verdict": "FAIL", "models": models}
    assert survival_lines({"after": [row], "left_out": {}})[1:] == [
        "  blur    50% left: FAIL (0.80, noise 0.45)"
    ]
