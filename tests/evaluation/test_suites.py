"""Suites: the plans that they give, what they say beforehand, and what is refused."""

import pytest

from photovax.attack.presets import PRESETS
from photovax.errors import ModelError, PhotovaxError, UnknownName, UsageError
from photovax.evaluation.suites import SUITES, lacking, load_suite
from photovax.models.catalog.entries import CATALOG
from tests.evaluation.samples import PLAN

OWN = """
[mine]
metrics = ["psnr"]

[[mine.part]]
name = "first"
model = "embedded"
recipes = ["fast-linf", "photoguard-inpaint"]
levels = [8, 16]

[[mine.part.edit]]
mode = "inpaint"
prompt = "red background"
"""
OPERATIONS = "operations = { encode = 1, decode = 2, predict = 3, step = 5 }"


PART = 'name = "first", model = "embedded", recipes = ["fast-linf"]'
OTHER = """[[mine.part]]
name = "First"
model = "embedded"
recipes = ["fast-linf"]
edit = [{ mode = "img2img" }]

"""


def written(tmp_path, **changes):
    text = OWN
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "mine.toml").write_text(text)
    return str(tmp_path / "mine.toml")


def test_the_papers_experiment_is_as_published():
    suite = load_suite("photoguard")
    inpaint, img2img = suite.parts
    assert suite.source == "arXiv 2302.06588"
    assert (inpaint.plan.models, inpaint.plan.editor) == (("sd15-inpaint",), "sd15-inpaint")
    assert (img2img.plan.models, img2img.plan.editor) == (("sd15",), "sd15")
    (repainted,), (redrawn,) = inpaint.plan.edits, img2img.plan.edits
    edit = repainted.edit
    assert (edit.mode, edit.steps, edit.eta, edit.guidance) == ("inpaint", 100, 1, 7.5)
    edit = redrawn.edit
    assert (edit.mode, edit.steps, edit.strength, edit.guidance) == ("img2img", 50, 0.5, 7.5)
    for part in suite.parts:
        # The encoder attack and the diffusion attack, at 16/255.
        assert [v.recipe.levels for v in part.plan.variants] == pytest.approx([16, 16])
        assert [v.recipe.objective.name for v in part.plan.variants] == [
            "latent_target",
            "edit_target",
        ]
        (mode,) = part.plan.modes
        assert part.plan.variants[1].against(mode).mode == mode
        # The paper's table, but for set distances, which are always measured.
        assert {"psnr", "ssim", "vifp", "fsim"} <= set(part.plan.metrics)


def test_kontext_is_edited_as_usual_and_attacked_as_published():
    (part,) = load_suite("kontext").parts
    usual = CATALOG["flux1-kontext"].edits["instruct"]
    (asked,) = part.plan.edits
    assert (asked.edit.steps, asked.edit.guidance) == (usual.steps, usual.guidance)
    assert part.plan.size == 512
    attack = part.plan.variants[-1].recipe
    published = PRESETS["decontext"]
    assert attack.objective == published.objective
    assert (attack.radius, attack.step_size, attack.steps) == pytest.approx(
        (published.radius, published.step_size, published.steps)
    )


@pytest.mark.parametrize("name", ["photoguard", "kontext"])
def test_models_and_counts_can_be_replaced(name, photos):
    suite = load_suite(
        name,
        models=["embedded"],
        seeds=1,
        size=64,
        metrics=("ssim",),
        purifications=("none", "jpeg75"),
    )
    for part, own in zip(suite.parts, load_suite(name).parts, strict=True):
        plan = part.plan
        assert (plan.models, plan.editor, plan.seeds) == (("embedded",), "embedded", 1)
        assert (plan.size, plan.metrics) == (64, ("ssim",))
        assert plan.purifications == ("none", "jpeg75")
        for mine, theirs in zip(plan.edits, own.plan.edits, strict=True):
            assert mine.prompts == theirs.prompts
            assert mine.edit.steps == theirs.edit.steps
        assert part.hours(3) is None
        hours = own.hours(1)
        assert hours is not None
        assert own.hours(3) == pytest.approx(3 * hours)
        assert "not known" in "".join(part.lines(photos, None)[-2:])
    other = load_suite(name, editor="embedded").parts[0].plan
    assert other.models == load_suite(name).parts[0].plan.models
    assert other.editor == "embedded"


def test_hours_are_those_of_the_operations(tmp_path):
    path = written(
        tmp_path,
        operations=(
            "levels = [8, 16]",
            f"{OPERATIONS}\nsize = 1024",
        ),
        recipes=('"fast-linf", "photoguard-inpaint"', '"advdm", "photoguard-diffusion-linf"'),
        edit=('mode = "inpaint"', 'mode = "inpaint"\nsteps = 10'),
        seeds=("[mine]", "[mine]\nseeds = 2"),
    )
    (part,) = load_suite(path).parts
    gradients = 100 * (3 * 1 + 4 * 3) + 200 * 5 * (3 * 1 + 4 * 4 * 5 + 3 * 2)
    # Two originals; two recipes and the noise of each, twice.
    edits = (2 + 8) * (1 + 10 * 5 + 2)
    assert part.hours(7) == pytest.approx(7 * 4 * (gradients + edits) / 20 / 3600)


