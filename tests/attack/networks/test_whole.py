"""A recipe as an ONNX graph immunizes as photovax does; those of the page are up to date."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from photovax.attack.budgets import TOLERANCE, VISIBILITY
from photovax.attack.networks.headers import shipped_for
from photovax.attack.networks.whole import inputs
from photovax.attack.presets import load_recipe
from photovax.cli import app
from photovax.digests import file_digest
from photovax.errors import PhotovaxError, UsageError
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import CATALOG
from photovax.pictures.photo import Photo
from photovax.pictures.sample import SAMPLE
from photovax.service.static import FOLDER, PAGE, WEIGHTS
from photovax.tensors import tensor

needs = 'needs pip install "photovax[onnx]"'
onnx = pytest.importorskip("onnx", reason=needs)
onnxruntime = pytest.importorskip("onnxruntime", reason=needs)
pytest.importorskip("onnxscript", reason=needs)
SIZE = CATALOG["embedded"].size
pytestmark = pytest.mark.usefixtures("untraced")


def photovax(*arguments: object) -> PhotovaxError | None:
    done = CliRunner().invoke(app, ["models", "export-network", *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, PhotovaxError), done.exception
    return done.exception


def sample(height: int, width: int) -> np.ndarray:
    with Image.open(SAMPLE) as picture:
        return np.asarray(picture.convert("RGB").resize((width, height)))


def run(graph: Path, given: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found, size = session.run(None, given)
    return found, float(size[0])


def facts(graph: Path) -> dict[str, str]:
    model = onnx.load(graph, load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's graphs beside the weights that they read."""
    folder = tmp_path_factory.mktemp("page")
    for file in (*(PAGE / FOLDER).glob("*.onnx"), WEIGHTS):
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def immunizer() -> Immunizer:
    return Immunizer(device="cpu")


# Smaller than the model is fed photos, as large, larger than the grid of changes, and elongated.
@pytest.mark.parametrize(
    ("visibility", "sides"),
    [
        ("medium", (90, 123)),
        ("low", (256, 320)),
        ("high", (500, 403)),
        ("medium", (31, 200)),
    ],
)
def test_the_graphs_of_the_page_immunize_as_photovax_does(
    beside: Path, immunizer: Immunizer, visibility: str, sides: tuple[int, int]
) -> None:
    pixels = sample(*sides)
    recipe = load_recipe("instant").with_visibility(visibility)
    last = np.full((*sides, 1), 200, dtype=np.uint8)
    given: Any = recipe.constraint
    found, size = run(
        beside / f"{visibility}.onnx", inputs(np.concatenate([pixels, last], -1), given, SIZE)
    )
    wanted = immunizer.immunize(Photo.from_image(Image.fromarray(pixels)), recipe).photo.pixels
    assert size <= 1 + TOLERANCE
    fitted = given.fitted(*sides, SIZE)
    assert size == pytest.approx(fitted.size(tensor(wanted), tensor(pixels)).item(), abs=TOLERANCE)
    assert np.array_equal(found[..., 3:], last)
    apart = np.abs(found[..., :3].astype(int) - wanted)
    assert apart.max() <= 2  # levels
    assert (apart > 1).mean() < 1e-5
    assert (apart > 0).mean() < 0.01
    assert np.abs(wanted.astype(int) - pixels).mean() > 1  # there is a change to compare


def test_the_graphs_of_the_page_are_of_what_ships() -> None:
    assert {file.stem for file in (PAGE / FOLDER).glob("*.onnx")} == set(VISIBILITY)
    for visibility in VISIBILITY:
        told = facts(PAGE / FOLDER / f"{visibility}.onnx")
        recipe = load_recipe("instant").with_visibility(visibility)
        assert told["network_digest"] == file_digest(WEIGHTS)
        assert told["recipe"] == recipe.digest(), "see CONTRIBUTING.md, The page's graphs"
        assert told["size"] == str(SIZE)
    assert shipped_for("embedded") == WEIGHTS


def test_less_of_the_change_is_kept_where_it_is_asked_for(beside: Path) -> None:
    pixels = np.concatenate([sample(64, 64), np.zeros((64, 64, 1), dtype=np.uint8)], -1)
    budget: Any = load_recipe("instant").constraint
    given = inputs(pixels, budget, SIZE)
    found, size = run(beside / "medium.onnx", given | {"share": np.array(0, dtype=np.float32)})
    assert size == 0
    assert np.array_equal(found, pixels)
    _, half = run(beside / "medium.onnx", given | {"share": np.array(0.5, dtype=np.float32)})
    assert half == pytest.approx(0.5, rel=0.1)


@pytest.mark.usefixtures("converted_once")
def test_one_with_its_weights_inside_is_a_file_of_its_own(
    network_file: Path, tmp_path: Path
) -> None:
    alone, apart = tmp_path / "alone.onnx", tmp_path / "apart.onnx"
    common = ("--recipe", "instant", "--visibility", "low")
    assert photovax(network_file, "-o", alone, *common) is None
    assert photovax(network_file, "-o", apart, *common, "--apart") is None
    shutil.copy(network_file, tmp_path)
    pixels = np.concatenate([sample(70, 90), np.zeros((70, 90, 1), dtype=np.uint8)], -1)
    budget: Any = load_recipe("instant").with_visibility("low").constraint
    given = inputs(pixels, budget, SIZE)
    (one, _), (other, _) = run(alone, given), run(apart, given)
    assert np.abs(one.astype(int) - other).max() <= 1
    assert apart.stat().st_size < 100_000
    onnx.checker.check_model(alone)
    assert facts(alone)["network_digest"] == file_digest(network_file)
    assert str(Path.cwd()) not in str(onnx.load(alone))  # of the machine that wrote it


def test_what_cannot_be_exported_whole_is_said(network_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    for options, words in [
        (("--recipe", "fast"), "of one pass"),
        (("--visibility", "low"), "there is no --recipe"),
        (("--apart",), "there is no --recipe"),
    ]:
        refused = photovax(network_file, "-o", out, *options)
        assert isinstance(refused, UsageError)
        assert words in str(refused)
    preset = 'preset = "instant"\n'
    half = 'views = [{ name = "short_side", options = { times = 0.5 } }]\n'
    share = 'views = [{ name = "resize", options = { share = 0.5 } }]\n'
    for text, words in [
        (preset + half, "side of 128 pixels where the model's size is 256"),
        (preset + share, "which a graph cannot do"),
        (preset + "kept_region_only = true\n", "a graph takes no mask"),
        ('preset = "robust"\n', "was trained beside a denoiser"),
    ]:
        (tmp_path / "own.toml").write_text(text)
        refused = photovax(network_file, "-o", out, "--recipe", tmp_path / "own.toml")
        assert isinstance(refused, UsageError)
        assert words in str(refused)
        (tmp_path / "own.toml").unlink()
    assert list(tmp_path.iterdir()) == []
