"""The page that immunizes in the browser, from a web server that computes nothing."""

import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from photovax.attack.budgets import Perceptual
from photovax.attack.networks.whole import inputs
from photovax.attack.presets import load_recipe
from photovax.cli import app
from photovax.errors import OutputExists
from photovax.immunizer import Immunizer
from photovax.models.catalog.entries import CATALOG
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from tests.service.page.opening import PATIENCE, PHONE, UNNAMED, opened, wide

playwright = pytest.importorskip("playwright.sync_api")
READY = "#strength-says:not(:empty)"
SIZES = """
async ([height, width]) => (await import("./device/sizes.js")).sizes(height, width)
"""


class _Quiet(SimpleHTTPRequestHandler):
    asked: list[tuple[str, str]]

    def log_message(self, *_: Any) -> None:
        self.asked.append((self.command, self.path))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "photos.example.org"
    done = CliRunner().invoke(app, ["page", str(folder)])
    assert done.exception is None
    return folder


@pytest.fixture(scope="module")
def asked() -> list[tuple[str, str]]:
    """The requests that the web server got."""
    return []


@pytest.fixture(scope="module")
def address(site: Path, asked: list[tuple[str, str]]) -> Iterator[str]:
    handler = type("Handler", (_Quiet,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address, READY) as page:
        yield page


def downloaded(page: Any, name: str) -> Image.Image:
    page.locator("#outcome-title", has_text=name).wait_for(timeout=PATIENCE)
    with page.expect_download() as download:
        page.click("#photo")
    assert download.value.suggested_filename == f"{Path(name).stem}.immunized.png"
    return Image.open(io.BytesIO(Path(download.value.path()).read_bytes()))


def test_photos_are_immunized_as_photovax_does_and_nothing_is_sent(
    page: Any, asked: list[tuple[str, str]], tmp_path: Path
) -> None:
    turned, plain = tmp_path / "Aunt Mabel.2.png", tmp_path / "b.webp"
    with Image.open(SAMPLE) as sample:
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        sample.crop((150, 20, 300, 120)).save(turned, exif=exif)
        sample.crop((0, 0, 90, 90)).save(plain, lossless=True)
    page.focus("#strength")
    page.keyboard.press("End")
    assert "high" in page.inner_text("#strength-says")
    page.set_input_files("#file", [turned, plain])
    with downloaded(page, plain.name) as second:
        assert second.size == (90, 90)
    page.get_by_role("button", name=turned.name, exact=True).click()
    with downloaded(page, turned.name) as first:
        found = np.asarray(first.convert("RGB")).astype(int)
    recipe = load_recipe("instant").with_visibility("high")
    wanted = Immunizer(device="cpu").immunize(read_photo(turned), recipe).photo.pixels
    assert found.shape == wanted.shape == (150, 100, 3)
    assert np.abs(found - wanted).max() <= 1  # level
    assert (found != wanted).mean() < 0.01
    original = read_photo(turned).pixels.astype(int)
    most = np.abs(found - original).max()
    said = page.inner_text("#figures")
    assert f"more than {most} of 255" in said
    assert "100 % of the visibility that “high” allows" in said
    assert {command for command, _ in asked} == {"GET"}
    assert not any("?" in path for _, path in asked)
    assert page.evaluate(UNNAMED) == []
    assert wide(page) <= PHONE["width"]


def test_what_a_browser_cannot_do_is_said_and_the_rest_goes_on(page: Any, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.heic", "glass.png", "good.png")]
    files[0].write_bytes(b"no picture")
    Image.new("RGBA", (64, 64), (90, 90, 90, 128)).save(files[1])
    with Image.open(SAMPLE) as sample:
        sample.crop((0, 0, 64, 64)).save(files[2])
    page.set_input_files("#file", files)
    downloaded(page, "good.png").close()
    rows = page.locator("#list li")
    assert "cannot read the file" in rows.nth(0).inner_text()
    assert "transparent pixels" in rows.nth(1).inner_text()
    assert "failed" in str(rows.nth(1).get_attribute("class"))
    assert "Done" in rows.nth(2).inner_text()


def test_what_moves_is_refused(page: Any, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    names = ("a.gif", "b.webp", "c.png")
    for name in names:
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], loop=0)
    frames[0].save(tmp_path / "once.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    with Image.open(SAMPLE) as sample:
        sample.crop((0, 0, 64, 64)).save(tmp_path / "still.png")
    given = (*names, "once.gif", "still.gif", "still.png")
    page.set_input_files("#file", [tmp_path / name for name in given])
    downloaded(page, "still.png").close()
    rows = page.locator("#list li")
    assert "Done" in rows.nth(4).inner_text()
    for row in range(4):
        assert "several frames" in rows.nth(row).inner_text()


def test_a_server_that_lacks_a_file_is_named(browser: Any, address: str, tmp_path: Path) -> None:
    with Image.open(SAMPLE) as sample:
        sample.crop((0, 0, 64, 64)).save(tmp_path / "a.png")
    with opened(browser, address, READY) as page:
        page.context.route("**/medium.onnx", lambda route: route.fulfill(status=503))
        page.set_input_files("#file", tmp_path / "a.png")
        page.get_by_text("medium.onnx cannot be loaded").first.wait_for(timeout=PATIENCE)
        page.context.unroute("**/medium.onnx")
        page.set_input_files("#file", tmp_path / "a.png")
        downloaded(page, "a.png").close()


@pytest.mark.parametrize(
    "sides", [(480, 320), (3000, 4000), (1, 1), (37, 1000), (500, 749), (1080, 1920), (384, 385)]
)
def test_the_page_feeds_photos_as_photovax_does(page: Any, sides: tuple[int, int]) -> None:
    found = page.evaluate(SIZES, list(sides))
    budget = load_recipe("instant").constraint
    assert isinstance(budget, Perceptual)
    wanted = inputs(np.zeros((*sides, 4), dtype=np.uint8), budget, CATALOG["embedded"].size)
    for name in ("fed", "grid", "padded"):
        assert tuple(found[name]) == wanted[name].shape, name
    for name in ("degree", "finest"):
        assert found[name] == pytest.approx(float(wanted[name]), rel=1e-6), name


def test_a_page_is_written_whole_or_not_at_all(site: Path, tmp_path: Path) -> None:
    assert "Photos stay" in CliRunner().invoke(app, ["page", "--help"]).output
    (tmp_path / "page.css").write_text("mine")
    refused = CliRunner().invoke(app, ["page", str(tmp_path)]).exception
    assert isinstance(refused, OutputExists)
    assert [file.name for file in tmp_path.iterdir()] == ["page.css"]
    assert CliRunner().invoke(app, ["page", str(tmp_path), "--overwrite"]).exception is None
    for file in filter(Path.is_file, site.rglob("*")):
        assert (tmp_path / file.relative_to(site)).read_bytes() == file.read_bytes()
