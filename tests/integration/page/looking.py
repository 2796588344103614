"""What the tests of the page have in common."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support.told import ToldDaemon


def names(page: Page) -> list[str]:
    return page.locator("#rows .name a").all_inner_texts()


def opened(page: Page, daemon: ToldDaemon) -> None:
    page.goto(daemon.url)
    expect(page.locator("#rows tr")).to_have_count(3)
    expect(page.locator("#rows .state").first).to_have_text("lagging")
