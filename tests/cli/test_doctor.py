"""``photovax doctor``."""

import json
import subprocess
import sys

import pytest

from photovax import doctor
from photovax.cli import main


def run(code, *arguments):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, "doctor", *arguments], capture_output=True, text=True
    )


def test_arguments_are_checked_before_anything_heavy_is_loaded():
    done = run(
        "import sys\nfrom photovax.cli import main\ntry: main()\n"
        "finally: print([m for m in ('torch', 'diffusers', 'numpy') if m in sys.modules])",
        "--devise",
    )
    assert done.returncode == 2
    assert done.stdout.strip() == "[]"


def test_a_broken_pytorch_is_told_in_a_line():
    done = run("import sys\nsys.modules['torch'] = None\nfrom photovax.cli import main\nmain()")
    assert done.returncode == 1, done.stderr
    assert "trial         PyTorch cannot be imported" in done.stdout
    assert "to change     install PyTorch again" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("problem", [None, "an immunization changes no pixel"])
def test_the_lines_and_the_json_say_the_same(problem, monkeypatch, capsys, cache):
    monkeypatch.setattr(doctor, "_trial", lambda _device: doctor.Trial(problem, 2.0))
    said = []
    for form in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["photovax", "doctor", "--device", "cpu", *form])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == (0 if problem is None else 1)
        said.append(capsys.readouterr().out)
    text, found = said[0], json.loads(said[1])
    assert found["works"] == (problem is None)
    assert found["trial"]["problem"] == problem
    assert (problem or "immunized and edited, 2 s") in text
    for name, installed in found["versions"].items():
        assert f"{name} {installed}" in text
    for name, extra in found["extras"].items():
        assert f"{name} " in text
        assert all(package in text for package in extra["lacking"])
    assert f"allocator     {found['allocator']}" in text
    assert "weights       embedded\n" in text


def test_a_device_that_is_not_there_is_a_mistake(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["photovax", "doctor", "--device", "abacus"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