@pytest.mark.usefixtures("cache")
def test_what_it_takes_is_said_first(photos, tmp_path):
    inpaint, img2img = load_suite("photoguard").parts
    said = inpaint.lines([*photos, tmp_path / "bare.png"], None)
    assert "  download  sd15-inpaint (0.2 GB, 2.4 GB with the editor)" in said
    assert f"  photos    {len(photos) + 1}, {len(photos)} with a mask" in said
    assert any("about 24 GB" in line for line in said)
    assert any(line.startswith("  time      about ") and "hours at 20" in line for line in said)
    assert "  photos    2" in img2img.lines(photos, None)
    (kontext,) = load_suite("kontext").parts
    assert any("licence must be accepted" in line for line in kontext.lines(photos, None))
    assert lacking((inpaint, img2img), None) == {"sd15-inpaint": True, "sd15": True}
    here = load_suite("photoguard", models=["embedded"]).parts
    assert lacking(here, None) == {}
    assert "  download  nothing: the weights are here" in here[0].lines(photos, None)


@pytest.mark.usefixtures("cache")
def test_only_photos_that_something_is_run_for_take_time(photos, tmp_path):
    inpaint, img2img = load_suite("photoguard").parts
    bare = [tmp_path / "bare.png", tmp_path / "naked.png"]
    for masked in (photos, photos[:1]):
        assert inpaint.lines([*masked, *bare], None)[-1] == inpaint.lines(masked, None)[-1]
    assert inpaint.lines(photos[:1], None)[-1] != inpaint.lines(photos, None)[-1]
    said = inpaint.lines(bare, None)
    assert said[-2:] == ["  photos    2, 0 with a mask", "  nothing to run: no photo has a mask"]
    assert not any("download" in line or "hours" in line for line in said)
    assert img2img.suited(bare) == bare


def test_a_recipe_may_need_a_mask_where_the_edit_does_not(photos, tmp_path):
    everything = ('mode = "inpaint"', 'mode = "inpaint"\nmask = "everything"')
    bare = tmp_path / "bare.png"
    (part,) = load_suite(written(tmp_path, edit=everything)).parts
    assert part.suited([bare, *photos]) == [bare, *photos]
    alone = ('"fast-linf", "photoguard-inpaint"', '"photoguard-inpaint"')
    (part,) = load_suite(written(tmp_path, edit=everything, recipes=alone)).parts
    assert part.suited([bare, *photos]) == photos
    other = ('mode = "inpaint"', 'mode = "img2img"')
    (part,) = load_suite(written(tmp_path, edit=other, recipes=alone)).parts
    assert part.suited(photos) == []
    assert part.lines(photos, None)[-1] == "  nothing to run: no recipe fits an edit"


@pytest.mark.usefixtures("cache")
def test_weights_in_a_folder_are_not_lacking(editor_folder, tmp_path):
    (tmp_path / "sd15").symlink_to(editor_folder)
    other = {"mode": ('"inpaint"', '"img2img"'), "model": ('"embedded"', '"sd15"')}
    parts = load_suite(written(tmp_path, **other)).parts
    assert lacking(parts, tmp_path) == {}
    assert lacking(parts, None) == {"sd15": True}


@pytest.mark.usefixtures("cache")
def test_an_encoder_attack_takes_an_autoencoder_alone(tmp_path):
    path = written(tmp_path)
    parts = load_suite(path, models=["taesd", "sd15"], editor="sd15-inpaint").parts
    assert lacking(parts, None) == {"taesd": False, "sd15": False, "sd15-inpaint": True}
    (tmp_path / "taesd").mkdir()
    for file in CATALOG["taesd"].files:
        (tmp_path / "taesd" / file).touch()
    assert lacking(load_suite(path, models=["taesd"], editor="embedded").parts, tmp_path) == {}
    through = ('"fast-linf", "photoguard-inpaint"', '"fast-linf", "photoguard-diffusion-linf"')
    path = written(tmp_path, recipes=through)
    parts = load_suite(path, models=["taesd"], editor="embedded").parts
    with pytest.raises(ModelError, match="model taesd is only an autoencoder: it cannot edit"):
        lacking(parts, tmp_path)


