"""Doing an evaluation: every unit once, resumed where it stopped, past what cannot be done."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import photovax
from photovax.attack.presets import PRESETS
from photovax.errors import MetricUnavailable, UsageError
from photovax.evaluation.plan import Asked, Plan, Variant, find_photos
from photovax.evaluation.report import write_report
from photovax.evaluation.run import Evaluation, Progress
from photovax.evaluation.tables import tables
from photovax.metrics.visibility import VisibleDifference
from photovax.models.edit import Edit
from photovax.registry import Part
from tests.evaluation.samples import PLAN, QUICK, SEPIA


def test_every_case_and_its_noise_are_measured(done: tuple[Evaluation, Path], photos: list[Path]):
    results = done[0].results(photos)
    assert not results.failures
    found = {(c.photo, c.label, c.purification, c.seed) for c in results.cases}
    assert found == {
        (photo, label, purification, seed)
        for photo in ("one.png", "two.png")
        for label in ("quick 16/255", "noise 16/255")
        for purification in ("none", "jpeg75")
        for seed in (0, 1)
    }
    assert {round(p.figures["linf"] or 0) for p in results.protected} == {16}
    by_key = {case.key: case for case in results.cases}
    for case in results.cases:
        if case.label.startswith("quick"):
            floor = by_key[case.floor or ""]
            assert (floor.photo, floor.seed, floor.purification) == (
                case.photo,
                case.seed,
                case.purification,
            )
            assert floor.label == "noise 16/255"


def test_figures_are_those_of_saved_files(done: tuple[Evaluation, Path], photos: list[Path]):
    from skimage.metrics import peak_signal_noise_ratio

    results = done[0].results(photos)
    for one in results.protected:
        before, after = (np.asarray(Image.open(file)) for file in (one.original, one.file))
        assert one.visible["psnr"] == pytest.approx(peak_signal_noise_ratio(before, after))
    case = next(case for case in results.cases if case.purification == "none")
    clean = np.asarray(Image.open(case.clean_picture))
    protected = next(
        one for one in results.protected if (one.photo, one.label) == (case.photo, case.label)
    )
    made = done[0].adversary.edit(
        np.asarray(Image.open(protected.file)), SEPIA.of("0" * 64), seed=case.seed, size=64
    )
    assert case.between["psnr"] == pytest.approx(peak_signal_noise_ratio(clean, made))


def test_nothing_is_done_twice(
    done: tuple[Evaluation, Path], photos: list[Path], monkeypatch: pytest.MonkeyPatch
):
    def never(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("this was done already")

    again = Evaluation(PLAN, done[1], device="cpu")
    monkeypatch.setattr(again.adversary, "edit", never)
    monkeypatch.setattr(again.immunizer, "immunize", never)
    seen: list[Progress] = []
    again.callback = seen.append
    again.run(photos)
    assert len(again.results(photos).cases) == 16
    assert (seen[-1].done, seen[-1].total) == (16, 16)


@pytest.mark.parametrize("name", ["jod", "flip"])
def test_visibility_is_asked_of_the_photo_and_takes_no_edit(
    name: str, done: tuple[Evaluation, Path], photos: list[Path], monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip({"jod": "pycvvdp", "flip": "flip_evaluator"}[name])

    def never(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("this was done already")

    later = Evaluation(replace(PLAN, metrics=("psnr", name)), done[1], device="cpu")
    monkeypatch.setattr(later.adversary, "edit", never)
    monkeypatch.setattr(later.immunizer, "immunize", never)
    later.run(photos)
    results = later.results(photos)
    assert results.between == ("psnr",)
    assert all(set(case.between) == {"psnr"} for case in results.cases)
    for one in results.protected:
        value = one.visible[name]
        assert value is not None
        assert 0 < value < 10
    with pytest.raises(UsageError, match="one metric of edits: none was named"):
        Evaluation(replace(PLAN, metrics=(name,)), done[1], device="cpu")


def test_what_saving_measured_is_not_measured_again(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("pycvvdp")
    monkeypatch.setattr(
        "photovax.saving.visible_difference",
        lambda *_args, **_kwargs: VisibleDifference(9.5, 9.25, None),
    )
    plan = replace(PLAN, metrics=("psnr", "jod"), purifications=("none",), seeds=1)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    monkeypatch.setattr(evaluation.metrics["jod"], "_measure", lambda *_pair: 5.0)
    evaluation.run(photos[:1])
    found = {one.label: one.visible["jod"] for one in evaluation.results(photos[:1]).protected}
    assert found == {"quick 16/255": 9.25, "noise 16/255": 5.0}


def test_scores_of_a_clip_model_are_those_of_the_one_that_is_named(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Constant:
        def __init__(self, folder: Path) -> None:
            self.digest = folder.name

        def similarity(self, *_: object) -> float:
            return float(self.digest)

        def directional(self, *_: object) -> None:
            return None

    monkeypatch.setattr("photovax.evaluation.run.Clip", Constant)
    plan = replace(PLAN, purifications=("none",), seeds=1)

    def found(clip: Path | None) -> set[float | None]:
        evaluation = Evaluation(plan, tmp_path, clip=clip, device="cpu")
        evaluation.run(photos[:1])
        return {
            scores.get("clip")
            for case in evaluation.results(photos[:1]).cases
            for scores in (case.follows, case.wanted)
        }

    assert found(Path("0.25")) == {0.25}
    assert found(Path("0.5")) == {0.5}
    assert found(None) == {None}


def test_other_metrics_are_added_to_those_that_are_stored(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = replace(PLAN, purifications=("none",), seeds=1)
    for metrics in (("psnr",), ("ssim",)):
        Evaluation(replace(plan, metrics=metrics), tmp_path, device="cpu").run(photos[:1])

    def never(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("this was done already")

    both = Evaluation(replace(plan, metrics=("psnr", "ssim")), tmp_path, device="cpu")
    monkeypatch.setattr(both.adversary, "edit", never)
    both.run(photos[:1])
    results = both.results(photos[:1])
    assert results.cases
    assert all(None not in case.between.values() for case in results.cases)
    assert all({"psnr", "ssim"} <= one.visible.keys() for one in results.protected)


def test_what_fails_is_listed_and_the_rest_goes_on(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = replace(PLAN, seeds=1)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    edit, tried = evaluation.adversary.edit, []

    def scarce(*args: Any, **options: Any) -> np.ndarray:
        tried.append(0)
        if len(tried) == 2:  # the first edit of an immunized photo
            raise RuntimeError("out of memory\nand more")
        return edit(*args, **options)

    monkeypatch.setattr(evaluation.adversary, "edit", scarce)
    evaluation.run(photos)
    assert list(evaluation.failures.values()) == ["out of memory"]
    (name,) = evaluation.failures
    assert name.startswith("one.png, ")
    assert len(evaluation.results(photos).cases) == 7
    again = Evaluation(plan, tmp_path, device="cpu")
    again.run(photos)
    assert not again.failures
    assert len(again.results(photos).cases) == 8


def test_a_request_that_fails_does_not_stop_the_others(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    night = Asked("night", Edit("instruct", steps=2, guidance=1), ("make it night",))
    plan = replace(PLAN, edits=(night, SEPIA), purifications=("none",), seeds=1)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    edit = evaluation.adversary.edit

    class Odd(Exception):
        """As libraries raise that know no other."""

    def picky(pixels: np.ndarray, asked: Edit, **options: Any) -> np.ndarray:
        if asked.prompt == "make it night":
            raise Odd("no nights")
        return edit(pixels, asked, **options)

    monkeypatch.setattr(evaluation.adversary, "edit", picky)
    evaluation.run(photos[:1])
    assert evaluation.failures == {
        f"one.png, {label} 16/255, night": "no nights" for label in ("noise", "quick")
    }
    found = evaluation.results(photos[:1]).cases
    assert {(case.label, case.asked.name) for case in found} == {
        (f"{label} 16/255", "sepia") for label in ("noise", "quick")
    }


def test_what_memory_was_lacking_for_is_measured_later(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("flip_evaluator")
    plan = replace(PLAN, metrics=("psnr", "flip"), purifications=("none",), seeds=1)
    monkeypatch.setattr("photovax.metrics.visibility.available_bytes", lambda: 1_000_000)
    poor = Evaluation(plan, tmp_path, device="cpu")
    poor.run(photos[:1])
    results = poor.results(photos[:1])
    assert "memory" in results.left_out["one.png, flip"]
    assert all("flip" not in one.visible for one in results.protected)
    monkeypatch.undo()
    rich = Evaluation(plan, tmp_path, device="cpu")
    rich.run(photos[:1])
    results = rich.results(photos[:1])
    assert all((one.visible["flip"] or 0) > 0 for one in results.protected)
    assert "one.png, flip" not in results.left_out


def test_a_photo_that_is_immunized_already_is_not_evaluated(photos: list[Path], tmp_path: Path):
    (tmp_path / "one.png").write_bytes(photos[0].read_bytes())
    made = photovax.immunize(tmp_path / "one.png", recipe=replace(QUICK, steps=1))
    made.save(tmp_path / "one.immunized.png")
    evaluation = Evaluation(replace(PLAN, seeds=1), tmp_path / "out", device="cpu")
    every = find_photos([tmp_path])
    evaluation.run(every)
    assert list(evaluation.failures) == ["one.immunized.png"]
    assert "one.immunized.png: is immunized" in evaluation.failures["one.immunized.png"]
    assert {case.photo for case in evaluation.results(every).cases} == {"one.png"}


def test_a_mask_that_marks_nothing_is_told(photos: list[Path], tmp_path: Path):
    with Image.open(photos[0]) as photo:
        for name in ("good", "bad"):
            photo.save(tmp_path / f"{name}.png")
        Image.new("L", photo.size).save(tmp_path / "bad.mask.png")
    evaluation = Evaluation(replace(PLAN, seeds=1), tmp_path / "out", device="cpu")
    evaluation.run([tmp_path / "bad.png", tmp_path / "good.png"])
    assert list(evaluation.failures) == ["bad.png"]
    assert "bad.mask.png: nothing is white" in evaluation.failures["bad.png"]
    assert evaluation.results([tmp_path / "bad.png", tmp_path / "good.png"]).cases


def test_features_that_were_not_there_are_made_later(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plan = replace(PLAN, purifications=("none",), seeds=1)
    lacking = MetricUnavailable("features: not installed")
    with monkeypatch.context() as before:
        before.setattr("photovax.evaluation.run.load_backbone", lambda: (None, lacking))
        evaluation = Evaluation(plan, tmp_path, device="cpu")
        evaluation.run(photos[:1])
        assert all(case.features is None for case in evaluation.results(photos[:1]).cases)
    later = Evaluation(plan, tmp_path, device="cpu")
    later.run(photos[:1])
    for case in later.results(photos[:1]).cases:
        assert case.features is not None
        assert case.clean_features is not None


def test_an_interrupted_run_goes_on_and_ends_the_same(
    done: tuple[Evaluation, Path],
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    broken = Evaluation(PLAN, tmp_path, device="cpu")
    edit, calls = broken.adversary.edit, 0

    def interrupted(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return edit(*args, **kwargs)

    monkeypatch.setattr(broken.adversary, "edit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.run(photos[:1])
    for file in tmp_path.rglob("figures.jsonl"):  # a line that was cut short by a kill
        file.write_text(file.read_text() + '{"key": "half')
    again = Evaluation(PLAN, tmp_path, device="cpu")
    again.run(photos[:1])
    resumed, whole = again.results(photos[:1]), done[0].results(photos[:1])
    assert len(whole.cases) == 8
    assert [c.between for c in resumed.cases] == [c.between for c in whole.cases]
    assert [c.follows for c in resumed.cases] == [c.follows for c in whole.cases]


def test_a_photo_that_cannot_be_read_is_passed_and_listed(
    done: tuple[Evaluation, Path], photos: list[Path], tmp_path: Path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    evaluation = Evaluation(PLAN, done[1], device="cpu")
    evaluation.run([broken, *photos])
    results = evaluation.results([broken, *photos])
    assert list(results.failures) == ["broken.png"]
    assert len(results.cases) == 16


def test_without_a_mask_inpainting_is_left_out_with_a_reason(photos: list[Path], tmp_path: Path):
    bare = tmp_path / "bare.png"
    bare.write_bytes(photos[0].read_bytes())
    repainted = Asked("red", Edit("inpaint", steps=2, guidance=1), ("red background",))
    plan = replace(PLAN, edits=(SEPIA, repainted), purifications=("none",), seeds=1)
    evaluation = Evaluation(plan, tmp_path / "out", device="cpu")
    evaluation.run([bare])
    results = evaluation.results([bare])
    assert {case.asked.name for case in results.cases} == {"sepia"}
    assert "bare.mask.png" in results.left_out["bare.png, red"]


def test_recipes_that_need_a_mask_are_left_out_with_a_reason(photos: list[Path], tmp_path: Path):
    bare = tmp_path / "bare.png"
    bare.write_bytes(photos[0].read_bytes())
    repainted = Asked("red", Edit("inpaint", steps=2, guidance=1), ("red walls",), "everything")
    kept = Variant("kept", replace(QUICK, kept_region_only=True, steps=2))
    plan = replace(
        PLAN,
        variants=(Variant("quick 16/255", QUICK), kept),
        edits=(SEPIA, repainted),
        purifications=("none",),
        seeds=1,
    )
    evaluation = Evaluation(plan, tmp_path / "out", device="cpu")
    every = (bare, photos[0])
    evaluation.run(every)
    results = evaluation.results(every)
    assert "bare.mask.png" in results.left_out["bare.png, kept, red"]
    # The file for all ways of editing is one kind, though a photo lacks one of them.
    rows = {(row.label, row.modes, row.n) for row in tables(results, metric="psnr").visible}
    assert ("quick 16/255", ("instruct", "inpaint"), 2) in rows
    assert ("kept", ("inpaint",), 1) in rows
    assert len([row for row in rows if row[0].startswith("quick")]) == 1


def test_recipes_that_need_the_mask_change_the_subject_only(photos: list[Path], tmp_path: Path):
    kept = replace(QUICK, kept_region_only=True, steps=2)
    repainted = Asked("red", Edit("inpaint", steps=2, guidance=1), ("red background",))
    plan = Plan((Variant("kept", kept),), (SEPIA, repainted), seeds=1, size=64)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    evaluation.run(photos[:1])
    results = evaluation.results(photos[:1])
    assert {case.asked.name for case in results.cases} == {"red"}
    mask = np.asarray(Image.open(photos[0].with_name("one.mask.png")).convert("L")) >= 128
    assert {one.label for one in results.protected} == {"kept", "noise 16/255 (kept region)"}
    for one in results.protected:
        before, after = (np.asarray(Image.open(file)) for file in (one.original, one.file))
        assert (before == after)[~mask].all()
        assert (before != after)[mask].any()
    (case,) = [case for case in results.cases if case.label == "kept"]
    assert set(case.follows) == {"colour"}


def test_masks_that_were_not_expected_have_a_table(photos: list[Path], tmp_path: Path):
    kept = replace(QUICK, kept_region_only=True, steps=2)
    wide = replace(kept, masks=("subject", "inverse"))
    repainted = Asked("red", Edit("inpaint", steps=2, guidance=1), ("red background",))
    masks = ("subject", "box", "inverse")
    edits = (SEPIA, *(replace(repainted, name=f"red, {mask}", mask=mask) for mask in masks))
    plan = Plan((Variant("kept", kept), Variant("wide", wide)), edits, seeds=1, size=64)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    evaluation.run(photos[:1])
    assert not evaluation.failures
    results = evaluation.results(photos[:1])
    found = tables(results, metric="psnr").masks
    assert {(row.label, row.mask): row.expected for row in found} == {
        (label, mask): mask in expected
        for label, expected in (("kept", ("subject",)), ("wide", ("subject", "inverse")))
        for mask in masks
    }
    by_key = {case.key: case for case in results.cases}
    for row in found:
        (case,) = [
            each for each in results.cases if (each.label, each.asked.mask) == (row.label, row.mask)
        ]
        noise = by_key[case.floor or ""]
        assert row.moved is not None
        moved = [each.between["psnr"] for each in (noise, case)]
        assert row.moved.mean == pytest.approx((moved[0] or 0) - (moved[1] or 0))
        assert set(row.lost) == {"colour"}
    # Noise is where a mask keeps the photo: everywhere for the recipe that expects the inverse.
    mask = np.asarray(Image.open(photos[0].with_name("one.mask.png")).convert("L")) >= 128
    for one in results.protected:
        before, after = (np.asarray(Image.open(file)) for file in (one.original, one.file))
        changed = (before != after)[~mask].mean()
        assert (changed > 0.5) == ("wide" in one.label or "inverse" in one.label), one.label
    page = write_report(results, tmp_path, device="cpu").html.read_text(encoding="utf-8")
    assert "Masks that were not expected" in page


@pytest.mark.parametrize("name", ["photoguard-diffusion-linf", "diffusionguard"])
def test_published_attacks_on_inpainting_get_the_mask(
    name: str, photos: list[Path], tmp_path: Path
):
    kind = replace(PRESETS[name], views=(Part("short_side"),), steps=1, size=64)
    repainted = Asked("red", Edit("inpaint", steps=2, guidance=1), ("red background",))
    plan = Plan((Variant(name, kind),), (repainted,), seeds=1, size=64)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    evaluation.run(photos[:1])
    assert not evaluation.failures
    assert name in {one.label for one in evaluation.results(photos[:1]).protected}


def test_without_a_metric_there_is_nothing_to_do(tmp_path: Path):
    plan = replace(PLAN, metrics=("lpips",))
    with pytest.raises(UsageError, match=r"one metric of edits: .*lpips"):
        Evaluation(plan, tmp_path, weights=tmp_path, device="cpu")
