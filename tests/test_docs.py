"""The pages of docs/ do what they say, and are up to date."""

import itertools
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.main import get_command

import photovax
from photovax.attack.objectives import OBJECTIVES
from photovax.attack.presets import PRESETS, load_recipe
from photovax.batch.watch import Watch
from photovax.certificates.document import parse_certificate
from photovax.cli import app
from photovax.doctor import EXTRAS
from photovax.evaluation.plan import NOISE
from photovax.models.catalog import hub
from photovax.models.catalog.entries import CATALOG
from photovax.models.views import VIEWS
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from tests.hub_cache import keep
from tests.models.transformer.pipelines import take_small_pictures
from tests.models.transformer.untrained import save_flows
from tests.pages import DOCS, Reader, environment, steps
from tests.places import ROOT
from tests.serving import recipe_file, served

NOTEBOOK = DOCS / "notebook.ipynb"
NBCLIENT = """
import sys, nbclient, nbformat
cells = nbformat.read(sys.argv[1], as_version=4)
# The usual seconds are few on a busy machine, and output that comes later would be left out.
nbclient.NotebookClient(
    cells, startup_timeout=600, iopub_timeout=120, resources={"metadata": {"path": sys.argv[2]}}
).execute()
nbformat.write(cells, sys.argv[1])
"""
PAGE = DOCS / "service.md"
DEFAULT = "http://127.0.0.1:8765"
CURL = shutil.which("curl")
BASH = shutil.which("bash")
needs_curl = pytest.mark.skipif(CURL is None, reason="needs curl")


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


