"""The units of work of a plan."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from photovax.adversary.purify import PURIFICATIONS
from photovax.evaluation.plan import Plan, Variant, load_edits, variants
from photovax.evaluation.run import Evaluation
from photovax.evaluation.units import Units
from photovax.models.catalog.entries import CATALOG
from photovax.pictures.sample import SAMPLE
from photovax.registry import Part
from tests.evaluation.samples import PLAN, QUICK, SEPIA


def test_a_recipe_is_left_out_where_it_does_not_apply_and_not_an_error(immunizer):
    edits = tuple(asked for asked in load_edits(None, "embedded") if asked.edit.mode != "inpaint")
    units = Units(
        Plan(variants(["diffusionguard"]), edits, seeds=1),
        immunizer,
        {"instruct": "a", "img2img": "b"},
        64,
        {"none": "c"},
    )
    instructions = [asked for asked in edits if asked.edit.mode == "instruct"]
    assert units.plan.per_photo == 2 * len(instructions)  # the recipe and its noise


def test_another_network_is_another_unit(
    photos: list[Path], network_file: Path, tmp_path: Path
) -> None:
    edits = load_edits(None, "embedded")[:1]
    plan = Plan(variants(["instant", "photoguard-demo"], size=64), edits, seeds=1)
    keys = []
    for networks in ([], [network_file]):
        evaluation = Evaluation(plan, tmp_path, networks=networks, device="cpu")
        units = evaluation.units.of(evaluation._subject(photos[0]))
        keys.append({unit.label: (unit.key, unit.protection.key) for unit in units})
    shipped, own = keys
    (instant,) = (label for label in own if label.startswith("instant"))
    assert {label for label in own if own[label] != shipped[label]} == {instant}
    assert own[instant][1] != shipped[instant][1]


def test_a_model_with_other_settings_is_another_unit(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    shutil.copytree(CATALOG["embedded"].folder or "", model)
    plan = replace(PLAN, models=(str(model),), purifications=("none",))
    before = _keys(Evaluation(plan, tmp_path / "out", device="cpu"), photos[0])
    scheduler = model / "scheduler" / "scheduler_config.json"
    said = scheduler.read_text(encoding="utf-8")
    assert '"v_prediction"' in said
    scheduler.write_text(said.replace("v_prediction", "epsilon"), encoding="utf-8")
    after = _keys(Evaluation(plan, tmp_path / "out", device="cpu"), photos[0])
    own = {place for place in before if before[place] != after[place]}
    assert own == {("quick 16/255", "none")}


def test_a_model_that_is_fed_another_size_is_another_unit(photos: list[Path], tmp_path: Path):
    own = Variant("own size", replace(QUICK, size=None))
    plan = replace(PLAN, variants=(own,), purifications=("none",), seeds=1)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    before = _keys(evaluation, photos[0])
    (model,) = evaluation.immunizer.models
    model.size *= 2
    units = Units(plan, evaluation.immunizer, {"instruct": "a"}, 64, {"none": "c"})
    model.size //= 2
    same = Units(plan, evaluation.immunizer, {"instruct": "a"}, 64, {"none": "c"})
    subject = evaluation._subject(photos[0])
    made = [{u.label: u.protection.key for u in each.of(subject)} for each in (units, same)]
    assert made[0]["own size"] != made[1]["own size"]
    assert before


def _keys(evaluation: Evaluation, photo: Path) -> dict[tuple[str, str], str]:
    units = evaluation.units.of(evaluation._subject(photo))
    return {(unit.label, unit.purification): unit.key for unit in units if unit.seed == 0}


def test_a_purification_with_other_options_or_weights_is_another_unit(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, purifications=("none", "jpeg75", "denoiser", "whatsapp"))
    before = _keys(Evaluation(plan, tmp_path, device="cpu"), photos[0])
    monkeypatch.setitem(PURIFICATIONS, "jpeg75", Part("jpeg", {"quality": 74}))
    monkeypatch.setitem(PURIFICATIONS, "denoiser", Part("denoiser", {"against": "opposed"}))
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    after = _keys(evaluation, photos[0])
    changed = {
        purification for (_, purification), key in after.items() if key not in before.values()
    }
    assert changed == {"jpeg75", "denoiser"}
    subject = evaluation._subject(photos[0])
    chained = evaluation.units.chained(subject, {"quick 16/255": "jpeg75"})
    assert {unit.purification for unit in chained} == {"jpeg75+denoiser", "jpeg75+whatsapp"}
    assert not {unit.key for unit in chained} & set(after.values())


@pytest.mark.parametrize("file", ["scheduler/scheduler_config.json", "unet_instruct/config.json"])
def test_an_editor_that_is_configured_otherwise_makes_other_edits(
    file: str, photos: list[Path], tmp_path: Path, editor_folder: Path
) -> None:
    folder = shutil.copytree(editor_folder, tmp_path / "editor")
    plan = replace(PLAN, editor=str(folder))
    before = _keys(Evaluation(plan, tmp_path / "out", device="cpu"), photos[0])
    (tmp_path / "editor" / "unet" / "config.json").write_text(
        (folder / "unet" / "config.json").read_text() + "\n"
    )
    assert _keys(Evaluation(plan, tmp_path / "out", device="cpu"), photos[0]) == before
    (folder / file).write_text((folder / file).read_text().replace('"_diff', '"_was_diff'))
    after = _keys(Evaluation(plan, tmp_path / "out", device="cpu"), photos[0])
    assert not set(before.values()) & set(after.values())


def test_a_photo_without_a_mask_takes_what_needs_none(tmp_path: Path) -> None:
    """Beside recipes that attack some ways of editing only."""
    Image.open(SAMPLE).crop((0, 0, 96, 96)).save(tmp_path / "plain.png")
    plan = Plan(variants(["fast", "diffusionguard", "advpaint"]), load_edits(None, "embedded"))
    evaluation = Evaluation(plan, tmp_path / "out", device="cpu")
    units = evaluation.units.of(evaluation._subject(tmp_path / "plain.png"))
    found = {(unit.label.split()[0], unit.asked.edit.mode) for unit in units}
    assert ("fast", "img2img") in found
    assert ("diffusionguard", "instruct") in found
    assert ("diffusionguard", "img2img") not in found
    assert "inpaint" not in {mode for _, mode in found}


def test_noise_of_other_frequencies_has_another_name(photos: list[Path], tmp_path: Path) -> None:
    fast, instant = variants(["fast", "instant"])
    large = Variant("large", replace(fast.recipe, size=512))
    plan = Plan((fast, instant, large), (SEPIA,), seeds=1)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    units = evaluation.units.of(evaluation._subject(photos[0]))
    assert {unit.label for unit in units if unit.floor is None} == {
        "noise medium",
        "noise medium for large",
    }


def test_another_target_picture_makes_another_photo(photos: list[Path], tmp_path: Path) -> None:
    picture = tmp_path / "target.png"
    recipe = replace(QUICK, objective=Part("latent_target", {"target": str(picture)}))
    plan = replace(PLAN, variants=(Variant("aimed", recipe),))

    def keys() -> set[str]:
        evaluation = Evaluation(plan, tmp_path / "out", device="cpu")
        units = evaluation.units.of(evaluation._subject(photos[0]))
        return {unit.protection.key for unit in units if unit.label == "aimed"}

    Image.new("RGB", (8, 8), "red").save(picture)
    before = keys()
    assert keys() == before
    Image.new("RGB", (8, 8), "blue").save(picture)
    assert not keys() & before
