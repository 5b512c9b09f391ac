"""The page in a real browser; skipped where there is no Chromium or no Playwright."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from photovax.attack.budgets import VISIBILITY
from photovax.attack.presets import load_recipe
from photovax.certificates.document import parse_certificate
from photovax.demo import SAMPLE
from photovax.metrics.visibility import flip_picture
from photovax.service.app import build_app
from photovax.service.http.tokens import Tokens
from photovax.service.settings import Settings
from photovax.service.workers.supervisor import Supervisor
from tests.service.asking import HOME, settings_in
from tests.serving import recipe_file, served

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
# Root has no sandbox; the rest keeps Chromium's own services from asking for anything.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
)
PHONE = {"width": 360, "height": 740}
UNNAMED = """
[...document.querySelectorAll('a, button, input, img, progress, canvas')].filter(each =>
  !(each.alt || each.ariaLabel || each.getAttribute('aria-labelledby') || each.labels?.length
    || each.textContent.trim())).map(each => each.id)
"""

GIVE = """
(make) => new Promise((resolve) => {
  const canvas = document.createElement("canvas");
  canvas.toBlob((blob) => {
    const data = new DataTransfer();
    data.items.add(new File([blob], "photo.png", { type: "image/png" }));
    document.dispatchEvent(make === "drop"
      ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
      : new ClipboardEvent("paste", { clipboardData: data }));
    resolve();
  });
})
"""
PIXELS = """
(id) => {
  const shown = document.getElementById(id);
  const width = shown.naturalWidth ?? shown.width;
  const height = shown.naturalHeight ?? shown.height;
  const sheet = new OffscreenCanvas(width, height).getContext("2d");
  sheet.drawImage(shown, 0, 0);
  return [height, width, [...sheet.getImageData(0, 0, width, height).data]];
}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(recipe_file(tmp_path_factory.mktemp("recipe"), steps=60))


