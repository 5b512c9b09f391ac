"""A browser for the tests of the pages."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.page.opening import CHROMIUM, FLAGS, PATIENCE


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    playwright.expect.set_options(timeout=PATIENCE)  # five seconds, which a busy machine may need
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