@pytest.fixture
def reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A reader in that folder, for whom recipes are short and the editor is fed little."""
    quick = {name: replace(each, steps=2, size=64) for name, each in PRESETS.items()}
    monkeypatch.setattr("photovax.attack.presets.PRESETS", quick)
    monkeypatch.setitem(CATALOG, "embedded", replace(CATALOG["embedded"], size=64))
    monkeypatch.chdir(folder)
    return Reader(monkeypatch)


def _block(start: str) -> str:
    """The indented block of the page that starts so."""
    lines = PAGE.read_text("utf-8").splitlines()
    first = lines.index(next(line for line in lines if line.startswith(f"    {start}")))
    block = itertools.takewhile(lambda line: line.startswith("    ") or not line, lines[first:])
    return textwrap.dedent("\n".join(block)).strip()


def _curl(command: list[str], folder: Path) -> str:
    done = subprocess.run(  # noqa: S603
        [str(CURL), "-q", "-sS", "--fail-with-body", "--noproxy", "*", *command],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@needs_curl
def test_the_curl_examples(address, folder):
    ids: dict[str, str] = {}
    answers: dict[str, str] = {}
    for line in _block("curl").splitlines():
        url = line.rpartition(" ")[2]
        kind = url.removeprefix(f"{DEFAULT}/v1/").partition("/")[0]
        command = shlex.split(line.replace(DEFAULT, address).replace("/ID", f"/{ids.get(kind)}"))
        assert command.pop(0) == "curl"
        answers[line] = _curl(command, folder)
        if "-F" in command:
            job = json.loads(answers[line])
            ids[job["kind"]] = job["id"]
        if url.endswith("/events"):
            assert "event: end" in answers[line]
            assert json.loads(answers[line].split("data: ")[-1])["state"] == "done"
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


def test_the_tutorial(reader, capsys):
    Path("photo.jpg").rename("me.jpg")
    reader.follow("tutorial.md")
    printed = capsys.readouterr().out
    assert re.search(r"^  seen +JOD .*\n  embedded +latent moved by .*", printed, re.MULTILINE)
    assert re.search(r"^  verdict +(PASS|WEAK|FAIL): ", printed, re.MULTILINE)
    assert Path("edit-of-immunized.png").read_bytes() != Path("edit-of-original.png").read_bytes()
    assert read_photo("me.safe.png").pixels.shape == (80, 96, 3)


def test_a_folder_for_the_web(reader):
    Path("photos").mkdir()
    Path("photo.jpg").rename("photos/portrait.jpg")
    reader.by["photovax check"] = _served(reader, Path("web/portrait.jpg"))
    reader.follow("howto/folder.md")
    assert b"DMI-PROHIBITED" in Path("web/portrait.jpg").read_bytes()
    assert "portrait" in Path("web.html").read_text("utf-8")


def _served(reader: Reader, published: Path):
    """``photovax check``, once the platform has a copy of what was published."""

    def check(arguments: list[str]) -> None:
        with Image.open(published) as photo:
            photo.save("served.jpg", quality=85)
        reader.photovax(arguments)

    return check


def test_exports_that_are_watched(reader, monkeypatch):
    pytest.importorskip("watchfiles")
    looks = itertools.count()

    def come_and_go(self: Watch) -> None:
        """A photo comes, is complete when it is looked at again, and then the reader leaves."""
        match next(looks):
            case 0:
                Path("photo.jpg").rename("exports/photo.jpg")
            case 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "wait", come_and_go)
    monkeypatch.setattr("photovax.batch.watch._QUIET", 0.0)
    reader.follow("howto/watch.md")
    assert read_photo("immunized/photo.jpg").format == "JPEG"
    unit = next(step for step in steps(DOCS / "howto/watch.md") if step.kind == "ini")
    started = re.search(r"^ExecStart=%h/venv/bin/photovax (.*)$", unit.text, re.MULTILINE)
    assert started
    tried = next(shlex.split(line) for line in reader.done if "--watch" in line)
    assert [Path(word).name for word in shlex.split(started[1])] == [
        Path(word).name for word in tried[1:]
    ]


def test_flux(reader, tmp_path, cache, editor_folder, monkeypatch):
    take_small_pictures(monkeypatch)
    flux = save_flows(tmp_path / "flows", editor_folder)["kontext"]
    kind = {"_class_name": "AutoencoderKL"}
    for name in ("flux1", "flux1-kontext"):
        # The shapes of the trained weights are not those of the small ones.
        monkeypatch.setitem(CATALOG, name, replace(CATALOG[name], config=kind, size=64))

    def downloaded(repository, *, revision, allow_patterns):
        return str(keep(cache, repository, flux, commit=revision))

    monkeypatch.setattr("huggingface_hub.snapshot_download", downloaded)
    monkeypatch.setattr(hub, "_reach", lambda _name: None)
    reader.follow("howto/flux.md")
    record = json.loads(Path("photo.both.png.json").read_text("utf-8"))
    assert set(record["effects"]) == {"flux1", "embedded"}
    kontext = json.loads(Path("photo.kontext.png.json").read_text("utf-8"))
    assert set(kontext["effects"]) == {"flux1-kontext"}


@pytest.mark.usefixtures("untraced", "converted_once")
def test_one_pass(reader):
    Path("photos").mkdir()
    for name in ("a", "b"):
        shutil.copyfile("photo.jpg", f"photos/{name}.jpg")
    reader.told |= {
        "FOLDER": "photos",
        "taef2": "embedded",  # whose weights are here
        "--minutes 120": "--minutes 0.001",
        "--recipe instant ": "--recipe instant -o one.png ",
        "photo.jpg --recipe robust": "photo.jpg -o robust.png --recipe robust",
        "--network embedded": "-o trained.png --network embedded",
        "--network opposed": "-o opposed.png --network opposed",
    }
    reader.follow("networks.md")
    for name in ("trained", "opposed"):
        record = json.loads(Path(f"{name}.png.json").read_text("utf-8"))
        assert list(record["networks"]) == ["embedded"]
    assert read_photo("one.png").pixels.shape == (80, 96, 3)


@needs_curl
def test_a_provider(reader, folder, editor_folder, capsys):
    ids: list[str] = []
    verified: list[int] = []
    with ExitStack() as running:

        def serve(options: list[str]) -> None:
            if "--new-token" in options:
                capsys.readouterr()
                reader.photovax(options)
                reader.told["$TOKEN"] = capsys.readouterr().out.strip()
                return
            data = Path(options[-1])
            assert options[-2] == "--data"
            started = served(data, recipe_file(folder), *options[1:-2])
            reader.told[DEFAULT] = running.enter_context(started)

        def curl(options: list[str]) -> None:
            answer = _curl(
                [option.replace("/ID", f"/{''.join(ids)}") for option in options], folder
            )
            if "-F" in options:
                ids.append(json.loads(answer)["id"])

        reader.by |= {
            "photovax serve": serve,
            "curl": curl,
            "photovax certificate": lambda options: verified.append(reader.photovax(options)),
        }
        reader.told["/models/editor-2"] = str(editor_folder)
        reader.follow("howto/provider.md")
    assert read_photo("photo.immunized.jpg").format == "JPEG"
    assert verified == [0, 10]


def test_an_objective(reader):
    Path("photos").mkdir()
    shutil.copyfile("photo.jpg", "photos/photo.jpg")
    reader.follow("howto/objective.md")
    record = json.loads(Path("photo.immunized.png.json").read_text("utf-8"))
    assert record["recipe"]["objective"]["name"] == "latent_flat"
    assert "flat" in Path("results/table.md").read_text("utf-8")


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_completion(tmp_path):
    lines = [step.text for step in steps(DOCS / "howto/completion.md")]
    asked = "_PHOTOVAX_COMPLETE=complete_bash COMP_WORDS='photovax imm' COMP_CWORD=1 photovax"
    done = subprocess.run(  # noqa: S603
        [str(BASH), "-c", "; ".join([*lines, asked])],
        env=environment(tmp_path), capture_output=True, text=True,
    )  # fmt: skip
    assert len(lines) == 2
    assert done.stdout.splitlines()[-1] == "immunize", done.stderr
    installed = (tmp_path / ".bash_completions/photovax.sh").read_text("utf-8")
    assert installed.strip() in done.stdout
    assert "photovax.sh" in (tmp_path / ".bashrc").read_text("utf-8")


def _shown() -> Iterator[tuple[Path, list[str]]]:
    """Each command that README.md and the pages of docs/ show, as words."""
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))):
        if page.name in ("commands.md", "completion.md"):
            continue  # what help prints, and what would be installed by reading it
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
        for line in re.findall(r"^    (\S.*)$", text.replace("\\\n", " "), re.MULTILINE):
            with suppress(ValueError):  # no command, but a text with a quotation mark
                words = shlex.split(line, comments=True)
                for _, part in itertools.groupby(words, lambda word: word == "|"):
                    yield page, list(itertools.takewhile(lambda word: word != ">", part))


def _parsed(words: list[str]) -> dict[str, Any]:
    """The options of a command of photovax, as the program reads them, without running it."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    given: dict[str, Any] = command.make_context("photovax", [*words]).params
    return given


