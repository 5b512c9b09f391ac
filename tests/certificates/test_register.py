"""The register of models, and which certificates are stale."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from photovax.certificates.document import Budget, Certificate, Effect, ModelFacts, PhotoFacts
from photovax.certificates.issuing import Issuer
from photovax.certificates.keys import KeyRing
from photovax.certificates.register import Register, Registered, gaps, registered, today
from photovax.cli import app
from photovax.errors import ModelError, UnknownName, UsageError
from photovax.version import VERSION


def _model(name: str = "a", version: str = "1", digit: str = "1", **days: date) -> Registered:
    dates = {"since": date(2026, 1, 1), **days}
    return Registered(name=name, version=version, model=name, sha256=digit * 64, **dates)


def _certificate(*models: Registered, verdict: str = "PASS") -> Certificate:
    effect = Effect(shift=0.5, damage=None)
    return Certificate(
        kind="photovax certificate",
        version=1,
        serial="0",
        issued="2026-01-01T00:00:00Z",
        key="0",
        software="",
        photo=PhotoFacts(sha256="0" * 64, dhash="0" * 16, width=1, height=1),
        recipe="",
        budget=Budget(norm="linf", unit="levels", total=8.0, used=8.0),
        visible={},
        models=tuple(
            ModelFacts.model_validate(
                {
                    "name": each.name,
                    "sha256": each.sha256,
                    "attacked": "",
                    "size": 64,
                    "effect": effect,
                    "floor": effect,
                    "verdict": verdict,
                    "survival": {},
                    "measured": "against the original",
                }
            )
            for each in models
        ),
        not_covered=(),
        renews=None,
    )


def test_a_register_begins_with_the_embedded_model(tmp_path):
    (first,) = Register(tmp_path / "r.json")
    assert first.name == "embedded"
    assert first.since == today()
    assert Register(tmp_path / "r.json").supported() == (first,)


def test_support_ends_after_its_last_day(tmp_path):
    register = Register(tmp_path / "r.json")
    (first,) = register
    register.add(_model("next", since=today() + timedelta(days=2)))
    register.end("embedded", first.version, today() + timedelta(days=1))
    days = [[m.name for m in register.supported(today() + timedelta(days=n))] for n in range(4)]
    assert days == [["embedded"], ["embedded"], ["next"], ["next"]]
    assert len(list(register)) == 2


def test_what_cannot_be_registered(tmp_path):
    register = Register(tmp_path / "r.json")
    (first,) = register
    with pytest.raises(UsageError, match="already"):
        register.add(first)
    folders = [tmp_path / name / "vae" for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    register.add(replace(_model("one"), model=str(folders[0])))
    with pytest.raises(UsageError, match="two models would be called 'vae'"):
        register.add(replace(_model("two"), model=str(folders[1])))
    later = replace(_model("two"), model=str(folders[1]), since=today() + timedelta(days=1))
    with pytest.raises(UsageError, match="two models would be called 'vae'"):
        register.add(later)  # from tomorrow on both would be supported
    register.end("one", "1", today())
    register.add(replace(later, name="three"))
    register.end("three", "1", later.since)
    register.end("one", "1", today() - timedelta(days=1))
    register.add(replace(_model("two"), model=str(folders[1])))
    with pytest.raises(UnknownName, match="embedded"):
        register.end("embeded", first.version, today())
    with pytest.raises(UnknownName):
        registered("nothing")
    with pytest.raises(UsageError, match="before it begins"):
        registered("embedded", until=date(2000, 1, 1))
    (tmp_path / "bad.json").write_text('{"models": [{}]}')
    with pytest.raises(UsageError, match="cannot be read"):
        list(Register(tmp_path / "bad.json"))


@pytest.mark.parametrize(
    ("certified", "verdict", "reason"),
    [
        ([_model()], "PASS", None),
        ([_model()], "WEAK", None),
        ([_model()], "FAIL", "than by noise"),
        ([_model("b", digit="2")], "PASS", "since 2026-01-01"),
        ([_model(digit="2")], "PASS", "weights differ"),
        ([], "PASS", "since 2026-01-01"),
    ],
)
def test_what_a_certificate_lacks(certified, verdict, reason):
    found = gaps(_certificate(*certified, verdict=verdict), [_model()])
    assert [reason in gap.reason for gap in found] == ([] if reason is None else [True])


def test_weights_that_changed_are_refused(tmp_path):
    changed = Registered("embedded", "1", "embedded", "0" * 64, today())
    with pytest.raises(ModelError, match="have changed since they were registered"):
        Issuer([changed], KeyRing(tmp_path))


def test_the_command_line_adds_ends_and_lists(tmp_path: Path, editor_folder: Path):
    def photovax(*arguments: object) -> Result:
        command = ["register", *map(str, arguments), "--data", str(tmp_path)]
        return CliRunner().invoke(app, command)

    added = photovax(
        "add", editor_folder, "--version", "7", "--name", "big", "--until", "2099-01-01"
    )
    assert added.exit_code == 0, added.stderr
    assert photovax("end", "big", "7", "--until", "2098-12-31").exit_code == 0
    listed = json.loads(photovax("list", "--json").stdout)
    assert [(row["name"], row["until"]) for row in listed] == [
        ("embedded", None),
        ("big", "2098-12-31"),
    ]
    twice = photovax("add", "embedded", "--version", "1", "--name", "other")
    line = "  the same weights as {}: what covers one covers both"
    assert twice.stdout.splitlines()[1:] == [line.format(f"embedded {VERSION}")]
    shown = photovax("list").stdout.splitlines()
    assert shown.count(line.format(f"embedded {VERSION}")) == 1
    assert shown[shown.index(f"embedded {VERSION}: since {today()}") + 2] == line.format("other 1")
    wrong = photovax("add", editor_folder, "--version", "8", "--since", "soon")
    assert isinstance(wrong.exception, UsageError)
    assert "YYYY-MM-DD" in str(wrong.exception)


def test_listing_creates_nothing(tmp_path):
    folder = tmp_path / "mistyped"
    listed = CliRunner().invoke(app, ["register", "list", "--data", str(folder)])
    assert (listed.exit_code, listed.stdout[:15]) == (0, "no register at ")
    listed = CliRunner().invoke(app, ["register", "list", "--json", "--data", str(folder)])
    assert json.loads(listed.stdout) == []
    assert not folder.exists()


def test_the_day_that_ends_a_model_is_told_once():
    helped = CliRunner().invoke(app, ["register", "end", "--help"], env={"COLUMNS": "200"}).stdout
    assert "Last day of support. [default: today]" in helped
    assert "open" not in helped
