"""Order, filter, source and status of the list: what can be chosen, and that the address has all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Page, expect

from tests.integration.page.looking import names, opened
from tests.support.told import Told, ToldDaemon

NINE: dict[tuple[str, str], Sequence[int]] = {
    (f"group-{number}", "orders"): [number * 500] for number in range(9)
}


@pytest.fixture
def pair() -> Iterator[ToldDaemon]:
    """Two clusters, the first with nine groups."""
    with ToldDaemon(shop=Told(NINE), web=Told({("clicks", "views"): [7]})) as made:
        yield made


def shown(page: Page, *expected: str) -> None:
    """Wait until these are the rows, in this order."""
    expect(page.locator("#rows .name a")).to_have_text(list(expected))


def test_any_column_sorts_and_the_worst_come_first_by_default(
    page: Page, daemon: ToldDaemon
) -> None:
    opened(page, daemon)
    shown(page, "billing", "shipping", "mailer")
    heads = page.locator("#heads button")
    heads.get_by_text("lag", exact=True).click()
    shown(page, "billing", "shipping", "mailer")
    expect(page.locator("#heads th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    heads.get_by_text("lag", exact=True).click()
    shown(page, "mailer", "shipping", "billing")
    heads.get_by_text("lag", exact=True).click()
    shown(page, "billing", "shipping", "mailer")
    expect(page.locator("#heads th[aria-sort]")).to_have_text("status")
    heads.get_by_text("subscription").click()
    shown(page, "billing", "mailer", "shipping")
    for head in heads.all()[1:]:
        with page.expect_response(lambda answer: answer.ok and "sort=" in answer.url):
            head.click()
        expect(page.locator("#rows tr")).to_have_count(3)


def test_filter_sort_and_status_are_in_the_address(page: Page, pair: ToldDaemon) -> None:
    page.goto(pair.url)
    expect(page.locator("#rows tr")).to_have_count(10)
    page.locator("#heads button").get_by_text("lag", exact=True).click()
    page.get_by_role("button", name=re.compile("ok$")).click()
    page.fill("#filter", "group")
    shown(page, "group-2", "group-1", "group-0")
    address = page.url
    page.reload()
    shown(page, "group-2", "group-1", "group-0")
    expect(page.locator("#filter")).to_have_value("group")
    page.go_back()
    expect(page.locator("#filter")).to_have_value("")
    shown(page, "group-2", "group-1", "clicks", "group-0")
    page.go_back()
    expect(page.locator("#rows tr")).to_have_count(10)
    page.go_forward()
    page.go_forward()
    shown(page, "group-2", "group-1", "group-0")
    assert page.url == address
    page.locator("#rows a").first.click()
    expect(page.locator("#detail h2")).to_contain_text("group-2")
    page.keyboard.press("Escape")
    shown(page, "group-2", "group-1", "group-0")
    expect(page.locator("#rows a").first).to_be_focused()
    page.locator("#home").click()
    expect(page.locator("#rows tr")).to_have_count(10)
    expect(page.locator("#filter")).to_have_value("")


def test_a_word_typed_is_one_step_back(page: Page, pair: ToldDaemon) -> None:
    page.goto(pair.url)
    expect(page.locator("#rows tr")).to_have_count(10)
    page.keyboard.press("/")
    page.keyboard.type("clicks")
    shown(page, "clicks")
    page.go_back()
    expect(page.locator("#rows tr")).to_have_count(10)


def test_the_counts_of_statuses_follow_the_filter(page: Page, pair: ToldDaemon) -> None:
    page.goto(pair.url)
    expect(page.locator("#rows tr")).to_have_count(10)
    statuses = page.locator("#statuses button")
    expect(statuses).to_have_text(["6 lagging", "4 ok"])
    page.fill("#filter", "clicks")
    expect(statuses).to_have_text(["1 ok"])
    page.fill("#filter", "group")
    expect(statuses).to_have_text(["6 lagging", "3 ok"])
    statuses.first.click()
    expect(page.locator("#rows tr")).to_have_count(6)
    expect(statuses).to_have_text(["6 lagging", "3 ok"])
    expect(page.locator("#count")).to_have_text("6 of 10 subscriptions")


def test_a_source_can_be_chosen(page: Page, pair: ToldDaemon) -> None:
    page.goto(pair.url)
    expect(page.locator("#rows tr")).to_have_count(10)
    page.select_option("#source", "source/kafka/web")
    shown(page, "clicks")
    page.reload()
    shown(page, "clicks")
    expect(page.locator("#source")).to_have_value("source/kafka/web")
    page.select_option("#source", "")
    expect(page.locator("#rows tr")).to_have_count(10)


def test_one_source_needs_no_choice(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    expect(page.locator("#source")).to_be_hidden()


def test_a_narrow_page_sorts_too(page: Page, daemon: ToldDaemon) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    opened(page, daemon)
    page.select_option("#order", "name")
    shown(page, "billing", "mailer", "shipping")


def test_a_row_is_one_line_and_the_head_stays(page: Page) -> None:
    told = Told({(f"group-{number:03}", "orders" * 20): [2_000 + number] for number in range(60)})
    with ToldDaemon(shop=told) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#rows tr")).to_have_count(60)
        inside = page.evaluate(
            "[...document.querySelectorAll('#rows tr')]"
            ".filter(row => row.getBoundingClientRect().bottom <= innerHeight).length"
        )
        assert inside >= 16
        name = page.locator("#rows .name").first
        assert "orders" * 20 in (name.get_attribute("title") or "")
        page.mouse.wheel(0, 700)
        page.wait_for_function("scrollY > 300")
        top = page.evaluate("document.querySelector('#heads th').getBoundingClientRect().top")
        assert top == 0


def test_at_most_a_few_hundred_rows_are_drawn(page: Page) -> None:
    told = Told({(f"group-{number:04}", "orders"): [number] for number in range(2_000)})
    with ToldDaemon(shop=told) as daemon:
        page.goto(daemon.url)
        for count in (100, 200, 400):
            expect(page.locator("#rows tr")).to_have_count(count)
            if count < 400:
                page.locator("#more").click()
        expect(page.locator("#more")).to_be_hidden()
        expect(page.locator("#narrow")).to_have_text("1,600 more: narrow the filter to see them")
        page.keyboard.press("/")
        page.evaluate(
            "window.most = 0; new MutationObserver(() => {"
            "most = Math.max(most, document.querySelectorAll('#rows tr').length)"
            "}).observe(document.querySelector('#rows'), {childList: true})"
        )
        page.keyboard.type("group-0007")
        expect(page.locator("#rows tr")).to_have_count(1)
        assert names(page) == ["group-0007"]
        assert 1 <= page.evaluate("most") <= 400
