"""A browser, a page on which nothing may go wrong, and a daemon that tells what a test wants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.browser import PATIENCE_MS, browser
from tests.support.told import Told, ToldDaemon

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context(viewport={"width": 1280, "height": 800}) as made:
        made.set_default_timeout(PATIENCE_MS)
        yield made


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong in a script, and which may ask nobody but the daemon."""
    made, wrong = context.new_page(), []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    asked: set[str] = set()
    made.on("request", lambda request: asked.add(request.url.split("/")[2]))
    yield made
    assert wrong == []
    assert len(asked) == 1
    assert made.evaluate("window.hacked") is None


@pytest.fixture
def shop() -> Told:
    return Told(
        {
            ("billing", "orders"): [700, 800],
            ("shipping", "orders"): [3, 0],
            ("mailer", "emails"): [0],
        }
    )


@pytest.fixture
def daemon(shop: Told) -> Iterator[ToldDaemon]:
    with ToldDaemon(shop=shop) as made:
        yield made
