"""What clients may ask for: recipes, levels, visibilities, the total."""

from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import load_recipe
from photovax.cli import app
from photovax.errors import UsageError
from photovax.evaluation.true_edits import find_true_edit
from photovax.service.app import build_app
from photovax.service.http.offer import Offer
from tests.service.asking import HOME, LIMIT, detail_of, post, settings_in
from tests.serving import recipe_file


def test_what_may_be_asked_for_is_told(idle, photo, tmp_path):
    told = idle.get("/v1/limits").json()
    requests = told.pop("requests")
    assert len(requests) > 10
    assert all(find_true_edit(request) for request in requests)
    assert told == {
        "levels": 32.0,
        "usual_levels": 24.0,
        "visibilities": list(VISIBILITY),
        "usual_visibility": "medium",
        "radii": {"low": 0.46, "medium": 0.73, "high": 0.92},
        "recipes": ["quick"],
        "bytes": LIMIT,
        "pixels": 100_000,
    }
    content = photo.read_bytes()
    detail_of(post(idle, content, data={"levels": "33"}), 422, "wrong-request")
    length = {"budget": {"name": "l2", "options": {"radius": 8}}, "step_share": 0.5}
    recipe = recipe_file(tmp_path, "length", **length)
    settings = settings_in(tmp_path, recipe=str(recipe), total=None)
    with TestClient(build_app(settings), base_url=HOME) as web:
        told = web.get("/v1/limits").json()
        assert told["levels"] is told["usual_levels"] is told["usual_visibility"] is None
        assert told["visibilities"] == []
        assert told["radii"] == {}
        said = detail_of(post(web, content, data={"levels": "8"}), 422, "wrong-request")
        assert "no largest change" in said


def test_a_provider_sets_the_usual_visibility(idle, photo, tmp_path):
    settings = settings_in(tmp_path, visibility="low", recipes=("fast-linf",))
    with TestClient(build_app(settings), base_url=HOME) as web:
        told = web.get("/v1/limits").json()
        assert (told["visibilities"], told["usual_visibility"]) == (list(VISIBILITY), "low")
    usual, linf = (load_recipe(name) for name in ("fast", "fast-linf"))
    assert settings.strength(usual) == usual.with_visibility("low")
    assert settings.strength(linf) == linf
    for options, match in (
        (["--visibility", "low", "--budget", "8"], "--budget"),
        (["--visibility", "lo"], "one of low, medium, high, got 'lo'"),
        (["--visibility", "low", "--recipe", "fast-linf"], "leave out --visibility"),
    ):
        done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path / "other"), *options])
        assert isinstance(done.exception, UsageError)
        assert match in done.exception.line


def test_a_total_below_the_budget_is_refused_at_the_start(tmp_path):
    also = recipe_file(tmp_path, "strong", preset="fast-linf", budget=_linf(40))
    for options, less, more, name in (
        ({"total": 4}, 4, 24, "quick"),
        ({"recipes": (str(also),)}, 32, 40, "strong"),
    ):
        with pytest.raises(UsageError, match=f"{less} .* {more} .* {name}"):
            build_app(settings_in(tmp_path, **options))
    build_app(settings_in(tmp_path, recipes=(str(also),), total=40))


def test_a_total_is_for_recipes_of_its_unit(tmp_path):
    budget = {"name": "l2", "options": {"radius": 20}}
    length = recipe_file(tmp_path, "length", budget=budget, step_share=0.5)
    levels = settings_in(tmp_path, recipes=(str(length),))
    lengths = settings_in(tmp_path, recipe=str(length), recipes=("fast-linf",), total=30)
    linf, l2 = load_recipe("fast-linf"), load_recipe(str(length))
    assert (levels.total_for(linf), levels.total_for(l2)) == (32, None)
    assert (lengths.total_for(linf), lengths.total_for(l2)) == (None, 30)
    assert Offer(levels).most == 32
    # A total that is a length bounds no levels.
    assert Offer(lengths).most == 16
    assert Offer(lengths).most_levels is None


def test_an_unknown_recipe_is_said_to_be_unknown_whatever_else_is_asked(idle, photo):
    content = photo.read_bytes()
    for more in ({}, {"levels": "8"}, {"levels": "200"}, {"visibility": "low"}):
        said = detail_of(post(idle, content, data={"recipe": "x", **more}), 422, "no-such-recipe")
        assert "quick" in said


def _linf(levels: float) -> dict[str, Any]:
    return {"name": "linf", "options": {"radius": levels / 255}}