@pytest.fixture(scope="module")
def address(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("served") / "data", Path(recipe)) as url:
        yield url


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A service whose jobs do not end, and that asks for a token: its address and the token."""
    folder = tmp_path_factory.mktemp("endless")
    token = Tokens(Settings(folder / "data").token_file).add("ann")
    recipe = recipe_file(folder, steps=1_000_000)
    with served(folder / "data", recipe, "--tokens") as url:
        yield url, token


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, address: str, ready: str = "#models li", limits: Any = None
) -> Iterator[Any]:
    """A page that may ask nobody but the service, and must not throw.

    With limits it is answered those instead of the service's own.
    """
    page = browser.new_page(viewport=PHONE, accept_downloads=True)
    astray: list[str] = []
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((address, "blob:")) else astray.append(asked.url)
        ),
    )
    page.on("pageerror", lambda error: astray.append(str(error)))
    if limits is not None:
        page.route("**/v1/limits", lambda route: route.fulfill(json=limits))
    page.goto(address)
    page.wait_for_selector(ready)
    yield page
    page.close()
    assert astray == []


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address) as page:
        yield page


def test_a_photo_is_immunized_compared_edited_and_forgotten(
    page: Any, recipe: str, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.png"
    Image.open(SAMPLE).crop((150, 20, 246, 100)).save(photo)
    page.check("#forbid")
    page.select_option("#strength", "high")
    assert page.is_hidden(".touch")
    page.set_input_files("#camera", photo)
    page.wait_for_selector("#work:not([hidden])")
    page.get_by_text("of 60, about").wait_for(timeout=60_000)
    page.wait_for_selector("#outcome:not([hidden])", timeout=60_000)
    assert page.evaluate("document.activeElement.id") == "outcome-title"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate(UNNAMED) == []
    verdict = r"embedded: (PASS|WEAK|FAIL) \(edits [^)]+ (worse|does more|change)\), latent shift"
    assert re.search(verdict, page.inner_text("#figures"))

    page.focus("#slider")
    page.keyboard.press("Home")
    assert "100%" in page.evaluate("getComputedStyle(before).clipPath")
    page.focus("#amplified")
    page.keyboard.press("Space")
    page.wait_for_selector("#difference:not([hidden])")
    height, width, amplified = page.evaluate(PIXELS, "difference")
    assert page.is_disabled("#slider")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#map:not([hidden])")
    assert page.is_hidden("#difference")
    mapped = page.evaluate(PIXELS, "map")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]

    for link, name in (("#photo", "immunized.png"), ("#certificate", "certificate.json")):
        with page.expect_download() as waiting:
            page.focus(link)
            page.keyboard.press("Enter")
        assert waiting.value.suggested_filename == name
        waiting.value.save_as(tmp_path / name)
    first, second = (
        np.asarray(Image.open(tmp_path / name)).astype(int)
        for name in ("photo.png", "immunized.png")
    )
    says = parse_certificate((tmp_path / "certificate.json").read_text())[0]
    assert np.abs(first - second).max() == says.budget.used <= says.budget.total == 32
    assert says.recipe == load_recipe(recipe).with_visibility("high").digest()
    where = flip_picture(first.astype(np.uint8), second.astype(np.uint8))
    assert np.array_equal(np.reshape(mapped[2], (*mapped[:2], 4))[..., :3], where)
    shown = np.reshape(amplified, (height, width, 4))[..., :3]
    assert np.array_equal(shown, np.clip(128 + 16 * (second - first), 0, 255))
    assert (
        "dmi-prohibited-aimltraining".lower()
        in (tmp_path / "immunized.png").read_bytes().decode("latin1").lower()
    )

    page.focus("#prompt")
    page.keyboard.press("Enter")
    page.wait_for_selector("#edits:not([hidden])", timeout=60_000)
    edits = [page.evaluate(PIXELS, f"edit-{which}") for which in ("original", "immunized")]
    assert edits[0][:2] == edits[1][:2] != [0, 0]
    assert edits[0] != edits[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.focus("#forget")
    page.keyboard.press("Enter")
    page.get_by_text("Deleted from the server").wait_for()


def test_a_bad_file_gives_a_reason_and_the_page_goes_on(page: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    page.set_input_files("#file", tmp_path / "bad.jpg")
    page.wait_for_selector("#problem:not([hidden])")
    assert "not a picture" in page.inner_text("#problem")
    assert page.is_hidden("#work")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"


def test_it_offers_no_more_than_the_service_does(
    browser: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    options = "[...document.getElementById('strength').options].map((choice) => choice.value)"
    cases: list[tuple[dict[str, Any], list[str], str]] = [
        ({"levels": 8.0, "total": 8.0}, [""], ""),
        ({"recipe": "fast-linf", "recipes": ("fast",), "total": None}, ["", "16"], ""),
        ({"visibility": "low"}, [*VISIBILITY], "low"),
    ]
    for number, (settings, offered, usual) in enumerate(cases):
        service = build_app(settings_in(tmp_path / str(number), **settings))
        with TestClient(service, base_url=HOME) as web:
            limits = web.get("/v1/limits").json()
        with opened(browser, address, limits=limits) as page:
            page.wait_for_function(f"{options}.join() === {','.join(offered)!r}")
            assert page.input_value("#strength") == usual
            assert page.is_hidden("#by-levels" if usual else "#by-sight")


def test_a_photo_of_which_it_was_not_measured_where_the_change_is_seen(
    page: Any, tmp_path: Path
) -> None:
    def unmapped(route: Any) -> None:
        answer = route.fetch()
        # As the job's links are where the server has no map.
        text = re.sub(r'"flip":"/v1/[^"]*"', '"none":""', answer.text())
        route.fulfill(response=answer, body=text)

    page.route("**/events", unmapped)
    Image.open(SAMPLE).crop((150, 20, 246, 100)).save(tmp_path / "photo.png")
    page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_selector("#outcome:not([hidden])", timeout=60_000)
    assert page.is_hidden("#seen")
    assert page.is_visible("#amplified")


def test_it_asks_for_a_token_and_stops_photos_that_were_given(
    browser: Any, endless: tuple[str, str]
) -> None:
    address, token = endless
    held: list[Any] = []
    with opened(browser, address, ready="#token") as page:
        assert page.evaluate("document.activeElement.id") == "token"
        page.keyboard.type(token)
        page.keyboard.press("Tab")
        page.wait_for_selector("#models li")
        assert page.is_hidden("#problem")
        page.route("**/v1/immunizations", lambda route: held.append(route))
        for how in ("drop", "paste"):
            page.evaluate(GIVE, how)
            page.get_by_text("Uploading").wait_for()
            assert page.is_disabled("#stop")
            with page.expect_response("**/v1/immunizations") as answer:
                held.pop().continue_()
            job = answer.value.json()["links"]["self"]
            page.click("#stop")
            page.wait_for_selector("#work", state="hidden")
            assert page.is_hidden("#problem")
            assert page.is_hidden("#outcome")
            bearer = {"Authorization": f"Bearer {token}"}
            assert httpx2.get(address + job, headers=bearer).json()["state"] == "cancelled"


def test_it_is_dark_where_people_want_it_dark(page: Any) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert dark < 150 < 600 < light
