"""The page in a real browser; skipped where there is no Chromium or no Playwright."""

import io
import json
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
from photovax.client import Client, RemoteJob
from photovax.metrics.visibility import flip_picture
from photovax.pictures.photo import read_photo
from photovax.pictures.sample import SAMPLE
from photovax.service.app import build_app
from photovax.service.http.tokens import Tokens
from photovax.service.settings import Settings
from photovax.service.workers.supervisor import Supervisor
from tests.service.asking import HOME, settings_in
from tests.service.page.opening import CHROMIUM, PATIENCE, PHONE, UNNAMED, opened, pixels, wide
from tests.serving import recipe_file, served

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
GIVE = """
(make) => new Promise((resolve) => {
  const canvas = document.createElement("canvas");
  canvas.toBlob((blob) => {
    const data = new DataTransfer();
    data.items.add(new File([blob], `${make}.png`, { type: "image/png" }));
    document.dispatchEvent(make === "drop"
      ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
      : new ClipboardEvent("paste", { clipboardData: data }));
    resolve();
  });
})
"""
LISTEN = """
() => {
  window.heard = [];
  window.shown = [];
  // Records hold each text, also of changes that were made together.
  const keep = (kept) => new MutationObserver((records) =>
    records.forEach((each) => each.addedNodes.forEach((node) => kept.push(node.textContent))));
  const all = { childList: true, subtree: true };
  keep(window.shown).observe(document.getElementById("list"), all);
  for (const live of document.querySelectorAll('[role=status], [role=alert]')) {
    keep(window.heard).observe(live, all);
  }
}
"""


