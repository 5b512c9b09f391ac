import json
from dataclasses import replace

import pytest

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import DEFAULT, LINF, PRESETS, load_recipe, recipe_from
from photovax.attack.recipe import Recipe
from photovax.errors import UnknownName, UsageError
from photovax.registry import Part


def test_published_settings():
    for name, expected in {
        "photoguard-img2img": (7.65, 2.55, 1000),
        "photoguard-inpaint": (7.65, 1.275, 1000),
        "photoguard-demo": (15.3, 1.275, 200),
    }.items():
        recipe = PRESETS[name]
        found = (recipe.radius * 255, recipe.step_size * 255, recipe.steps)
        assert found == pytest.approx(expected)
        assert recipe.schedule == "linear"


@pytest.mark.parametrize(
    ("name", "radius", "step", "steps", "draws"),
    [
        ("photoguard-diffusion-linf", 12.75, 0.765, 200, 5),
        ("advdm", 16, 1, 100, 1),
        ("sds", 16, 1, 100, 1),
        ("mist", 16, 1, 100, 1),
        ("diffusionguard", 8, 0.5, 800, 1),
        ("pid", 12.75, 1, 1000, 1),
        ("promptflare", 6, 1, 400, 1),
        ("decontext", 12.75, 0.6375, 800, 1),
    ],
)
def test_published_settings_of_later_attacks_in_levels(name, radius, step, steps, draws):
    recipe = PRESETS[name]
    found = (recipe.radius * 255, recipe.step_size * 255, recipe.steps, len(recipe.views))
    assert found == pytest.approx((radius, step, steps, draws))
    assert recipe.schedule == "constant"


def test_published_settings_of_an_attack_with_two_masks():
    recipe = PRESETS["advpaint"]
    assert (recipe.radius * 255, recipe.step_size * 255) == pytest.approx((7.65, 3.825))
    assert (recipe.steps, recipe.schedule, recipe.random_start) == (500, "linear", True)
    assert recipe.masks == ("box", "inverse")


def test_published_settings_of_the_diffusion_attack():
    recipe = PRESETS["photoguard-diffusion-l2"]
    assert (recipe.budget.name, recipe.radius, recipe.step_size) == ("l2", 8, 0.5)
    assert (recipe.steps, len(recipe.views), recipe.random_start) == (200, 10, False)
    edit = recipe.objective.options["edit"]
    assert edit == {"mode": "inpaint", "prompt": "", "steps": 4, "guidance": 7.5, "eta": 1.0}


@pytest.mark.parametrize("name", list(PRESETS))
def test_json_there_and_back(name):
    recipe = PRESETS[name]
    assert recipe_from(json.loads(recipe.to_json())) == recipe
    assert recipe.digest() == recipe_from(json.loads(recipe.to_json())).digest()


def test_a_recipe_from_before_a_field_was_there_keeps_its_digest():
    assert PRESETS["photoguard-demo"].digest() == "f9fb4d1baa4351bb"
    assert replace(PRESETS["photoguard-demo"], adaptivity=0.0).digest() != "f9fb4d1baa4351bb"


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("fast", "b057d1f7e89d60af"),
        ("instant", "2e2de683ab819b06"),
        ("fast-linf", "8b707e6dafb2ad94"),
        ("fast-native", "47114fcd49186e94"),
        ("fast-grey", "995efa9f41420494"),
        ("fast-diffusion", "b843aaa26ee6bc27"),
        ("max", "0f136641bb388bbc"),
        ("photoguard-img2img", "01c7e23483588653"),
        ("photoguard-inpaint", "4415a7833d580d0b"),
        ("photoguard-demo", "f9fb4d1baa4351bb"),
        ("photoguard-diffusion-l2", "dadb60d3f110e6ad"),
        ("photoguard-diffusion-linf", "68b4192cf3164e2f"),
        ("advdm", "418fe8def23bcaf3"),
        ("sds", "8d8ff6dc56deeaca"),
        ("mist", "b614bf1dc6611167"),
        ("diffusionguard", "e8caf756246bb280"),
        ("pid", "308c3277e1d1ff36"),
        ("advpaint", "7ed4e188822508d4"),
        ("promptflare", "56388230ca7611c3"),
        ("decontext", "686dbc3ab7f90cd3"),
    ],
)
def test_what_was_written_down_keeps_its_meaning(name, digest):
    assert PRESETS[name].digest() == digest


def test_the_default_is_fed_every_size_also_in_the_few_steps_from_a_network():
    recipe = PRESETS["fast"].warmed()
    assert (recipe.steps, recipe.draws) == (2, 1)
    assert all(view in recipe.views[: recipe.steps] for view in recipe.views)


