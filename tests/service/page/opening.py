"""The pages in a real browser, for tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Root has no sandbox; the rest keeps Chromium's own services from asking for anything.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update"),
)
PHONE = {"width": 390, "height": 844}
PATIENCE = 240_000  # milliseconds, in which a service may have to load its models first
UNNAMED = """
[...document.querySelectorAll('a, button, input, img, progress, canvas')].filter(each =>
  !(each.alt || each.ariaLabel || each.getAttribute('aria-labelledby') || each.labels?.length
    || each.textContent.trim() || each.querySelector?.('img[alt]'))).map(each => each.id)
"""
PIXELS = """
(selector) => {
  const shown = document.querySelector(selector);
  const width = shown.naturalWidth ?? shown.width;
  const height = shown.naturalHeight ?? shown.height;
  const sheet = new OffscreenCanvas(width, height).getContext("2d");
  sheet.drawImage(shown, 0, 0);
  return [height, width, [...sheet.getImageData(0, 0, width, height).data]];
}
"""


def pixels(page: Any, selector: str) -> np.ndarray:
    """What an image or canvas holds, (H, W, 4)."""
    height, width, values = page.evaluate(PIXELS, selector)
    return np.reshape(values, (height, width, 4))


def wide(page: Any) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth"))


@contextmanager
def opened(
    browser: Any, address: str, ready: str = "#models li", limits: Any = None, **context: Any
) -> Iterator[Any]:
    """A page that may ask nobody but its own server, and must not throw.

    With limits it is answered those instead of the service's own.
    """
    page = browser.new_page(viewport=PHONE, accept_downloads=True, **context)
    page.set_default_timeout(PATIENCE)
    astray: list[str] = []
    home = "{}://{}/".format(*urlsplit(address)[:2])
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((home, "blob:")) else astray.append(asked.url),
    )
    page.on("pageerror", lambda error: astray.append(str(error)))
    if limits is not None:
        page.route("**/v1/limits", lambda route: route.fulfill(json=limits))
    page.goto(address)
    page.wait_for_selector(ready, state="attached")
    yield page
    page.close()
    assert astray == []