def test_commands_on_every_page_have_options_and_names_of_today():
    pages = set()
    for page, (program, *words) in _shown():
        if program == "photovax":
            pages.add(page.name)
            given = _parsed(words)
            recipes = [given.get("recipe"), *(given.get("recipes") or "").split(",")]
            for recipe in filter(None, recipes):
                assert recipe in {*PRESETS, NOISE} or recipe.endswith(".toml"), (page, words)
            named = given.get("model") or given.get("models") or ()
            for model in [named] if isinstance(named, str) else named:
                assert model in CATALOG or "/" in model, (page, words)
        elif program == "pip":
            extras = re.search(r"\[(.*)\]", words[-1])
            asked = extras[1].split(",") if extras else []
            assert set(asked) <= EXTRAS.keys(), (page, words)
        elif program == "python" and words[0] == "-m":
            assert find_spec(words[1]), (page, words)
    assert {"README.md", "batch.md", "checks.md", "evaluate.md", "models.md"} <= pages
    assert {"photos.md", "policy.md", "reproduce.md", "scale.md", "service.md"} <= pages


def test_the_commands_are_those_of_today():
    made = runpy.run_path(str(DOCS / "commands.py"))["page"]()
    assert (DOCS / "reference/commands.md").read_text("utf-8") == made, (
        "an option has changed: run python docs/commands.py"
    )