def test_max_is_as_visible_as_high_and_stays_coarse_at_other_visibilities():
    assert PRESETS["max"].with_visibility("high") == PRESETS["max"]
    assert PRESETS["max"].with_visibility("low").budget.options["band"] == 0.5


def test_masks_are_for_inpainting(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "fast-diffusion"\nmasks = ["subject", "inverse"]\n')
    recipe = load_recipe(str(path))
    assert recipe.masks == ("subject", "inverse")
    assert recipe.digest() != PRESETS["fast-diffusion"].digest()
    assert recipe_from(json.loads(recipe.to_json())) == recipe
    assert recipe.with_mode("inpaint").masks == recipe.masks
    assert recipe.with_mode("instruct") == PRESETS["fast-diffusion"]
    assert recipe.with_mode("img2img") == PRESETS["fast-diffusion"].with_mode("img2img")


@pytest.mark.parametrize("name", ["instant", "robust"])
def test_steps_are_refused_where_networks_alone_decide(name):
    with pytest.raises(UsageError, match=f"preset {name} takes no steps, so schedule, steps would"):
        recipe_from({"preset": name, "steps": 10, "schedule": "cosine"})
    assert recipe_from({"preset": name, "steps": 10, "warm": 0.5}).warmed().steps == 5
    assert recipe_from({"preset": name, "size": 128}).warm == 0


def test_digests_differ():
    digests = {recipe.digest() for recipe in PRESETS.values()}
    assert len(digests) == len(PRESETS)


def test_a_file_can_start_from_a_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "photoguard-demo"\nsteps = 7\n')
    recipe = load_recipe(str(path))
    assert recipe.steps == 7
    assert recipe.objective == PRESETS["photoguard-demo"].objective


def _budget(option):
    return f'preset = "fast"\nbudget = {{name = "perceptual", options = {{radius = 1, {option}}}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "fast"\nstep = 7', "no recipe field named 'step'; did you mean 'steps'"),
        ('preset = "fast"\nsteps = 0', "recipe steps must be 1 or more, got 0"),
        ('preset = "fast"\nadaptivity = 1', "recipe adaptivity must be from 0 to below 1, got 1"),
        ('preset = "fast"\nmasks = ["boxes"]', r"some of subject, .*got \('boxes',\)"),
        ('preset = "fast"\nmasks = ["everything"]', "masks must be some of subject, dilated, box"),
        ('preset = "fast"\nmasks = ["box", "box"]', "masks must be some of .* each once"),
        ('preset = "fast"\nmasks = [["box"]]', "masks must be some of"),
        ('preset = "fast"\nmasks = []', "masks must be some of"),
        ('preset = "fast"\nmasks = "box"', "masks must be some of"),
        ('preset = "fats"', "no recipe named 'fats'; did you mean 'fast'"),
        ("steps = 3", "recipe: .*missing"),
        ('preset = "fast"\nsteps = 10.5', "steps must be a whole number, got 10.5"),
        ('preset = "fast"\nseed = 1.5', "seed must be a whole number, got 1.5"),
        ('preset = ["fast"]', "preset must be a name, got"),
        (
            'preset = "fast"\nbudget = {name = "linf", options = [1]}',
            r"options must be a table, got \[1\]",
        ),
        ('preset = "fast"\nrandom_start = "no"', "random_start must be true or false, got 'no'"),
        ('preset = "fast"\nbudget = {nam = "linf"}', "budget must be .*name"),
        ('preset = "fast"\nviews = ["tiles"]', "views must be .*got 'tiles'"),
        ('preset = "fast"\nstep_size = "8/0"', "step_size must be a number or a fraction"),
        ('preset = "fast"\nstep_size = 1\nstep_share = 1', "leave out one"),
        (
            'preset = "fast-linf"\nbudget = {name = "linf", options = {radius = 8}}',
            r"radius above 0 and up to 1 \(8 of 255 levels are 0.0314\), got 8",
        ),
        ("steps = ", "recipe .*mine.toml"),
        (_budget('levels = "16"'), "levels must be a number, got '16'"),
        (_budget("levels = 24, view = 3"), "has its view and mask from the photo"),
        (_budget("levels = 24, mask = true"), "has its view and mask from the photo"),
    ],
)
def test_wrong_recipes_say_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_recipe(str(path))


def test_fractions_words_and_shares_stand_for_numbers(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'preset = "fast"\nstep_share = 0.5\n'
        'budget = {name = "perceptual", options = {visibility = "low"}}'
    )
    recipe = load_recipe(str(path))
    assert recipe.visibility == "low"
    assert recipe.step_size == recipe.radius / 2
    path.write_text('preset = "fast-linf"\nstep_size = "8/255"')
    assert load_recipe(str(path)) == PRESETS[LINF]


