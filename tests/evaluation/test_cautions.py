"""What a reader is warned of."""

import re
from dataclasses import replace
from pathlib import Path

from photovax.evaluation.cautions import cautions
from photovax.evaluation.results import ProtectedPhoto, Results
from photovax.evaluation.tables import tables
from tests.evaluation.samples import PLAN, case, made_up
from tests.places import ROOT


def warned(results: Results) -> set[str]:
    return {one.about for one in cautions(results, tables(results, metric="ssim"))}


def test_warnings_say_what_is_wrong():
    good = [
        *(case("noise", photo, 0.9, 19.5) for photo in range(20)),
        *(case("recipe", photo, 0.5 + photo / 100, 15.0) for photo in range(20)),
    ]
    fine = made_up(good, plan=replace(PLAN, seeds=3))
    assert warned(fine) == set()
    assert warned(made_up(good)) == {"few-seeds"}
    assert "few-photos" in warned(made_up(good[:4]))
    for seeds in (1, 2):
        (few,) = cautions(
            made_up(good, plan=replace(PLAN, seeds=seeds)), tables(fine, metric="ssim")
        )
        assert few.text == f"fewer than 3 seeds ({seeds}): a single draw can mislead"
    weak = [replace(c, between={"ssim": 0.95}) if c.label == "recipe" else c for c in good]
    assert "noise-beats-the-recipe" in warned(replace(fine, cases=weak))
    better = [replace(c, follows={"true_edit": 25.0 + i / 9}) for i, c in enumerate(good)]
    assert "follows-better" in warned(replace(fine, cases=better))
    assert warned(replace(fine, unchanged={"sepia": [0.5, 0.99]})) == {"nothing-edited"}
    assert warned(replace(fine, repainted={"one": 0.0})) == {"mask"}
    assert warned(replace(fine, failures={"one": "gradient is zero"})) == {"zero-gradients"}
    over = ProtectedPhoto("1", "r", (), Path("a"), Path("b"), 8.0, {"linf": 9.0}, {})
    assert "over-budget" in {
        one.about for one in cautions(replace(fine, protected=[over]), tables(fine, metric="ssim"))
    }


def test_warnings_are_explained():
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("## ")
    }
    source = ROOT / "src" / "photovax" / "evaluation" / "cautions.py"
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)+|mask)"', source.read_text(encoding="utf-8")))
    assert named
    assert named <= anchors


def test_recipes_on_other_edits_are_told_from_each_other():
    every = [
        case(label, photo, 0.9 if label == "noise" else 0.5, 15.0 + photo / 9)
        for photo in range(20)
        for label in ("noise", "one", "two")
    ]
    alike = made_up(every, plan=replace(PLAN, seeds=3))
    assert warned(alike) == set()
    fewer = replace(alike, cases=every[:-1])
    (told,) = cautions(fewer, tables(fewer, metric="ssim"))
    assert told.about == "other-edits"
    assert "(one 20, two 19)" in told.text
