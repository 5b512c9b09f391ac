import json
import os
import sys
from copy import copy
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from photovax.attack.presets import DEFAULT, LINF, PRESETS
from photovax.attack.recipe import Recipe
from photovax.attack.strength import Aim, aimed, largest_share, least_share
from photovax.checks.check import check
from photovax.checks.verdicts import Verdict
from photovax.cli import main
from photovax.errors import BudgetExceeded, MetricUnavailable, UsageError
from photovax.immunizer import Immunizer
from photovax.metrics import cvvdp
from photovax.metrics.visibility import jod
from photovax.pictures.compression import Compression
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE

needs_cvvdp = pytest.mark.skipif(find_spec("pycvvdp") is None, reason="needs pip install cvvdp")


@pytest.fixture
def photo_file(tmp_path: Path) -> Path:
    Image.open(SAMPLE).crop((150, 20, 310, 148)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("edge", [0.3, 1.0, 2.5])
def test_the_searches_end_at_the_edge(edge: float):
    assert largest_share(lambda share: share <= edge) == pytest.approx(edge, abs=0.02)
    assert least_share(lambda share: share >= edge) == pytest.approx(edge, abs=0.02)


def test_what_the_searches_give_fits():
    for edge in (0.123, 0.9, 2.2):
        assert (largest_share(edge.__ge__) or 9) <= edge
        assert (least_share(edge.__le__) or 0) >= edge


def test_too_much_may_not_pass_where_less_does():
    assert least_share(lambda share: 0.3 <= share < 1.1) == pytest.approx(0.3, abs=0.02)


def test_the_searches_give_nothing_where_nothing_fits():
    assert largest_share(lambda share: False) is None
    assert least_share(lambda share: False) is None
    assert largest_share(lambda share: True, most=2) == 2
    assert (least_share(lambda share: True, most=2) or 2) < 0.02


@pytest.mark.parametrize("value", [4, 10, float("nan")])
def test_visibilities_that_mean_nothing_are_refused(value: float):
    with pytest.raises(UsageError, match="JOD must be from 5 to below 10"):
        Aim(jod=value)


@needs_cvvdp
@pytest.mark.parametrize("name", [DEFAULT, LINF])
def test_as_strong_as_stays_above_a_jod(immunizer: Immunizer, photo_file: Path, name: str):
    photo, recipe = read_photo(photo_file), quick(PRESETS[name])
    result = immunizer.immunize(photo, recipe.near_jod(9.6), aim=Aim(jod=9.6))
    assert result.reached
    saved = immunizer.save(result, photo_file.with_name("out.png"))
    found = jod(photo.pixels, read_photo(saved.path).pixels)
    assert found is not None
    assert 9.6 <= found < 9.66
    record = json.loads(saved.record.read_text())
    assert record["budget"]["options"]["radius"] == result.recipe.radius != recipe.radius


def test_as_weak_as_passes(immunizer: Immunizer, photo_file: Path):
    photo = read_photo(photo_file)
    strong = quick(PRESETS[LINF].with_levels(24))
    weaker = immunizer.immunize(photo, strong, aim=Aim(passing=True))
    assert weaker.reached
    assert weaker.recipe.radius < strong.radius
    assert check(weaker.photo, photo, size=128).verdict is Verdict.PASS
    least = immunizer.immunize(photo, weaker.recipe.with_radius(weaker.recipe.radius * 0.8))
    assert check(least.photo, photo, size=128).verdict is not Verdict.PASS


def test_a_strength_that_was_asked_for_is_not_exceeded(immunizer: Immunizer, photo_file: Path):
    recipe = quick(PRESETS[LINF].with_levels(6))
    free = immunizer.immunize(read_photo(photo_file), recipe, aim=Aim(passing=True))
    assert free.largest > 6
    bound = immunizer.immunize(read_photo(photo_file), recipe, aim=Aim(passing=True, within=True))
    assert bound.largest == 6
    assert bound.missed == "no smaller strength passes; the recipe's is used"


def test_what_cannot_be_reached_is_said_and_the_recipe_is_kept(
    immunizer: Immunizer, photo_file: Path
):
    recipe = quick(PRESETS[LINF].with_levels(1))
    result = immunizer.immunize(read_photo(photo_file), recipe, aim=Aim(passing=True))
    assert result.missed == "no strength passes; the recipe's is used"
    assert not result.reached
    assert result.recipe == recipe


@needs_cvvdp
def test_a_jod_that_leaves_nothing_in_8_bits_is_refused(immunizer: Immunizer, photo_file: Path):
    recipe = quick(PRESETS[LINF].with_levels(1))
    with pytest.raises(BudgetExceeded, match="nothing of the change is left in 8 bits"):
        immunizer.immunize(read_photo(photo_file), recipe, aim=Aim(jod=9.9999))


def test_a_jod_needs_its_package(
    immunizer: Immunizer, photo_file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    cvvdp._loaded.cache_clear()
    with pytest.raises(MetricUnavailable, match="needs the package pycvvdp"):
        immunizer.immunize(read_photo(photo_file), quick(PRESETS[DEFAULT]), aim=Aim(jod=9.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--visibility", "lo"], "no visibility named 'lo'; did you mean 'low'"),
        (["--visibility", "3"], "--visibility must be a word or a JOD from 5 to below 10, got 3"),
        (["--visibility", "low", "--budget", "8"], "leave out one"),
        (["--visibility", "9.5", "--budget", "8"], "leave out one"),
        (["--visibility", "low", "--recipe", "fast-linf"], "leave out --visibility, or use"),
    ],
)
def test_wrong_strengths_are_told_before_the_work(
    photo_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
):
    monkeypatch.setattr("sys.argv", ["photovax", "immunize", str(photo_file), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert os.listdir(photo_file.parent) == ["photo.png"]


def quick(recipe: Recipe) -> Recipe:
    return replace(recipe, steps=10, size=128, views=recipe.views[:1])


def test_a_jod_that_nothing_keeps_is_not_reached_whatever_passes():
    aim = Aim(jod=9.9, passing=True)
    assert aimed(aim, passes=lambda _: True, unseen=lambda _: False) == (None, False)
    share, reached = aimed(aim, passes=lambda _: True, unseen=lambda share: share < 0.5)
    assert reached
    assert share is not None
    assert share < 0.01


def test_a_jod_is_kept_where_nothing_passes():
    aim = Aim(jod=9.9, passing=True)
    share, reached = aimed(aim, passes=lambda _: False, unseen=lambda share: share < 0.5)
    assert not reached
    assert share == pytest.approx(0.5, abs=0.02)
    assert aimed(Aim(passing=True), passes=lambda _: False, unseen=lambda _: True) == (None, False)


def test_the_recipe_itself_is_tried():
    share, reached = aimed(
        Aim(passing=True), passes=lambda share: 0.9 <= share <= 1.2, unseen=lambda _: True
    )
    assert reached
    assert share == pytest.approx(0.9, abs=0.02)


@needs_cvvdp
@pytest.mark.parametrize("quality", [85, 30])
def test_a_jod_is_that_of_the_compressed_file(immunizer: Immunizer, photo_file: Path, quality: int):
    photo, recipe = read_photo(photo_file), quick(PRESETS[DEFAULT]).near_jod(9.5)
    compression = Compression("JPEG", quality)
    result = immunizer.immunize(photo, recipe, aim=Aim(jod=9.5), compression=compression)
    saved = immunizer.save(result, photo_file.with_name("out.jpg"))
    found = jod(photo.pixels, read_photo(saved.path).pixels)
    assert found is not None
    assert result.reached is (found >= 9.5)
    if quality == 85:
        assert found < 9.56
    else:  # the compression alone is seen
        assert saved.notes[-1] == (
            "no strength keeps 9.5 JOD after JPEG, quality 30, 4:2:0; the recipe's is used"
        )
        assert result.recipe.radius == recipe.radius
        assert json.loads(saved.record.read_text())["notes"] == list(saved.notes)


@needs_cvvdp
def test_what_has_no_jod_is_refused_before_the_work(
    immunizer: Immunizer, photo_file: Path, monkeypatch: pytest.MonkeyPatch
):
    banner = photo_file.with_name("banner.png")
    with Image.open(photo_file) as picture:
        picture.resize((4000, 15)).save(banner)
    recipe, aim = quick(PRESETS[DEFAULT]), Aim(jod=9.5)
    monkeypatch.setattr(immunizer, "_attacker", None)
    with pytest.raises(MetricUnavailable, match="JOD is not defined for 4000 x 15 pixels"):
        immunizer.immunize(read_photo(banner), recipe, aim=aim)
    limited = copy(immunizer)
    limited.memory = 2**20
    with pytest.raises(MetricUnavailable, match=r"jod takes .* of memory"):
        limited.immunize(read_photo(photo_file), recipe, aim=aim)


@needs_cvvdp
def test_memory_that_runs_out_in_a_search_costs_no_work(
    immunizer: Immunizer, photo_file: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise MetricUnavailable("jod takes 9 GiB of memory")

    monkeypatch.setattr("photovax.immunized.jod", full)
    recipe = quick(PRESETS[DEFAULT])
    result = immunizer.immunize(read_photo(photo_file), recipe, aim=Aim(jod=9.5))
    assert result.missed == "jod takes 9 GiB of memory; the recipe's strength is used"
    assert result.recipe == recipe


def test_a_search_stays_within_what_a_budget_can_be(immunizer: Immunizer, photo_file: Path):
    recipe = quick(PRESETS[LINF].with_levels(120))
    result = immunizer.immunize(read_photo(photo_file), recipe, aim=Aim(passing=True))
    assert result.reached
    assert result.recipe.radius < recipe.radius
