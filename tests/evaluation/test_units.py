"""The units of work of a plan."""

from photovax.evaluation.plan import Plan, load_edits, variants
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