def test_the_parts_of_recipes_are_those_of_today():
    made = runpy.run_path(str(DOCS / "recipes.py"))["page"]()
    assert (DOCS / "reference/recipes.md").read_text("utf-8") == made, (
        "a part has changed: run python docs/recipes.py"
    )


@pytest.mark.parametrize("page", ["README.md", "docs/reference/recipes.md"])
def test_recipe_files_on_pages_are_recipes(page, tmp_path):
    shown = re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert shown
    for text in shown:
        (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
        recipe = load_recipe(tmp_path / "mine.toml")
        assert OBJECTIVES.create(recipe.objective)
        assert [VIEWS.create(view) for view in recipe.views]


def test_all_that_python_offers_is_on_its_page():
    text = (DOCS / "reference/python.md").read_text("utf-8")
    shown = set(re.findall(r"photovax\.(\w+)", text))
    assert set(photovax.__all__) <= shown


def test_the_figures_of_the_answers_are_those_that_were_measured():
    numbers = re.compile(r"(?<![\d.])\d*\.\d+")
    text = re.sub(r"\]\([^)]*\)", "", (DOCS / "faq.md").read_text("utf-8"))
    measured = " ".join(
        (DOCS / f"{name}.md").read_text("utf-8")
        for name in ("results", "paper", "experiments", "threat-model", "checks", "networks")
    )
    told = set(numbers.findall(text)) - {"9.7"}  # a number to type
    assert len(told) > 20
    assert told - set(numbers.findall(measured)) == set()
    shares = re.compile(r"\b(\d+) ?%")
    # 0 % is the complaint's own.
    assert set(shares.findall(text)) - {"0"} <= set(shares.findall(measured))


def test_the_notebook_runs_as_it_stands(tmp_path):
    kept = json.loads(NOTEBOOK.read_text("utf-8"))
    # Outputs would go on showing what an older version made.
    code = [cell for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    # In a process of its own, since a kernel's client leaves sockets and warnings behind.
    copy = shutil.copy(NOTEBOOK, tmp_path)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", NBCLIENT, copy, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    made = json.loads(Path(copy).read_text("utf-8"))
    shown = [
        output.get("text") or output["data"]
        for cell in made["cells"]
        for output in cell.get("outputs", ())
        if output.get("name") != "stderr"
    ]
    assert [("image/png" in each if isinstance(each, dict) else None) for each in shown] == [
        *(True, True, None, None, True, True)
    ]


def _site(docs: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", docs, out],
        capture_output=True, text=True,
    )  # fmt: skip


def test_links_that_lead_nowhere_fail_the_site(tmp_path):
    shutil.copyfile(DOCS / "conf.py", tmp_path / "conf.py")
    page = tmp_path / "index.md"
    page.write_text("# One\n\n[a](#one) [b](conf.py)\n")
    assert _site(tmp_path, tmp_path / "out").returncode == 0
    for gone in ("#two", "two.md", "two.py"):
        page.write_text(f"# One\n\n[a]({gone})\n")
        done = _site(tmp_path, tmp_path / "out")
        assert done.returncode != 0, gone
        assert "two" in done.stderr


def test_every_page_is_in_the_site():
    listed = {
        line for step in re.findall(r"```{toctree}\n(.*?)```",
                                    (DOCS / "index.md").read_text("utf-8"), re.DOTALL)
        for line in step.splitlines() if line and not line.startswith(":")
    }  # fmt: skip
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    assert pages - listed == {"index"}
