"""Evaluations: the plan, the run and its resumption, the tables, the warnings and the report."""

import csv
import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photovax.attack.presets import PRESETS
from photovax.attack.recipe import Recipe
from photovax.demo import SAMPLE, SAMPLE_MASK
from photovax.errors import UnknownName, UsageError
from photovax.evaluation.cautions import cautions
from photovax.evaluation.following import asked_colour, following
from photovax.evaluation.plan import Asked, Floor, Plan, Variant, find_photos, load_edits, variants
from photovax.evaluation.report import write_report
from photovax.evaluation.results import Case, ProtectedPhoto, Results
from photovax.evaluation.run import Evaluation, Progress
from photovax.evaluation.store import PhotoStore
from photovax.evaluation.subject import Subject, noise_like
from photovax.evaluation.tables import tables
from photovax.evaluation.true_edits import TRUE_EDITS, truth
from photovax.evaluation.units import Units
from photovax.models.edit import Edit
from photovax.registry import Part
from tests.places import ROOT

QUICK = Recipe(
    objective=Part("latent_drift"),
    budget=Part("linf", {"radius": 16 / 255}),
    views=(Part("short_side"),),
    steps=6,
    step_size=6 / 255,
    schedule="cosine",
    size=64,
)
SEPIA = Asked("sepia", Edit("instruct", steps=2, guidance=1), ("paint it in sepia",))
PLAN = Plan(
    variants=(Variant("quick 16/255", QUICK),),
    edits=(SEPIA,),
    purifications=("none", "jpeg75"),
    seeds=2,
    size=64,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pieces of the sample photo, with masks beside them."""
    folder = tmp_path_factory.mktemp("photos")
    for name, box in {"one": (100, 40, 228, 136), "two": (60, 90, 156, 218)}.items():
        Image.open(SAMPLE).crop(box).save(folder / f"{name}.png")
        Image.open(SAMPLE_MASK).crop(box).save(folder / f"{name}.mask.png")
    return list(find_photos([folder]))


@pytest.fixture(scope="module")
def done(photos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    out = tmp_path_factory.mktemp("out")
    evaluation = Evaluation(PLAN, out, device="cpu")
    evaluation.run(photos)
    return evaluation, out


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
    with pytest.raises(UsageError, match="needs one metric or more of edits: none was named"):
        Evaluation(replace(PLAN, metrics=(name,)), done[1], device="cpu")


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
        if calls == 7:
            raise KeyboardInterrupt
        return edit(*args, **kwargs)

    monkeypatch.setattr(broken.adversary, "edit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        broken.run(photos)
    for file in tmp_path.rglob("figures.jsonl"):  # a line that was cut short by a kill
        file.write_text(file.read_text() + '{"key": "half')
    Evaluation(PLAN, tmp_path, device="cpu").run(photos)
    resumed = Evaluation(PLAN, tmp_path, device="cpu").results(photos)
    whole = done[0].results(photos)
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
    assert results.left_out["bare.png, red"] == "there is no bare.mask.png beside the photo"


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


def test_the_report_says_what_was_found(
    done: tuple[Evaluation, Path], photos: list[Path], tmp_path: Path
):
    results = done[0].results(photos)
    report = write_report(results, tmp_path, device="cpu")
    page = report.html.read_text(encoding="utf-8")
    assert "quick 16/255" in page
    assert "only 2 photos" in page
    seen = find_spec("flip_evaluator") is not None
    assert page.count("data:image/webp") == (5 + seen) * 2
    assert page.count("where it is seen (FLIP)") == 4 * seen  # caption and text for the blind
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    with (tmp_path / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results.cases)
    data = json.loads((tmp_path / "results.json").read_text())

    def mean(label: str) -> float:
        chosen = [r for r in rows if (r["recipe"], r["purification"]) == (label, "none")]
        return float(np.mean([float(row["ssim"]) for row in chosen]))

    (shown,) = [
        r
        for r in data["displacement"]
        if (r["label"], r["mode"], r["metric"]) == ("quick 16/255", "all", "ssim")
    ]
    assert shown["value"]["mean"] == pytest.approx(mean("quick 16/255"))
    assert shown["above"]["mean"] == pytest.approx(mean("noise 16/255") - mean("quick 16/255"))
    assert data["facts"]["recipes"]["quick 16/255"]["steps"] == 6
    assert "quick 16/255" in (tmp_path / "table.md").read_text(encoding="utf-8")


def case(label: str, photo: int, ssim: float, follows: float, purification: str = "none") -> Case:
    """A made-up edit; the floor of a recipe's is called as noise's is."""
    name = f"{photo}-{purification}"
    return Case(
        photo=f"{photo}.png",
        label=label,
        purification=purification,
        asked=SEPIA,
        prompt="paint it in sepia",
        seed=0,
        key=f"{label}-{name}",
        floor=None if label == "noise" else f"noise-{name}",
        between={"ssim": ssim},
        follows={"true_edit": follows},
        wanted={"true_edit": 20.0},
        features=None,
        clean_features=None,
        picture=None,
        clean_picture=Path("none.png"),
    )


def made_up(cases: list[Case], **changes) -> Results:
    results = Results(
        plan=replace(PLAN, purifications=tuple(dict.fromkeys(c.purification for c in cases))),
        cases=cases,
        protected=[],
        unchanged={},
        repainted={},
        metric_labels={"ssim": "SSIM"},
        higher_is_closer={"ssim": True},
        between=("ssim",),
        left_out={},
        failures={},
    )
    return replace(results, **changes)


def test_tables_subtract_the_floor_of_the_same_photo():
    cases = [
        *(case("noise", photo, 0.9, 19.5) for photo in range(4)),
        *(case("recipe", photo, 0.5 + photo / 10, 15.0) for photo in range(4)),
        *(case("noise", photo, 0.8, 19.0, "jpeg75") for photo in range(4)),
        *(case("recipe", photo, 0.7, 18.0, "jpeg75") for photo in range(4)),
    ]
    found = tables(made_up(cases), metric="ssim")
    row = next(r for r in found.displacement if (r.label, r.mode) == ("recipe", "instruct"))
    assert row.floor is not None
    assert row.above is not None
    assert row.value.mean == pytest.approx(0.65)
    assert row.floor.mean == pytest.approx(0.9)
    assert row.above.mean == pytest.approx(0.25)
    assert row.above.low > 0
    (lost,) = [r for r in found.following if r.label == "recipe"]
    assert lost.above is not None
    assert lost.lost.mean == pytest.approx(5.0)
    assert lost.above.mean == pytest.approx(4.5)
    shares = {row.purification: row.share for row in found.survival}
    assert shares == {"none": pytest.approx(1.0), "jpeg75": pytest.approx(0.1 / 0.25)}
    # Photo 3 has 0.1 without and with JPEG, the others less with it.
    assert found.worst["recipe"].mean == pytest.approx(0.1)


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


@pytest.mark.parametrize("kind", ["subject", "dilated", "box", "inverse", "everything"])
def test_what_is_repainted(kind: str, photos: list[Path], tmp_path: Path):
    subject = Subject.load(photos[0], tmp_path)
    kept = subject.mask()
    repaint = subject.repaint(Asked("x", Edit("inpaint"), ("",), kind))
    assert repaint is not None
    assert repaint.shape == kept.shape
    if kind == "everything":
        assert repaint.all()
    elif kind == "inverse":
        assert np.array_equal(repaint, kept)
    elif kind == "subject":
        assert np.array_equal(repaint, ~kept)
    elif kind == "dilated":
        assert repaint[~kept].all()
        assert repaint[kept].any()
    else:
        assert not repaint[kept].any()
        assert repaint.sum() < (~kept).sum()


def test_noise_has_the_asked_length(pixels: np.ndarray):
    wanted = 3.0
    changed = noise_like(pixels, Floor("l2", wanted)).astype(float) - pixels
    assert np.linalg.norm(changed) / 255 == pytest.approx(wanted, rel=0.01)
    levels = noise_like(pixels, Floor("linf", 7.65 / 255)).astype(int) - pixels
    assert np.abs(levels).max() == 7
    mask = np.zeros(pixels.shape[:2], dtype=bool)
    mask[8:20, 8:30] = True
    for floor in (Floor("l2", wanted), Floor("linf", 7.65 / 255)):
        inside = noise_like(pixels, floor, mask).astype(float) - pixels
        assert (inside[~mask] == 0).all()
        if floor.norm == "l2":  # all of the length is inside
            assert np.linalg.norm(inside) / 255 == pytest.approx(wanted, rel=0.01)


def test_scores_of_what_was_asked(pixels: np.ndarray):
    night = Edit("instruct", "make it night")
    true = truth(TRUE_EDITS["night"], pixels)
    assert following(night, pixels, true)["true_edit"] == np.inf
    assert following(night, pixels, pixels)["true_edit"] < 20
    assert following(Edit("instruct", "what nobody trained"), pixels, pixels) == {}
    repaint = np.zeros(pixels.shape[:2], dtype=bool)
    repaint[:10] = True
    red = np.where(repaint[..., None], np.array([200, 30, 30]), pixels).astype(np.uint8)
    asked = Edit("inpaint", "red background")
    assert following(asked, pixels, red, repaint) == {"colour": 1.0}
    assert following(replace(asked, prompt="blue"), pixels, red, repaint) == {"colour": 0.0}
    assert asked_colour("a red and a blue ball") is None


def test_recipes_stand_at_every_budget_and_their_own():
    names = ["fast-linf", "fast", "photoguard-diffusion-l2"]
    labels = [v.label for v in variants(names, (8, 16), ("low", "high"))]
    assert labels == [
        *("fast-linf 8/255", "fast-linf 16/255"),
        *("fast low", "fast high"),
        "photoguard-diffusion-l2 l2 8",
    ]
    assert [v.label for v in variants(["fast"], (8,))] == ["fast medium"]
    assert [v.label for v in variants(["photoguard-img2img"])] == ["photoguard-img2img 7.65/255"]
    through = Variant("x", PRESETS["fast-diffusion"]).against("inpaint")
    assert through.kept_region_only
    assert through.needs_mask
    assert [v.recipe.size for v in variants(["fast"], size=512)] == [512]
    with pytest.raises(UsageError, match="name a recipe"):
        variants(["noise", "none"])
    assert not Variant("x", PRESETS["diffusionguard"]).applies("img2img")


def test_recipes_of_one_label_are_refused(tmp_path: Path):
    (tmp_path / "fast.toml").write_text('preset = "fast"\nsize = 384\n')
    with pytest.raises(UsageError, match="two recipes would be called 'fast medium'"):
        variants(["fast", str(tmp_path / "fast.toml")], (8,))
    (own,) = variants([str(tmp_path / "fast.toml")], (8, 8), size=512)
    assert own.recipe.size == 384


@pytest.mark.parametrize("name", ["photoguard-diffusion-linf", "diffusionguard"])
def test_published_attacks_on_inpainting_get_the_mask(
    name: str, photos: list[Path], tmp_path: Path
):
    kind = replace(PRESETS[name], views=(Part("short_side"),), steps=1)
    repainted = Asked("red", Edit("inpaint", steps=2, guidance=1), ("red background",))
    plan = Plan((Variant(name, kind),), (repainted,), seeds=1, size=64)
    evaluation = Evaluation(plan, tmp_path, device="cpu")
    evaluation.run(photos[:1])
    assert not evaluation.failures
    assert name in {one.label for one in evaluation.results(photos[:1]).protected}


def test_a_recipe_is_left_out_where_it_does_not_apply_and_not_an_error(immunizer):
    edits = tuple(asked for asked in load_edits(None, "embedded") if asked.edit.mode != "inpaint")
    units = Units(
        Plan(variants(["diffusionguard"]), edits, seeds=1),
        immunizer,
        {"instruct": "a", "img2img": "b"},
        64,
    )
    instructions = [asked for asked in edits if asked.edit.mode == "instruct"]
    assert units.per_photo == 2 * len(instructions)  # the recipe and its noise


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", UsageError, r"expected one \[\[edit\]\] table or more"),
        ('[[edit]]\nprompt = "x"', UsageError, "has no mode"),
        ('[[edit]]\nmode = "paint"', UnknownName, "no mode named 'paint'"),
        ('[[edit]]\nmode = "instruct"\nstep = 3', UnknownName, "did you mean 'steps'"),
        ('[[edit]]\nmode = "inpaint"\nmask = "boxes"', UnknownName, "did you mean 'box'"),
        ('[[edit]]\nmode = "instruct"\nprompts = []', UsageError, "prompts must be a list"),
        ('[[edit]]\nmode = "instruct"\nsteps = 0', UsageError, "1 to 1000 steps"),
        ('[[edit]]\nmode = "instruct"\n' * 2, UsageError, "two edits are called"),
        ("[[edit]", UsageError, "edits .*: "),
    ],
)
def test_bad_edits_are_refused(text: str, error: type[Exception], match: str, tmp_path: Path):
    file = tmp_path / "edits.toml"
    file.write_text(text)
    with pytest.raises(error, match=match):
        load_edits(file, "embedded")


def test_the_shipped_edits_ask_for_what_can_be_scored():
    found = load_edits(None, "embedded", mask="box")
    assert {asked.edit.mode for asked in found} == {"instruct", "inpaint", "img2img"}
    assert {asked.mask for asked in found} == {"box"}
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)
    for asked in found:
        if asked.edit.mode != "inpaint":
            for prompt in asked.prompts:
                assert following(asked.edit.asking(prompt), grey, grey), prompt


def test_photos_are_shared_out(photos: list[Path], tmp_path: Path):
    folder = photos[0].parent
    shards = [find_photos([folder], shard=(i, 2)) for i in (1, 2)]
    assert [file.name for shard in shards for file in shard] == ["one.png", "two.png"]
    with pytest.raises(UsageError, match="shard must be from 1/2 to 2/2, got 3/2"):
        find_photos([folder], shard=(3, 2))
    named = find_photos(sorted(folder.iterdir()))
    assert [file.name for file in named] == ["one.png", "two.png"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "one.png").write_bytes(photos[0].read_bytes())
    with pytest.raises(UsageError, match=r"two photos are called 'one\.png', in .* and .*other"):
        find_photos([folder, other])
    with pytest.raises(UsageError, match="no photo to evaluate"):
        find_photos([tmp_path])


def test_without_a_metric_there_is_nothing_to_do(tmp_path: Path):
    plan = replace(PLAN, metrics=("lpips",))
    with pytest.raises(UsageError, match=r"needs one metric or more of edits: .*lpips"):
        Evaluation(plan, tmp_path, weights=tmp_path, device="cpu")


def test_a_report_of_one_photo_is_json_that_any_reader_takes(
    done: tuple[Evaluation, Path], photos: list[Path], tmp_path: Path
):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    write_report(done[0].results(photos[:1]), tmp_path, device="cpu")
    data = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert data["displacement"][0]["value"]["low"] is None


def test_a_store_keeps_what_it_is_given(tmp_path: Path):
    PhotoStore(tmp_path).add("a", {"x": 1})
    again = PhotoStore(tmp_path)
    again.add("b", {"x": 2})
    third = PhotoStore(tmp_path)
    assert (third.get("a"), third.get("b"), third.get("c")) == ({"x": 1}, {"x": 2}, None)