def told_slowly(route: Any) -> None:
    """Answer with a job's events, and with those before its end that a quick job may skip."""
    answer = route.fetch(timeout=PATIENCE)
    last = json.loads(answer.text().strip().rpartition("data: ")[2])
    running = last | {"state": "running", "result": None, "seconds_left": 50.0}
    before = [running | {"done": done} for done in (last["steps"] // 2, last["steps"])]
    events = [f"data: {json.dumps(each)}\n\n" for each in (*before, last)]
    route.fulfill(response=answer, body="".join(events))


def ids_of(page: Any) -> list[str]:
    """The jobs that the page's address names."""
    return str(page.url).partition("#photos=")[2].split(".")


@contextmanager
def admitted(browser: Any, address: str, token: str) -> Iterator[Any]:
    """The page of a service that asks for a token, once it has taken it."""
    with opened(browser, address, ready="#token") as page:
        page.fill("#token", token)
        page.keyboard.press("Tab")
        page.wait_for_selector("#models li")
        yield page


def asked_for(page: Any, held: list[Any]) -> Any:
    """The next request that is held; the browser tells of it on another way."""
    while not held:
        page.wait_for_timeout(20)
    return held.pop()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(recipe_file(tmp_path_factory.mktemp("recipe"), steps=30))


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
def given_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo of 96 x 80 pixels that most of the tests immunize."""
    photo = tmp_path_factory.mktemp("given") / "Aunt Mabel.2.png"
    with Image.open(SAMPLE) as sample:
        sample.crop((150, 20, 246, 100)).save(photo)
    return photo


@pytest.fixture
def pair(given_photo: Path, tmp_path: Path) -> list[Path]:
    """one.png and two.png, the same photo."""
    files = [tmp_path / f"{name}.png" for name in ("one", "two")]
    for file in files:
        shutil.copy(given_photo, file)
    return files


@pytest.fixture(scope="module")
def finished(address: str, given_photo: Path) -> RemoteJob:
    """A job that is done at the service."""
    with Client(address) as client:
        return client.wait(client.immunize(given_photo))


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address) as page:
        yield page


@pytest.fixture
def result(browser: Any, address: str, finished: RemoteJob) -> Iterator[Any]:
    """The page at the address of a job that is done, in a new tab of a phone."""
    there = f"{address}/#photos={finished.id}"
    with opened(browser, there, has_touch=True) as page:
        playwright.expect(page.locator("#outcome-title")).to_be_focused()  # once all is shown
        yield page


def test_a_photo_is_immunized_and_keeps_its_name(
    page: Any, address: str, recipe: str, given_photo: Path, tmp_path: Path
) -> None:
    options = "#strength", "#forbid", "label[for=file]"
    tops = [page.locator(each).bounding_box()["y"] for each in options]
    assert tops == sorted(tops), "options stand above the button that uploads"
    assert page.is_hidden(".touch")
    assert page.is_visible(".mouse")
    assert "medium" in page.inner_text("#strength-says")
    page.focus("#strength")
    page.keyboard.press("End")
    assert page.get_attribute("#strength", "aria-valuetext") == page.inner_text("#strength-says")
    assert "smooth areas" in page.inner_text("#strength-says")
    page.check("#forbid")
    page.evaluate(LISTEN)
    page.route("**/events", told_slowly)
    page.set_input_files("#file", given_photo)
    playwright.expect(page.locator("#outcome-title")).to_be_focused(timeout=PATIENCE)
    shown = page.evaluate("window.shown")
    assert [text for text in shown if "step 15 of 30, about" in text]
    heard = page.evaluate("window.heard")
    assert len(heard) <= 5, heard
    assert not [text for text in heard if "step" in text]
    stages = "Uploading", "Changing the photo", "Measuring the result", "Done"
    said = [next(n for n, text in enumerate(heard) if stage in text) for stage in stages]
    assert said == sorted(said)
    assert page.evaluate("document.activeElement.id") == "outcome-title"
    assert page.inner_text("#outcome-title") == given_photo.name
    playwright.expect(page.locator("#stage")).to_be_in_viewport(ratio=0.99)
    playwright.expect(page.locator("#verdict")).to_be_in_viewport(ratio=0.99)
    assert wide(page) <= PHONE["width"]
    assert page.evaluate(UNNAMED) == []
    verdict = page.inner_text("#verdict")
    assert re.match(r"(PASS|WEAK|FAIL): [^.]+\..* What to do next: \w+", verdict)
    assert "more visible" not in verdict, "this is the most visible one"

    for link, name in (("#photo", "immunized.png"), ("#certificate", "certificate.json")):
        with page.expect_download() as waiting:
            page.focus(link)
            page.keyboard.press("Enter")
        assert waiting.value.suggested_filename == f"Aunt Mabel.2.{name}"
        waiting.value.save_as(tmp_path / name)
    files = given_photo, tmp_path / "immunized.png"
    first, second = (np.asarray(Image.open(file)).astype(int) for file in files)
    says = parse_certificate((tmp_path / "certificate.json").read_text())[0]
    assert np.abs(first - second).max() == says.budget.used <= says.budget.total == 32
    assert says.recipe == load_recipe(recipe).with_visibility("high").digest()
    kept = (tmp_path / "immunized.png").read_bytes().decode("latin1").lower()
    assert "dmi-prohibited-aimltraining" in kept

    assert page.is_disabled("#again")
    page.focus("#wish")
    page.keyboard.press("Home")
    page.click("#again")
    page.locator("#list .said", has_text="Done").nth(1).wait_for(timeout=PATIENCE)
    playwright.expect(page.locator(".pick").nth(1)).to_have_attribute("aria-current", "true")
    playwright.expect(page.locator("#outcome-title")).to_be_focused()  # which comes last
    ids = ids_of(page)
    made = [httpx2.get(f"{address}/v1/immunizations/{each}").json()["result"] for each in ids]
    assert [each["visibility"] for each in made] == ["high", "low"]
    assert made[1]["visible"]["psnr"] > made[0]["visible"]["psnr"]
    page.focus("#forget")
    page.keyboard.press("Enter")
    page.get_by_text("Deleted from the server").wait_for()
    assert page.is_hidden("#edit")
    assert httpx2.get(f"{address}/v1/immunizations/{ids[1]}").json()["state"] == "cancelled"
    assert ids_of(page) == ids[:1]


def test_a_result_is_compared_by_keys_and_by_touch(
    result: Any, address: str, finished: RemoteJob, given_photo: Path
) -> None:
    page = result
    page.focus("#slider")
    page.keyboard.press("Home")
    assert "100%" in page.evaluate("getComputedStyle(before).clipPath")
    page.locator("#stage").scroll_into_view_if_needed()
    box = page.locator("#stage").bounding_box()
    places = [(box["x"] + share * box["width"], box["y"] + 20) for share in (0.5, 0.6, 0.75)]
    touch = page.context.new_cdp_session(page)
    for kind, place in zip(("touchStart", "touchMove", "touchMove"), places, strict=True):
        points = [{"x": place[0], "y": place[1]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert page.input_value("#slider") == "75"
    assert page.evaluate("stage.style.getPropertyValue('--split')") == "75%"

    page.focus("#amplified")
    page.keyboard.press("Space")
    page.wait_for_selector("#difference:not([hidden])")
    amplified = pixels(page, "#difference")[..., :3]
    assert page.is_disabled("#slider")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#map:not([hidden])")
    assert page.is_hidden("#difference")
    mapped = pixels(page, "#map")[..., :3]
    assert wide(page) <= PHONE["width"]
    with Client(address) as client:
        second = np.asarray(Image.open(io.BytesIO(client.picture(finished))))
    first = np.asarray(Image.open(given_photo))
    assert np.array_equal(mapped, flip_picture(first, second))
    change = second.astype(int) - first
    assert np.array_equal(amplified, np.clip(128 + 16 * change, 0, 255))


def test_a_part_is_shown_pixel_by_pixel_also_at_another_strength(
    browser: Any, address: str, tmp_path: Path
) -> None:
    photo = tmp_path / "wide.png"
    with Image.open(SAMPLE) as sample:
        sample.crop((0, 0, 512, 256)).save(photo)
    with Client(address) as client:
        job = client.wait(client.immunize(photo, visibility="medium"))
        second = np.asarray(Image.open(io.BytesIO(client.picture(job))))
        mapped = np.asarray(Image.open(io.BytesIO(client.picture(job, "flip"))))
    first = np.asarray(Image.open(photo))
    with opened(browser, f"{address}/#photos={job.id}") as page:
        playwright.expect(page.locator("#outcome-title")).to_be_focused()  # once it is shown
        side = page.evaluate("document.getElementById('part-after').clientWidth")
        assert 100 < side < 256

        def place() -> tuple[int, int]:
            """Where the part of the original is in the photo; it is there exactly."""
            part = pixels(page, "#part-before")[..., :3]
            assert part.shape == (side, side, 3)
            found = [
                (y, x)
                for y in range(256 - side + 1)
                for x in range(512 - side + 1)
                if np.array_equal(first[y, x : x + side], part[0])
                and np.array_equal(first[y : y + side, x : x + side], part)
            ]
            assert len(found) == 1
            return found[0]

        top, left = place()
        there = np.s_[top : top + side, left : left + side]
        seen = np.asarray(Image.fromarray(mapped).reduce((512 // 24, 256 // 24))).sum(-1)
        seen = np.kron(seen, np.ones((256 // 24, 512 // 24)))  # the mean of cells, as large again
        assert seen[there].max() >= 0.95 * seen.max(), "it begins where the change is seen most"
        assert np.array_equal(pixels(page, "#part-after")[..., :3], second[there])
        page.focus("#wish")
        page.keyboard.press("Home")
        times = VISIBILITY["low"]["radius"] / VISIBILITY["medium"]["radius"]
        assert f"times {times:.2f}" in page.inner_text("#part-says")
        forecast = pixels(page, "#part-after")[..., :3]
        exact = first[there] + times * (second[there].astype(float) - first[there])
        assert np.abs(forecast - exact).max() <= 0.5 + 1e-6
        assert page.is_hidden("#again"), "the page has no photo that it could upload again"
        assert page.is_visible("#choose")
        page.focus("#part-after")
        moves = ["ArrowUp", "ArrowLeft"] if top + left else ["ArrowDown", "ArrowRight"]
        for key in moves:
            page.keyboard.press(key)
        assert place() != (top, left)


def test_edits_that_were_chosen_say_so_and_unknown_requests_are_told(result: Any) -> None:
    page = result
    assert "chosen because failing is easy to see" in page.inner_text("#edit")
    page.click("#three")
    page.get_by_text("Both edits are shown").wait_for(timeout=PATIENCE)
    pairs = page.locator("#edits section")
    assert pairs.count() == 3
    assert "make it night" not in page.inner_text("#edits")
    assert page.locator("#edits .warning").count() == 0
    sheets = [pixels(page, f"#edits section figure:nth-child({n}) img") for n in (1, 2)]
    assert sheets[0].shape == sheets[1].shape
    assert not np.array_equal(sheets[0], sheets[1])
    assert wide(page) <= PHONE["width"]
    assert page.evaluate(UNNAMED) == []

    known = page.eval_on_selector_all("#requests option", "all => all.map((each) => each.value)")
    assert {"make it snow", "paint it in sepia"} < set(known)
    page.fill("#prompt", "put a hat on")
    page.keyboard.press("Enter")
    page.get_by_text("not trained on this request").wait_for(timeout=PATIENCE)
    assert pairs.count() == 4
    assert pairs.nth(3).locator(".warning").count() == 1

    frames = pairs.first.locator("button")
    frames.first.focus()
    page.keyboard.press("Enter")
    origins = "all => all.map((each) => getComputedStyle(each).transform + each.ariaPressed)"
    shown = "all => all.map((each) => getComputedStyle(each).transform)"
    assert pairs.first.locator("img").evaluate_all(shown) == ["matrix(3, 0, 0, 3, 0, 0)"] * 2
    assert frames.evaluate_all(origins) == ["nonetrue"] * 2
    place = "e => e.style.getPropertyValue('--at')"
    page.keyboard.press("ArrowRight")
    assert pairs.first.locator(".two").evaluate(place) == "60% 50%"
    frames.nth(1).hover(position={"x": 5, "y": 5})
    across = float(pairs.first.locator(".two").evaluate(place).split("%")[0])
    assert across < 10
    frames.nth(1).click()
    assert pairs.first.locator("img").evaluate_all(shown) == ["none"] * 2


def test_a_copy_that_was_got_back_is_checked(
    page: Any, address: str, finished: RemoteJob, given_photo: Path, tmp_path: Path
) -> None:
    with Client(address) as client:
        client.save_photo(finished, tmp_path / "mine.png")
        client.save_certificate(finished, tmp_path / "mine.json")
        client.save_certificate(finished, tmp_path / "other.JSON")
    with Image.open(tmp_path / "mine.png") as made:
        made.save(tmp_path / "back.jpg", quality=70)
    page.set_input_files("#copy", tmp_path / "back.jpg")
    page.set_input_files("#against", [given_photo, tmp_path / "mine.json"])
    page.click("#check button")
    page.get_by_text("What was done to it: JPEG").wait_for(timeout=PATIENCE)
    said = page.inner_text("#checked")
    assert re.match("PASS|WEAK|FAIL", said)
    assert "The certificate does not hold for this file: the photo shows the same picture" in said
    page.set_input_files("#copy", tmp_path / "mine.png")
    page.set_input_files("#against", tmp_path / "mine.json")
    page.click("#check button")
    page.get_by_text("The certificate holds for this file.").wait_for(timeout=PATIENCE)
    page.set_input_files("#copy", given_photo)
    page.set_input_files("#against", given_photo)
    page.click("#check button")
    page.get_by_text("No change was found").wait_for(timeout=PATIENCE)
    forged = json.loads((tmp_path / "mine.json").read_text())
    first = "B" if forged["signature"][0] == "A" else "A"
    forged["signature"] = first + forged["signature"][1:]
    (tmp_path / "other.JSON").write_text(json.dumps(forged))
    page.set_input_files("#copy", tmp_path / "mine.png")
    page.set_input_files("#against", tmp_path / "other.JSON")
    page.click("#check button")
    page.get_by_text("The certificate does not hold for this file").wait_for(timeout=PATIENCE)


def test_a_bad_file_gives_a_reason_and_the_page_goes_on(
    page: Any, given_photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    page.set_input_files("#file", [tmp_path / "bad.jpg", given_photo])
    rows = page.locator("#list li")
    playwright.expect(rows.first).to_have_class("failed", timeout=PATIENCE)
    assert "not a picture" in rows.first.inner_text()
    assert rows.first.get_by_text("Try again").is_visible()
    page.wait_for_selector("#outcome:not([hidden])", timeout=PATIENCE)
    assert page.inner_text("#outcome-title") == given_photo.name
    rows.first.get_by_text("Delete").click()
    assert rows.count() == 1


@pytest.mark.parametrize("kind", ["tif", "heic"])
def test_types_that_browsers_do_not_show_are_shown_all_the_same(
    browser: Any, address: str, given_photo: Path, kind: Any, tmp_path: Path
) -> None:
    with Client(address) as client:
        job = client.wait(client.immunize(given_photo, file_type=kind))
        client.save_photo(job, tmp_path / f"photo.{kind}")
        shown = np.asarray(Image.open(io.BytesIO(client.picture(job, "preview"))))
    made = read_photo(tmp_path / f"photo.{kind}")
    assert np.array_equal(shown, made.pixels)
    with opened(browser, f"{address}/#photos={job.id}") as page:
        page.wait_for_selector("#outcome:not([hidden])")
        playwright.expect(page.locator("#outcome-title")).to_be_focused()  # once it is shown
        assert np.array_equal(pixels(page, "#after")[..., :3], made.pixels)
        assert page.get_attribute("#photo", "download") == f"photo.immunized.{kind}"
        assert page.is_hidden("#problem")


def test_a_file_that_is_too_large_is_not_uploaded(
    browser: Any, address: str, given_photo: Path
) -> None:
    limits = httpx2.get(f"{address}/v1/limits").json() | {"bytes": 2**10}
    with opened(browser, address, limits=limits) as page:
        page.set_input_files("#file", given_photo)
        page.get_by_text(f"{given_photo.name} has more than").wait_for()
        assert page.is_hidden("#queue")


def test_it_offers_no_more_than_the_service_does(
    browser: Any, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "start", lambda self: None)
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"levels": 8.0, "total": 8.0}, 1, ""),
        ({"recipe": "fast-linf", "recipes": ("fast",), "total": None}, 2, "8 of 255 levels"),
        ({"visibility": "low"}, len(VISIBILITY), "low: "),
    ]
    for number, (settings, offered, usual) in enumerate(cases):
        service = build_app(settings_in(tmp_path / str(number), **settings))
        with TestClient(service, base_url=HOME) as web:
            limits = web.get("/v1/limits").json()
        with opened(browser, address, limits=limits) as page:
            assert page.is_visible("#strength") is (offered > 1)
            assert int(page.get_attribute("#strength", "max") or 0) == offered - 1
            assert page.text_content("#strength-says").startswith(usual)
            assert page.is_hidden("#by-levels" if settings.get("visibility") else "#by-sight")


def test_a_photo_of_which_it_was_not_measured_where_the_change_is_seen(
    browser: Any, address: str, finished: RemoteJob
) -> None:
    with opened(browser, address) as page:

        def unmapped(route: Any) -> None:
            answer = route.fetch()
            # As the job's links are where the server has no map.
            text = re.sub(r'"flip":"/v1/[^"]*"', '"none":""', answer.text())
            route.fulfill(response=answer, body=text)

        page.route(f"**/v1/immunizations/{finished.id}", unmapped)
        page.goto(f"{address}/?again#photos={finished.id}")
        page.wait_for_selector("#outcome:not([hidden])")
        assert page.is_hidden("#seen")
        assert page.is_visible("#amplified")


def test_the_time_that_is_left_counts_down_during_a_step(
    browser: Any, address: str, finished: RemoteJob
) -> None:
    job = httpx2.get(f"{address}/v1/immunizations/{finished.id}").json()
    running = job | {"state": "running", "steps": 8, "result": None}
    # The estimate of the service grows until the next step, which does not come here.
    states = [running | {"done": 2, "seconds_left": left} for left in (80.0, 90.0, 100.0)]
    body = "".join(f"data: {json.dumps(state)}\n\n" for state in states)
    with opened(browser, address) as page:
        page.route(f"**/v1/immunizations/{finished.id}", lambda r: r.fulfill(json=states[0]))
        page.route(f"**/v1/immunizations/{finished.id}/events", lambda r: r.fulfill(body=body))
        page.goto(f"{address}/?left#photos={finished.id}")
        said = page.locator("#list .said")
        text = re.compile(r"Changing the photo, step 2 of 8, about [1-7]\d seconds left")
        playwright.expect(said).to_have_text(text, timeout=PATIENCE)


def test_photos_whose_names_are_not_known_are_told_apart(
    browser: Any, address: str, finished: RemoteJob, given_photo: Path
) -> None:
    with Client(address) as client:
        second = client.wait(client.immunize(given_photo))
    with opened(browser, f"{address}/#photos={finished.id}.{second.id}") as page:
        playwright.expect(page.locator(".pick:enabled")).to_have_text(["photo 1", "photo 2"])
        page.get_by_role("button", name="photo 2", exact=True).click()
        playwright.expect(page.locator("#outcome-title")).to_have_text("photo 2")
        playwright.expect(page.locator("#photo")).to_have_attribute(
            "download", "photo 2.immunized.png"
        )


def test_a_small_photo_is_not_enlarged(browser: Any, address: str, tmp_path: Path) -> None:
    photo = tmp_path / "small.png"
    with Image.open(SAMPLE) as sample:
        sample.crop((0, 0, 360, 200)).save(photo)
    with Client(address) as client:
        job = client.wait(client.immunize(photo))
    with opened(browser, f"{address}/#photos={job.id}") as page:
        playwright.expect(page.locator("#outcome-title")).to_be_focused()
        assert page.locator("#stage").bounding_box()["width"] == PHONE["width"] - 32
        page.set_viewport_size({"width": 1280, "height": 900})
        box = page.locator("#stage").bounding_box()
        assert (box["width"], box["height"]) == (360, 200)
        slider = page.locator("#slider").bounding_box()
        assert (slider["x"], slider["width"]) == (box["x"], 360), "it stands where the line is"


def test_photos_queue_and_survive_a_reload_until_they_are_deleted(
    browser: Any, endless: tuple[str, str], given_photo: Path, tmp_path: Path
) -> None:
    address, token = endless
    files = [tmp_path / f"{name}.png" for name in ("one", "two", "three")]
    for file in files:
        shutil.copy(given_photo, file)
    bearer = {"Authorization": f"Bearer {token}"}

    def states(ids: list[str]) -> list[str]:
        url = f"{address}/v1/immunizations"
        return [httpx2.get(f"{url}/{each}", headers=bearer).json()["state"] for each in ids]

    with opened(browser, address, ready="#token") as page:
        playwright.expect(page.locator("#token")).to_be_focused()
        page.set_input_files("#file", files[:2])
        page.get_by_text("Waiting for the access token", exact=True).wait_for()
        page.fill("#token", token)
        page.keyboard.press("Tab")
        page.wait_for_selector("#models li")
        assert page.is_hidden("#problem")
        rows = page.locator("#list li")
        playwright.expect(rows.nth(1)).to_contain_text("Waiting in the queue")
        rest = re.compile(r"step \d+ of 1000000, about \d+ minutes left")
        playwright.expect(rows.nth(0)).to_contain_text(rest, timeout=PATIENCE)
        page.set_input_files("#file", files[2])  # while it is busy
        playwright.expect(rows.nth(2)).to_contain_text("Waiting in the queue")
        ids = ids_of(page)
        assert states(ids) == ["running", "queued", "queued"]

        page.reload()
        playwright.expect(rows).to_have_count(3)
        playwright.expect(rows.nth(0)).to_contain_text("step", timeout=PATIENCE)
        assert page.locator(".pick").all_inner_texts() == [file.name for file in files]
        assert ids_of(page) == ids
        for name in ("two.png", "one.png"):
            with page.expect_response(lambda answer: answer.request.method == "DELETE"):
                page.get_by_label(f"Delete {name}").click()
        playwright.expect(rows).to_have_count(1)
        assert ids_of(page) == ids[2:]
        assert states(ids[:2]) == ["cancelled", "cancelled"]
        page.get_by_label("Delete three.png").click()
        playwright.expect(page.locator("#queue")).to_be_hidden()
        assert "#" not in page.url

        page.goto(f"{address}/?later#photos={'0' * 32}.{ids[0]}")
        page.get_by_text("2 photos are no longer on the server").wait_for()
        assert "#" not in page.url


def test_a_result_that_is_ready_later_does_not_replace_one_that_is_still_loaded(
    page: Any, pair: list[Path]
) -> None:
    held: list[Any] = []
    page.route("**/v1/immunizations/*/photo", lambda route: held.append(route))
    page.set_input_files("#file", pair)
    rows = page.locator("#list li")
    for number in (0, 1):
        playwright.expect(rows.nth(number)).to_contain_text("Done", timeout=PATIENCE)
    first = asked_for(page, held)
    assert not held, "the second is not loaded by itself"
    first.continue_()
    playwright.expect(page.locator("#outcome-title")).to_be_focused()
    playwright.expect(page.locator("#outcome-title")).to_have_text("one.png")


def test_photos_that_are_dropped_or_pasted_can_be_deleted_while_they_are_uploaded(
    browser: Any, endless: tuple[str, str]
) -> None:
    address, token = endless
    held: list[Any] = []
    with admitted(browser, address, token) as page:
        page.route("**/v1/immunizations", lambda route: held.append(route))
        for how in ("drop", "paste"):
            page.evaluate(GIVE, how)
            page.get_by_text("Uploading", exact=True).wait_for()
            page.get_by_label(f"Delete {how}.png").click()
            assert page.is_hidden("#queue")
            upload = asked_for(page, held)
            with (
                page.expect_response("**/v1/immunizations") as answer,
                page.expect_request(lambda asked: asked.method == "DELETE") as deleted,
            ):
                upload.continue_()
            job = answer.value.json()["links"]["self"]
            deleted.value.response()
            bearer = {"Authorization": f"Bearer {token}"}
            assert httpx2.get(address + job, headers=bearer).json()["state"] == "cancelled"
            assert page.is_hidden("#problem")
            assert page.is_hidden("#outcome")


def test_an_upload_that_fails_after_it_was_deleted_is_not_repeated(
    browser: Any, endless: tuple[str, str], given_photo: Path
) -> None:
    address, token = endless
    held: list[Any] = []
    with admitted(browser, address, token) as page:
        page.route("**/v1/immunizations", lambda route: held.append(route))
        page.set_input_files("#file", given_photo)
        page.get_by_text("Uploading", exact=True).wait_for()
        page.get_by_label(f"Delete {given_photo.name}").click()
        asked_for(page, held).fulfill(status=422, json={"detail": "no picture"})
        page.evaluate(GIVE, "drop")
        page.get_by_text("Uploading", exact=True).wait_for()
        upload = asked_for(page, held)
        assert not held
        assert b"drop.png" not in (upload.request.post_data_buffer or b"")  # names are not sent
        playwright.expect(page.locator("#list li")).to_have_count(1)
        page.get_by_label("Delete drop.png").click()
        upload.abort()
        playwright.expect(page.locator("#list li")).to_have_count(0)
        page.wait_for_timeout(100)
        assert not held


def test_a_photo_that_could_not_be_deleted_is_still_there_to_be(
    browser: Any, endless: tuple[str, str], given_photo: Path
) -> None:
    address, token = endless
    with admitted(browser, address, token) as page:
        page.set_input_files("#file", given_photo)
        playwright.expect(page.locator("#list li")).to_contain_text("step", timeout=PATIENCE)
        (job,) = ids_of(page)
        page.route(f"**/v1/immunizations/{job}", lambda route: route.fulfill(status=503, json={}))
        delete = page.get_by_label(f"Delete {given_photo.name}")
        delete.click()
        page.get_by_text("The service answered 503.").wait_for()
        assert ids_of(page) == [job]
        page.unroute(f"**/v1/immunizations/{job}")
        delete.click()
        playwright.expect(page.locator("#list li")).to_have_count(0)
        asked = httpx2.get(
            f"{address}/v1/immunizations/{job}", headers={"Authorization": f"Bearer {token}"}
        )
        assert asked.json()["state"] == "cancelled"


def test_what_is_deleted_is_the_photo_that_is_shown(page: Any, pair: list[Path]) -> None:
    page.set_input_files("#file", pair)
    playwright.expect(page.locator(".pick:enabled")).to_have_count(2, timeout=PATIENCE)
    playwright.expect(page.locator("#outcome-title")).to_have_text("one.png")
    one, two = ids_of(page)
    page.route(f"**/v1/immunizations/{two}/photo", lambda route: route.abort())
    page.get_by_role("button", name="two.png", exact=True).click()
    page.get_by_text("The service cannot be reached.").wait_for()
    with page.expect_request(lambda asked: asked.method == "DELETE") as deleted:
        page.click("#forget")
    assert deleted.value.url.endswith(one)
    page.get_by_text("Deleted from the server.").wait_for()
    assert ids_of(page) == [two]


def test_a_proxy_without_its_service_for_a_moment_ends_no_photo(
    page: Any, given_photo: Path
) -> None:
    statuses = [502, 503]

    def between(route: Any) -> None:
        if statuses:
            route.fulfill(status=statuses.pop(), body="<h1>Bad gateway</h1>")
        else:
            route.continue_()

    page.route("**/events", between)
    page.set_input_files("#file", given_photo)
    page.wait_for_selector(".pick:enabled")
    assert not statuses


def test_fields_take_what_is_dropped_on_them(page: Any) -> None:
    """Photos there are for a check, and text for a prompt: neither is immunized."""
    taken = page.evaluate(
        """() => {
          const drop = (on, fill) => {
            const data = new DataTransfer();
            fill(data.items);
            const how = { dataTransfer: data, cancelable: true, bubbles: true };
            const event = new DragEvent("drop", how);
            on.dispatchEvent(event);
            return event.defaultPrevented;
          };
          const photo = (items) => items.add(new File(["x"], "a.png", { type: "image/png" }));
          const text = (items) => items.add("words", "text/plain");
          const find = (id) => document.getElementById(id);
          return [drop(find("copy"), photo), drop(find("prompt"), text), drop(document.body, text)];
        }"""
    )
    assert taken == [False, False, False]
    assert page.is_hidden("#queue")


def test_a_phone_is_offered_its_camera_and_nothing_that_takes_a_mouse(
    browser: Any, address: str
) -> None:
    with opened(browser, address, has_touch=True, is_mobile=True) as page:
        assert page.is_visible("label[for=camera]")
        assert page.is_hidden(".mouse")
        assert "upload starts right away" in page.inner_text("#drop")
        assert wide(page) == PHONE["width"]


def test_it_is_dark_where_people_want_it_dark(page: Any) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    light, dark = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert dark < 150 < 600 < light


def test_photos_that_must_not_be_uploaded_are_immunized_in_the_browser(
    page: Any, address: str, given_photo: Path
) -> None:
    page.click("text=Immunize them in this browser")
    page.wait_for_selector("#strength-says:not(:empty)")
    assert page.evaluate("crossOriginIsolated")  # several threads
    sent: list[str] = []
    page.on("request", lambda asked: None if asked.method == "GET" else sent.append(asked.url))
    page.set_input_files("#file", given_photo)
    page.wait_for_selector("#outcome:not([hidden])", timeout=PATIENCE)
    assert page.inner_text("#outcome-title") == given_photo.name
    assert sent == []
