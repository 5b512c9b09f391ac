"""Suites: the plans that they give, what they say beforehand, and what is refused."""

import pytest

from photovax.attack.presets import PRESETS
from photovax.errors import PhotovaxError, UnknownName
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
def test_models_and_counts_can_be_replaced(name):
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
        assert "not known" in "".join(part.lines([], None)[-2:])
    other = load_suite(name, editor="embedded").parts[0].plan
    assert other.models == load_suite(name).parts[0].plan.models
    assert other.editor == "embedded"


def test_hours_are_those_of_the_operations(tmp_path):
    path = written(
        tmp_path,
        operations=(
            "levels = [8, 16]",
            "operations = { encode = 1, decode = 2, predict = 3, step = 5 }\nsize = 1024",
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
    assert any(
        "licence must be accepted" in x for x in load_suite("kontext").parts[0].lines([], None)
    )
    assert lacking((inpaint, img2img), None) == ["sd15-inpaint", "sd15"]
    here = load_suite("photoguard", models=["embedded"]).parts
    assert lacking(here, None) == []
    assert "  download  nothing: the weights are here" in here[0].lines([], None)


@pytest.mark.usefixtures("cache")
def test_weights_in_a_folder_are_not_lacking(editor_folder, tmp_path):
    (tmp_path / "sd15").symlink_to(editor_folder)
    other = {"mode": ('"inpaint"', '"img2img"'), "model": ('"embedded"', '"sd15"')}
    parts = load_suite(written(tmp_path, **other)).parts
    assert lacking(parts, tmp_path) == []
    assert lacking(parts, None) == ["sd15"]


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
        ("levels =", "level =", "no field of suite mine, part 'first' named 'level'"),
        ("levels = [8, 16]", 'levels = ["8"]', "levels of .* must be numbers, got ..8..$"),
        ("levels = [8, 16]", "levels = [300]", "up to 255 levels, got 300"),
        ("levels = [8, 16]", "operations = { code = 1 }", "no field of operations of .* 'code'"),
        ("[mine]", '[mine]\nseeds = "3"', "seeds of suite mine must be a whole number, got '3'"),
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


def test_a_suite_that_is_not_known():
    with pytest.raises(UnknownName, match="no suite named 'photogard'; did you mean 'photoguard'"):
        load_suite("photogard")
    with pytest.raises(PhotovaxError, match=r"suite none\.toml: .*No such file"):
        load_suite("none.toml")
    assert SUITES.is_file()
