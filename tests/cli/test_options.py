"""Options with a range: a value outside is refused in a line that names what was typed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import typer
from PIL import Image
from typer.models import OptionInfo

from photovax.cli import app, main

PHOTO = "photo.png"
REQUIRED = {
    "immunize": [PHOTO],
    "check": [PHOTO, "--original", PHOTO],
    "edit": [PHOTO, "--prompt", "x", "-o", "o.png", "--mode", "img2img"],
    "evaluate": [PHOTO, "-o", "out"],
    "renew": [PHOTO, "--certificate", "c.json"],
    "certificate issue": [PHOTO, "--original", PHOTO],
    "certificate verify": ["c.json"],
    "sign": [PHOTO],
    "serve": [],
    "train-immunizer": ["--photos", ".", "-o", "n.safetensors"],
    "models export-network": ["embedded", "-o", "n.onnx"],
}
# In no range of any option; those of single options follow below.
NEVER = ["nan", "inf", "-inf", "-1", "1e999", "x", ""]
EDGES = [
    ("immunize", "--budget", ["0", "255.01", "300"], "above 0 and up to 255"),
    ("immunize", "--visibility", ["4.9", "10"], "from 5 to below 10"),
    ("immunize", "--time", ["0"], "0.001 or more"),
    ("train-immunizer", "--minutes", ["0"], "above 0"),
    ("immunize", "--size", ["0", "63", "100", "64.0"], "a multiple of 8 from 64 up"),
    ("immunize", "--seed", [str(2**63), "1.5"], f"from 0 to {2**63 - 1}"),
    ("immunize", "--max-pixels", ["0", "1.5"], "1 or more"),
    ("edit", "--strength", ["0", "1.1"], "above 0 and up to 1"),
    ("edit", "--guidance", ["0", "0.9"], "1 or more"),
    ("edit", "--image-guidance", ["0"], "1 or more"),
    ("edit", "--steps", ["0", "1001", "2.5"], "from 1 to 1000"),
    ("evaluate", "--seeds", ["0"], "1 or more"),
    ("certificate issue", "--total", ["0"], "above 0"),
    ("serve", "--port", ["0", "65536"], "from 1 to 65535"),
    ("serve", "--budget", ["0", "300"], "above 0 and up to 255"),
    ("serve", "--keep", ["0"], "1 or more"),
]
WORDS = [
    ("immunize", "--memory", "4", "--memory must be a size such as 4GiB or 800MiB, got 4"),
    ("immunize", "--memory", f"{'9' * 400}GiB", "--memory must be a size such as"),
    ("immunize", "--mode", "paint", "no mode named 'paint'; did you mean 'inpaint'"),
    ("immunize", "--visibility", "loud", "no visibility named 'loud' (known: low, medium, high)"),
    ("immunize", "--device", "tpu9", "device 'tpu9' cannot be used"),
    ("immunize", "--device", "meta", "device 'meta' cannot be used"),
    ("evaluate", "--budget", "8,300", "--budget takes levels above 0 and up to 255, got 8,300"),
    ("evaluate", "--budget", "nan", "--budget takes levels above 0 and up to 255, got nan"),
    ("evaluate", "--shard", "3/2", "--shard takes I/N with I from 1 to N, got 3/2"),
    ("evaluate", "--shard", "1/0", "--shard takes I/N with I from 1 to N, got 1/0"),
    ("serve", "--visibility", "loud", "--visibility must be one of low, medium, high, got 'loud'"),
    ("register end x 1", "--until", "soon", "--until must be a day, YYYY-MM-DD, got 'soon'"),
    ("register add x --version 1", "--since", "31.1.2026", "--since must be a day, YYYY-MM-DD"),
]
INNER = ("radius", "step_size", "Budget", "recipe ")  # the names of fields, which nobody types


def commands(group: typer.Typer = app, before: str = "") -> Iterator[tuple[str, Any]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield before + (command.name or command.callback.__name__), command.callback
    for added in group.registered_groups:
        assert added.typer_instance is not None
        yield from commands(added.typer_instance, f"{before}{added.name} ")


def numbers() -> Iterator[tuple[str, str, OptionInfo]]:
    """Every option of every command that takes a number."""
    for command, called in commands():
        for name, hint in get_type_hints(called, include_extras=True).items():
            info = next((each for each in get_args(hint) if isinstance(each, OptionInfo)), None)
            if info is None:
                continue
            kind = get_args(hint)[0]
            kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
            if {int, float} & set(kinds):
                assert name in inspect.signature(called).parameters
                # Where a default is no setting of Typer's, the first name is in its place.
                names = [str(info.default), *(info.param_decls or ())]
                typed = next((each for each in names if each.startswith("--")), "")
                yield command, typed or f"--{name.replace('_', '-')}", info


NUMBERS = list(numbers())


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """The one line that the command line refuses some arguments with."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save(PHOTO)

    def run(command: str, option: str, value: str) -> str:
        arguments = [*command.split(), *REQUIRED.get(command, ()), f"{option}={value}"]
        monkeypatch.setattr("sys.argv", ["photovax", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        (line,) = err.splitlines()
        assert not any(name in line for name in INNER), line
        assert [path.name for path in tmp_path.iterdir()] == [PHOTO]
        return str(line).removeprefix("photovax: ")

    return run


def test_every_number_has_a_range():
    assert {command for command, _, _ in NUMBERS} == set(REQUIRED)
    for command, option, info in NUMBERS:
        assert info.parser is not None, f"{command} {option} needs options.number"


@pytest.mark.parametrize(
    ("command", "option"), [(command, option) for command, option, _ in NUMBERS]
)
def test_what_is_never_in_range_is_refused_by_the_options_name(command, option, refused):
    for value in NEVER:
        line = refused(command, option, value)
        assert line.startswith(f"{option} must be "), line
        assert line.endswith((f"got {value}", f"got {value!r}")), line


@pytest.mark.parametrize(("command", "option", "values", "allowed"), EDGES)
def test_the_ends_of_a_range_are_told(command, option, values, allowed, refused):
    for value in values:
        line = refused(command, option, value)
        assert line.startswith(f"{option} must be "), line
        assert line.endswith(f"{allowed}, got {value}"), line


@pytest.mark.parametrize(("command", "option", "value", "says"), WORDS)
def test_other_values_are_told_too(command, option, value, says, refused):
    assert says in refused(command, option, value)
