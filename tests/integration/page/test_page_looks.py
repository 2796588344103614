"""How the page looks: accessible to everybody (axe-core), and without a horizontal scroll bar; pictures on demand.

With MQ_PAGE_PICTURES=folder, the pictures are written there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from testbed.tools import ROOT, cached_folder
from tests.support.browser import PATIENCE_MS
from tests.support.busy import SETTINGS, Busy
from tests.support.told import ToldDaemon

SIZES = ((1280, 800), (820, 800), (390, 800))
SCHEMES = ("light", "dark")


def axe() -> str:
    """The source of axe-core."""
    package = json.loads((ROOT / "scripts/axe/package.json").read_text())
    folder = cached_folder(f"axe-{package['dependencies']['axe-core']}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


def findings(page: Page) -> list[str]:
    """What axe-core finds, each rule with the elements."""
    page.evaluate(axe())
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(result => result.violations)")
    return [
        f"{each['id']}: {[node['html'] for node in each['nodes']]} {each['nodes'][0]['failureSummary']}"
        for each in found
    ]


def save(page: Page, name: str) -> None:
    folder = os.environ.get("MQ_PAGE_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def check_width(page: Page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("count", [5, 50, 2_000])
def test_list_and_detail_at_each_size(chromium: Browser, count: int) -> None:
    with ToldDaemon(SETTINGS, shop=Busy(count=count), web=Busy(count=1)) as daemon:
        for (width, height), scheme in [(size, scheme) for size in SIZES for scheme in SCHEMES]:
            with chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,  # type: ignore[arg-type]
            ) as context:
                context.set_default_timeout(PATIENCE_MS)
                page = context.new_page()
                page.goto(daemon.url)
                expect(page.locator("#rows tr")).to_have_count(min(count + 1, 100))
                expect(page.locator("#statuses")).to_contain_text(re.compile("lagging|stalled"))
                check_width(page, width)
                save(page, f"list-{count}-{width}-{scheme}")
                page.locator("#rows a").first.click()
                expect(page.locator("#detail h2")).to_be_visible()
                check_width(page, width)
                save(page, f"detail-{count}-{width}-{scheme}")


def test_it_is_accessible(chromium: Browser) -> None:
    shop = Busy(count=5)
    with ExitStack() as stack:
        daemon = stack.enter_context(ToldDaemon(SETTINGS, shop=shop, web=Busy(count=1)))
        pages = {scheme: stack.enter_context(open_page(chromium, scheme)) for scheme in SCHEMES}
        for page in pages.values():
            page.goto(daemon.url)
            expect(page.locator("#statuses")).to_contain_text("lagging")
            for panel in ("health", "legend"):
                page.locator(f"#{panel} summary").click()
            expect(page.locator(".card")).to_have_count(2)
        check_all(pages)
        for page in pages.values():
            page.locator("#rows a").first.click()
            expect(page.locator("figure")).to_have_count(3)
        check_all(pages)
        shop.fault = "no broker answers"
        for page in pages.values():
            expect(page.locator("#detail .banner")).to_be_visible()
        check_all(pages)
        for page in pages.values():
            page.keyboard.press("Escape")
            expect(page.locator("#rows tr.old")).to_have_count(5)
        check_all(pages)
        daemon.stop()
        for page in pages.values():
            expect(page.locator("#trouble")).to_be_visible()
        check_all(pages)


@contextmanager
def open_page(chromium: Browser, scheme: str) -> Iterator[Page]:
    # The page's policy lets no other script run.
    with chromium.new_context(color_scheme=scheme, bypass_csp=True) as context:  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE_MS)
        yield context.new_page()


def check_all(pages: Mapping[str, Page]) -> None:
    found = {scheme: findings(page) for scheme, page in pages.items()}
    assert not any(found.values()), found
