"""Registered parts, and those of other packages."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from photovax import registry
from photovax.errors import UnknownName, UsageError
from photovax.registry import Part, Registry

if TYPE_CHECKING:
    from decimal import Decimal as Fabric  # as what is heavy is imported


@dataclass(frozen=True)
class Frame:
    """A part with options of every plain type."""

    width: float
    dashed: bool = False
    colour: str | None = None
    bars: int = 1
    lining: "Fabric | None" = None


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    """A registry, and packages that add to it: one that works, and several that do not."""
    (tmp_path / "good_frames.py").write_text("def oval(*, width=1):\n    return ('oval', width)\n")
    (tmp_path / "bad_frames.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    group = "photovax.frames"
    entries = (
        EntryPoint("oval", "good_frames:oval", group),
        EntryPoint("broken", "bad_frames:frame", group),
        EntryPoint("misspelt", "good_frames:ovel", group),
        EntryPoint("plain", "good_frames:oval", group),
    )
    monkeypatch.setattr(registry, "entry_points", lambda *, group: entries)
    frames: Registry[object] = Registry("frame")
    frames.register("plain")(Frame)
    frames.register("wide")(Frame)
    return frames


def test_a_plugin_is_a_part_like_any_other(plugins):
    assert list(plugins) == ["broken", "misspelt", "oval", "plain", "wide"]
    assert plugins.create(Part("oval", {"width": 2})) == ("oval", 2)
    assert plugins.create(Part("oval")) == ("oval", 1)


@pytest.mark.parametrize(
    ("name", "place", "reason"),
    [
        ("broken", "bad_frames:frame", "No module named 'a_package_that_is_not_there'"),
        ("misspelt", "good_frames:ovel", "no attribute 'ovel'"),
    ],
)
def test_a_broken_plugin_is_named_each_time_and_disturbs_no_other(plugins, name, place, reason):
    for _ in range(2):
        with pytest.raises(UsageError, match=f"'{name}'.*'{place}'.*{reason}"):
            plugins.create(Part(name))
        assert plugins.create(Part("wide", {"width": 1})) == Frame(1)
        assert plugins.create(Part("oval")) == ("oval", 1)


def test_a_plugin_does_not_take_the_name_of_another_part(plugins):
    for _ in range(2):
        with pytest.raises(UsageError, match="'plain' is registered twice"):
            plugins.create(Part("plain", {"width": 1}))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "width"),
        ({"width": 1, "depth": 2}, "depth"),
        ({"width": "1"}, "width must be a number, got '1'"),
        ({"width": True}, "width must be a number, got True"),
        ({"width": 1, "dashed": "no"}, "dashed must be true or false, got 'no'"),
        ({"width": 1, "colour": 3}, "colour must be a text or nothing, got 3"),
        ({"width": 1, "bars": 1.5}, "bars must be a whole number, got 1.5"),
    ],
)
def test_options_that_do_not_fit_are_named(plugins, options, reason):
    with pytest.raises(UsageError, match=f"'wide' does not take these options: .*{reason}"):
        plugins.create(Part("wide", options))


def test_an_error_inside_a_maker_is_no_word_on_its_options(plugins):
    @plugins.register("mistaken")
    def make(width: Any) -> object:
        return width + "px"

    with pytest.raises(TypeError, match="unsupported operand"):
        plugins.create(Part("mistaken", {"width": 1}))


def test_what_is_offered_goes_to_makers_that_name_it(plugins):
    @plugins.register("placed")
    def make(*, device: str = "auto") -> str:
        return device

    assert plugins.create(Part("placed"), device="cuda", weights=None) == "cuda"
    assert plugins.create(Part("placed", {"device": "cpu"}), device="cuda") == "cpu"
    assert plugins.create(Part("wide", {"width": 1}), device="cuda") == Frame(1)


def test_unknown_names_say_what_is_near(plugins):
    with pytest.raises(UnknownName, match="no frame named 'ovaal'; did you mean 'oval'"):
        plugins.create(Part("ovaal"))
    with pytest.raises(UsageError, match="'wide' is already registered"):
        plugins.register("wide")(Frame)
