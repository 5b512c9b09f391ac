"""What purifications leave: of made-up figures, and of pairs chosen for each photo."""

from dataclasses import replace
from pathlib import Path

import pytest

from photovax.errors import UsageError
from photovax.evaluation.report import write_report
from photovax.evaluation.run import Evaluation
from photovax.evaluation.survival import least_effects, remains_of
from tests.evaluation.samples import PLAN, case, made_up

NAMES = ("none", "jpeg75", "blur", "resize50")
PAIRS = replace(PLAN, purifications=NAMES, seeds=1, metrics=("psnr",), pairs=True)


def test_the_worst_pair_of_each_photo_counts():
    left = {  # effect beyond noise of two photos
        "none": (0.4, 0.4),
        "jpeg75": (0.3, 0.1),
        "blur": (0.2, 0.3),
        "blur+jpeg75": (0.15, 9),
        "blur+resize50": (0.05, 9),
        "jpeg75+blur": (9, 0.08),
    }
    cases = [
        made
        for name, effects in left.items()
        for photo, effect in enumerate(effects)
        if effect < 9
        for made in (
            case("noise", photo, 0.9, 20, name),
            case("recipe", photo, 0.9 - effect, 20, name),
        )
    ]
    results = made_up(cases)
    results = replace(results, plan=replace(results.plan, purifications=NAMES))
    alone = least_effects(results, "ssim", results.plan.cheap)["recipe"]
    assert {photo: name for photo, (_, name) in alone.items()} == {
        "0.png": "blur",
        "1.png": "jpeg75",
    }
    remains = remains_of(results, "ssim")
    worst = remains.worst_pair["recipe"]
    assert worst.above.mean == pytest.approx((0.05 + 0.08) / 2)
    assert worst.chosen == {"blur+resize50": 1, "jpeg75+blur": 1}
    assert remains.worst["recipe"].mean == pytest.approx((0.2 + 0.1) / 2)
    single = [each for each in cases if "+" not in each.purification]
    assert remains_of(made_up(single), "ssim").worst_pair == {}


def test_pairs_go_on_from_the_worst_purification_of_the_photo(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    evaluation = Evaluation(PAIRS, tmp_path, device="cpu")
    evaluation.run(photos[:1])
    assert not evaluation.failures
    results = evaluation.results(photos[:1])
    alone = least_effects(results, "psnr", results.plan.cheap)
    ((_, first),) = alone["quick 16/255"].values()
    pairs = {each.purification for each in results.cases if "+" in each.purification}
    others = {"jpeg75", "blur", "resize50"} - {first}
    assert pairs == {f"{first}+{other}" for other in others}
    assert len(results.cases) == 2 * (4 + 2)  # the recipe and its noise
    by_key = {each.key: each for each in results.cases}
    for each in results.cases:
        if each.floor is not None:
            assert by_key[each.floor].purification == each.purification
    worst = remains_of(results, "psnr").worst_pair["quick 16/255"]
    assert set(worst.chosen) < pairs
    report = write_report(results, tmp_path, device="cpu")
    assert f"worst pair of each photo (most often {first}+" in report.html.read_text("utf-8")

    def never(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("this was done already")

    again = Evaluation(PAIRS, tmp_path, device="cpu")
    monkeypatch.setattr(again.adversary, "edit", never)
    again.run(photos[:1])
    assert len(again.results(photos[:1]).cases) == len(results.cases)


@pytest.mark.parametrize("names", [("none",), ("none", "jpeg75", "impress")])
def test_pairs_need_two_that_are_cheap(names):
    with pytest.raises(UsageError, match="need two or more that take no minutes"):
        replace(PAIRS, purifications=names)


@pytest.mark.parametrize("lost", [(-0.4, -0.2), (0.4, -0.2), (0.0, 0.0)])
def test_there_is_no_share_of_an_effect_that_is_not_certain(lost: tuple[float, float]):
    cases = [
        made
        for name, factor in (("none", 1.0), ("jpeg75", 3.0))
        for photo, effect in enumerate(lost * 4)
        for made in (
            case("noise", photo, 0.9, 20, name),
            case("recipe", photo, 0.9, 20 - factor * effect, name),
        )
    ]
    rows = remains_of(made_up(cases), "true_edit").survival
    assert [row.share for row in rows] == [None, None]
    assert rows[1].above.mean == pytest.approx(3 * sum(lost) / 2)


def test_a_pair_that_was_named_is_there_once_and_counts(photos: list[Path], tmp_path: Path):
    named = replace(PAIRS, purifications=("none", "jpeg75", "blur", "jpeg75+blur", "blur+jpeg75"))
    evaluation = Evaluation(named, tmp_path, device="cpu")
    evaluation.run(photos[:1])
    results = evaluation.results(photos[:1])
    keys = [(case.label, case.key) for case in results.cases]
    assert len(keys) == len(set(keys)) == 2 * 5
    assert remains_of(results, "psnr").worst_pair.keys() == {"quick 16/255"}