@pytest.mark.parametrize(
    "terms",
    ["[{weight = 1}]", "5", "[5]", "[{name = 5}]", '[{name = "latent_drift", options = 5}]'],
)
def test_a_term_of_a_sum_without_a_name_is_refused(tmp_path, terms):
    path = tmp_path / "mine.toml"
    path.write_text(f'preset = "fast"\nobjective = {{name = "sum", options = {{terms = {terms}}}}}')
    with pytest.raises(UsageError, match="needs terms, each with a name"):
        load_recipe(str(path)).with_mode("inpaint")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"preset": "fast", "steps": null}', "steps must be given"),
        ('{"preset": "fast", "step_size": null}', "step_size must be given"),
        ('{"preset": "fast", "step_size": "1e400"}', "step_size must be a number"),
        (
            '{"preset": "fast", "budget": {"name": "perceptual", '
            '"options": {"visibility": ["x"]}}}',
            "no visibility named",
        ),
    ],
)
def test_wrong_values_in_json_are_one_line(tmp_path, text, message):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        load_recipe(str(path))


def test_a_preset_with_a_budget_of_another_kind_needs_a_step(tmp_path):
    path = tmp_path / "mine.toml"
    budget = 'preset = "fast"\nbudget = {name = "linf", options = {radius = "8/255"}}\n'
    path.write_text(budget)
    with pytest.raises(UsageError, match="step_share"):
        load_recipe(str(path))
    path.write_text(budget + "step_share = 1")
    assert load_recipe(str(path)) == PRESETS[LINF]


def test_a_bound_that_a_recipe_has_chosen_stays_at_another_visibility(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'preset = "fast"\n'
        'budget = {name = "perceptual", options = {visibility = "medium", levels = 8}}'
    )
    recipe = load_recipe(str(path)).with_visibility("high")
    assert recipe.radius == VISIBILITY["high"]["radius"]
    assert recipe.levels == 8
    assert PRESETS[DEFAULT].with_visibility("high").budget.options == VISIBILITY["high"]


def test_a_jod_below_mediums_has_the_bound_of_a_louder_visibility():
    assert PRESETS[DEFAULT].near_jod(9.5).levels == VISIBILITY["medium"]["levels"]
    assert PRESETS[DEFAULT].near_jod(8.7).levels == VISIBILITY["high"]["levels"]


def test_a_sum_needs_a_mask_where_one_of_its_terms_does():
    terms = [
        {"name": "edit_drift", "options": {"edit": {"mode": "instruct"}}},
        {"name": "first_step_norm"},
    ]
    recipe = replace(PRESETS[LINF], objective=Part("sum", {"terms": terms}))
    assert recipe.needs_mask
    assert not recipe.with_mode("instruct").needs_mask


def test_unknown_presets():
    with pytest.raises(UnknownName, match="known: fast, "):
        load_recipe("slow")


def test_another_budget_scales_the_steps():
    recipe = PRESETS[LINF].with_radius(16 / 255)
    assert recipe.step_size == pytest.approx(2 * PRESETS[LINF].step_size)


def test_the_default_in_levels_is_the_recipe_that_bounds_them():
    assert PRESETS[DEFAULT].with_levels(8) == PRESETS[LINF]
    assert PRESETS[DEFAULT].with_levels(16) == PRESETS[LINF].with_levels(16)


def test_visibility_goes_by_words():
    at = {word: PRESETS[DEFAULT].with_visibility(word) for word in VISIBILITY}
    assert at["medium"] == PRESETS[DEFAULT]
    assert at["low"].radius < at["medium"].radius < at["high"].radius
    assert (
        at["low"].step_size / at["low"].radius == PRESETS[DEFAULT].step_size / at["medium"].radius
    )
    with pytest.raises(UnknownName, match="no visibility named 'lo'; did you mean 'low'"):
        PRESETS[DEFAULT].with_visibility("lo")
    with pytest.raises(UsageError, match="budget is linf"):
        PRESETS[LINF].with_visibility("low")


def _bound(recipe: Recipe) -> tuple[str, float]:
    return recipe.constraint.norm, recipe.constraint.most


def test_what_can_be_promised_to_anyone_is_in_levels_where_it_can_be():
    l2 = PRESETS["photoguard-diffusion-l2"]
    bounds = [_bound(PRESETS[LINF]), _bound(PRESETS[DEFAULT]), _bound(l2)]
    assert bounds == [("linf", 8), ("linf", 24), ("l2", 8)]
    narrower = PRESETS[DEFAULT].with_bound(5)
    assert (_bound(narrower), narrower.radius) == (("linf", 5), PRESETS[DEFAULT].radius)
    assert PRESETS[LINF].with_bound(5) == PRESETS[LINF].with_levels(5)
    assert l2.with_bound(4).radius == 4
