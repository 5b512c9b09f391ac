"""The examples of docs/service.md do what they say."""

import itertools
import json
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from photovax.certificates.document import parse_certificate
from photovax.demo import SAMPLE
from photovax.pictures.photo import read_photo
from tests.places import ROOT
from tests.serving import recipe_file, served

PAGE = ROOT / "docs/service.md"
DEFAULT = "http://127.0.0.1:8765"
CURL = shutil.which("curl")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    with served(folder / "data", recipe_file(folder)) as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a reader of the examples would be: beside a photo."""
    with Image.open(SAMPLE) as sample:
        sample.crop((150, 20, 246, 100)).save(tmp_path / "photo.jpg", quality=92)
    return tmp_path


def _block(start: str) -> str:
    """The indented block of the page that starts so."""
    lines = PAGE.read_text("utf-8").splitlines()
    first = lines.index(next(line for line in lines if line.startswith(f"    {start}")))
    block = itertools.takewhile(lambda line: line.startswith("    ") or not line, lines[first:])
    return textwrap.dedent("\n".join(block)).strip()


@pytest.mark.skipif(CURL is None, reason="needs curl")
def test_the_curl_examples(address, folder):
    ids: dict[str, str] = {}
    answers: dict[str, str] = {}
    for line in _block("curl").splitlines():
        url = line.rpartition(" ")[2]
        kind = url.removeprefix(f"{DEFAULT}/v1/").partition("/")[0]
        command = shlex.split(line.replace(DEFAULT, address).replace("/ID", f"/{ids.get(kind)}"))
        assert command.pop(0) == "curl"
        done = subprocess.run(  # noqa: S603
            [str(CURL), "-q", "-sS", "--fail-with-body", "--noproxy", "*", *command],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        answers[line] = done.stdout
        if "-F" in command:
            job = json.loads(done.stdout)
            ids[job["kind"]] = job["id"]
        if url.endswith("/events"):
            assert "event: end" in done.stdout
            assert json.loads(done.stdout.split("data: ")[-1])["state"] == "done"
    assert {"immunizations", "renewals", "checks", "edits"} == set(ids)
    made = read_photo(folder / "photo.immunized.jpg")
    assert (made.pixels.shape, made.format) == ((80, 96, 3), "JPEG")
    assert read_photo(folder / "edited.png").pixels.shape == (64, 80, 3)
    says = parse_certificate((folder / "certificate.json").read_text("utf-8"))[0]
    assert [model.name for model in says.models] == ["embedded"]
    listed = json.loads(next(text for line, text in answers.items() if line.endswith("/models")))
    assert [model["name"] for model in listed] == ["embedded"]


def test_the_python_example(address, folder, monkeypatch):
    monkeypatch.chdir(folder)
    exec(_block("from photovax.client").replace(DEFAULT, address), {})  # noqa: S102
    assert read_photo("photo.immunized.jpg").pixels.shape == (80, 96, 3)
    parse_certificate(Path("photo.certificate.json").read_text("utf-8"))
