"""The units of work of a plan."""

from pathlib import Path

from photovax.evaluation.plan import Plan, load_edits, variants
from photovax.evaluation.run import Evaluation
from photovax.evaluation.units import Units


def test_a_recipe_is_left_out_where_it_does_not_apply_and_not_an_error(immunizer):
    edits = tuple(asked for asked in load_edits(None, "embedded") if asked.edit.mode != "inpaint")
    units = Units(
        Plan(variants(["diffusionguard"]), edits, seeds=1),
        immunizer,
        {"instruct": "a", "img2img": "b"},
        64,
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