def test_a_file_holds_a_suite_of_ones_own(tmp_path):
    suite = load_suite(written(tmp_path))
    (part,) = suite.parts
    assert (suite.name, suite.source, part.name, part.memory) == ("mine", "", "first", "")
    assert [v.label for v in part.plan.variants] == [
        "fast-linf 8/255",
        "fast-linf 16/255",
        "photoguard-inpaint 8/255",
        "photoguard-inpaint 16/255",
    ]
    assert part.plan.seeds == 1
    assert part.plan.edits[0].edit.steps == CATALOG["embedded"].edits["inpaint"].steps
    assert PLAN.edits != part.plan.edits


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[mine]", "[mine", "suite .*mine.toml: "),
        ("[mine]", "[other]\n[mine]", "expected one suite, got other, mine"),
        ("metrics =", "metric =", "no field of suite mine named 'metric'; did you mean 'metrics'"),
        ("levels =", "level =", "no field of suite mine, part 1 named 'level'"),
        (
            "levels = [8, 16]",
            'levels = ["8"]',
            "levels of .* a list of numbers, got ..8..$",
        ),
        ("levels = [8, 16]", "levels = 16", "levels of .* must be a list of numbers, got 16$"),
        ("levels = [8, 16]", "levels = [true]", "levels of .* a list of numbers, got .True.$"),
        ("levels = [8, 16]", "levels = [nan]", "up to 255 levels, got nan"),
        ("levels = [8, 16]", "memory = 24", "memory of .*'first' must be a text, got 24$"),
        ("levels = [8, 16]", 'size = "x"', "size of .*'first' must be .*8.*, got 'x'$"),
        ("levels = [8, 16]", 'operations = "x"', "operations of .* must be a table, got 'x'$"),
        ("levels = [8, 16]", "operations = {}", "for each of decode, .*, step; decode is None$"),
        ("levels = [8, 16]", "operations = { encode = 1 }", "for each of .*; decode is None$"),
        ("levels = [8, 16]", OPERATIONS.replace("5", '"x"'), "above 0 .*; step is 'x'$"),
        ("levels = [8, 16]", OPERATIONS.replace("5", "0"), "above 0 .*; step is 0$"),
        ("levels = [8, 16]", "levels = [300]", "up to 255 levels, got 300"),
        ("levels = [8, 16]", "operations = { code = 1 }", "no field of operations of .* 'code'"),
        ("[mine]", '[mine]\nseeds = "3"', "seeds of suite mine must be a whole number, got '3'"),
        ("[mine]", "[mine]\nseeds = true", "seeds of suite mine .* whole number, got True"),
        ('["psnr"]', "[1]", "metrics of suite mine must be texts, got .1.$"),
        ('"fast-linf"', "1", "recipes of .*'first' must be texts, got .1, "),
        ('"first"', '"../x"', "name of suite mine, part 1 must be that of a folder.*'../x'$"),
        ('"first"', '"/tmp/abs"', "name of .* must be that of a folder.*'/tmp/abs'$"),
        ('"first"', '".."', "name of .* must be that of a folder.*'..'$"),
        ('"first"', r'"a\u0000b"', "name of .* must be that of a folder"),
        ('"first"', f'"{"x" * 61}"', "name of .* must be that of a folder, up to 60"),
        ('"first"', "1", "suite mine, part 1 needs name, a text"),
        ("[[mine.part]]", f"{OTHER}[[mine.part]]", "two parts are called 'first'; rename one"),
        ('"embedded"', '""', "suite mine, part 'first' needs model, a text"),
        ('"embedded"', '"sd9"', "sd9"),
        ('recipes = ["fast-linf", "photoguard-inpaint"]', "recipes = []", "needs recipes, a list"),
        ('"fast-linf"', '"fastest"', "no recipe named 'fastest'"),
        ('mode = "inpaint"', 'mode = "paint"', "paint"),
        ('prompt = "red background"', "step = 3", "no edit field named 'step'"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_in_one_line(old, new, says, tmp_path):
    with pytest.raises(PhotovaxError, match=says) as caught:
        load_suite(written(tmp_path, change=(old, new)))
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ('part = ["x"]', "suite mine, part 1 must be a table, got 'x'$"),
        (
            f'part = [{{ {PART}, edit = ["x"] }}]',
            "each edit must be an .* table, got 'x'$",
        ),
    ],
)
def test_what_is_no_table_is_refused(part, says, tmp_path):
    (tmp_path / "mine.toml").write_text(f'[mine]\nmetrics = ["psnr"]\n{part}\n')
    with pytest.raises(UsageError, match=says):
        load_suite(str(tmp_path / "mine.toml"))


def test_a_suite_that_is_not_known():
    with pytest.raises(UnknownName, match="no suite named 'photogard'; did you mean 'photoguard'"):
        load_suite("photogard")
    with pytest.raises(PhotovaxError, match=r"suite none\.toml: .*No such file"):
        load_suite("none.toml")
    assert SUITES.is_file()
