"""What a page of docs/ tells its reader to do, and a reader who does it.

Indented lines are commands. A fenced block of code is run, or written to the file that its first
line names as ``# NAME``.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from photovax.attack.objectives import OBJECTIVES
from photovax.cli import main
from tests.places import ROOT

DOCS = ROOT / "docs"
PACKAGED = ("python3 -m venv venv", ". venv/bin/activate")
"""Commands of an installation, which ``make package`` does in an environment of its own."""
JUDGED = {"check": {0, 10, 11}, "immunize": {0, 11}, "certificate": {0, 10}}
"""Exit codes of commands that say how strong an effect is, or whether it is of today's models."""


@dataclass(frozen=True)
class Step:
    """Something to do.

    Attributes:
        kind: ``command``, or the language of a block.
        text: What to type or to write.
    """

    kind: str
    text: str


def steps(page: Path) -> Iterator[Step]:
    """What a page says, in its order; blocks that show what is printed are left out."""
    block: list[str] | None = None
    language = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            if block is None:
                block, language = [], line.removeprefix("```").strip("{}")
            else:
                if language not in ("text", "toctree", "include", "eval-rst"):
                    yield Step(language, "\n".join(block) + "\n")
                block = None
        elif block is not None:
            block.append(line)
        elif line.startswith("    "):
            yield Step("command", line.strip())


@dataclass
class Reader:
    """Someone who follows a page in the current folder.

    Attributes:
        told: How lines are read, for what only the reader can know, such as a path of theirs.
        by: Functions that do what a program does, for those that need more than the folder.
        done: Commands that were run.
    """

    monkeypatch: pytest.MonkeyPatch
    told: dict[str, str] = field(default_factory=dict)
    by: dict[str, Callable[[list[str]], None]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def follow(self, name: str) -> None:
        """Do what a page says."""
        for step in steps(DOCS / name):
            self._do(step)
        assert self.done

    def _do(self, step: Step) -> None:
        text = step.text
        for line, read in self.told.items():
            text = text.replace(line, read)
        named = re.match(r"# (\S+\.\w+)\n", text)
        if named:
            Path(named[1]).write_text(text, encoding="utf-8")
        elif step.kind == "python":
            exec(compile(text, "a page", "exec"), {})  # noqa: S102
        elif step.kind == "command":
            self.run(text)
        else:
            assert step.kind in {"ini"}, f"nobody runs this block: {text}"

    def run(self, line: str) -> None:
        """Run a command."""
        self.done.append(line)
        program, *arguments = shlex.split(line, comments=True)
        do = self.by.get(" ".join([program, *arguments[:1]])) or self.by.get(program)
        if do is not None:
            do(arguments)
        elif program == "photovax":
            self.photovax(arguments)
        elif program == "pip":
            self._install(arguments)
        elif program == "mkdir":
            subprocess.run([program, *arguments], check=True)  # noqa: S603
        else:
            assert line in PACKAGED, f"nobody runs this line: {line}"

    def photovax(self, arguments: list[str]) -> int:
        """Run the program in this process, and return its exit code."""
        self.monkeypatch.setattr("sys.argv", ["photovax", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = int(ended.value.code or 0)
        assert code in JUDGED.get(arguments[0], {0}), (arguments, code)
        return code

    def _install(self, arguments: list[str]) -> None:
        """Look at what is asked for, which the environment of the tests has."""
        verb, *rest = arguments
        assert verb == "install"
        if rest == ["-e", "."]:
            _plug_in(Path.cwd(), self.monkeypatch)
            return
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        (wanted,) = rest
        named = re.fullmatch(r"(?:photovax|\.)\[([a-z,0-9]+)\]", wanted)
        assert named, wanted
        assert set(named[1].split(",")) <= set(project["optional-dependencies"])


def _plug_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a package as an installation makes it known."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    made = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    made.mkdir()
    named = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\n{named}")
    lines = [
        line
        for group, parts in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in parts.items()))
    ]
    (made / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder)
    # What is installed is looked up once in a process.
    found = tuple(entry_points(group="photovax.objectives"))
    monkeypatch.setitem(vars(OBJECTIVES), "_plugins", found)


def environment(home: Path) -> dict[str, str]:
    """That of a shell at home, in which the program is on the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "HOME": str(home), "PATH": path, "SHELL": "/bin/bash"}
