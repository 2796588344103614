"""One subscription: its charts, its partitions, and where to read on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Error, Page, Route, expect

from tests.support.busy import SETTINGS, Busy
from tests.support.told import ToldDaemon


@pytest.fixture(scope="module")
def busy() -> Iterator[ToldDaemon]:
    """One daemon for all tests of this file: its groups need seconds to fall behind."""
    with ToldDaemon(SETTINGS, shop=Busy(count=5)) as made:
        yield made


@pytest.fixture
def detail(page: Page, busy: ToldDaemon) -> Page:
    """The page of a group that falls behind, once its status says so."""
    page.goto(f"{busy.url}/#/kafka/shop//orders-1/shipping")
    expect(page.locator("#detail .state")).to_have_text("lagging")
    return page


def test_charts_have_a_time_axis_and_show_values(detail: Page) -> None:
    figures = detail.locator("figure")
    expect(figures).to_have_count(3)
    time = re.compile(r"^\d\d:\d\d(:\d\d)?$")
    for figure in figures.all():
        expect(figure.locator(".axis span")).to_have_text([time] * 4)
    expect(figures.first.locator(".value")).to_have_text(
        re.compile(r"^max [\d,]+ · threshold 1,000$")
    )
    expect(figures.first.locator(".limit")).to_have_count(1)
    figures.first.locator("svg").hover()
    pointed = re.compile(r"^\d\d:\d\d:\d\d  [\d,.]+")
    expect(figures.first.locator(".value")).to_have_text(pointed)
    expect(figures.last.locator(".value")).to_have_text(re.compile(r" / "))
    for _ in range(2):  # it stays when the next answer comes
        with detail.expect_response("**/api/v1/subscriptions*"):
            pass
    expect(figures.first.locator(".value")).to_have_text(pointed)
    expect(figures.first.locator(".rule")).to_have_attribute("visibility", "visible")
    detail.mouse.move(2, 2)
    expect(figures.first.locator(".value")).to_contain_text("max")


def test_charts_can_be_read_by_keyboard(detail: Page) -> None:
    detail.locator("#charts").focus()
    detail.keyboard.press("ArrowRight")
    value = detail.locator("figure .value").first
    expect(value).to_have_text(re.compile(r"^\d\d:\d\d:\d\d  "))
    before = value.inner_text()
    detail.keyboard.press("ArrowLeft")
    expect(value).not_to_have_text(before)
    for _ in range(2):
        with detail.expect_response("**/api/v1/subscriptions*"):
            pass
    expect(detail.locator("#charts")).to_be_focused()


def test_ranges_reach_as_far_as_the_history(page: Page, busy: ToldDaemon) -> None:
    step, points = 60.0, 59

    def lengthen(route: Route) -> None:
        try:
            told = route.fetch().json()
        except Error:
            return  # the page has given this request up
        for row in told["subscriptions"]:
            history = row["history"]
            history["step_seconds"] = step
            history["start"] = told["time"] - step * points
            for column in [name for name, values in history.items() if isinstance(values, list)]:
                history[column] = [float(number) for number in range(points)]
                row["text"]["points"][column] = [str(number) for number in range(points)]
            row["rebalanced_at"] = [told["time"] - 600.0]
        route.fulfill(json=told)

    address = f"{busy.url}/#/kafka/shop//orders-1/shipping"
    page.goto(address)
    expect(page.locator("#range-15m")).to_be_visible()
    expect(page.locator("#range-1h")).to_have_count(0)
    page.route("**/api/v1/subscriptions*", lengthen)
    expect(page.locator("#range-1h")).to_be_visible()
    expect(page.locator("#range-6h")).to_have_count(0)
    expect(page.locator("#range-1h")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("figure").first.locator("line.mark")).to_have_count(1)
    expect(page.locator("#detail")).to_contain_text("┆ rebalance")
    start = page.locator("figure .axis span").first
    whole = start.inner_text()
    page.locator("#range-15m").click()
    expect(start).not_to_have_text(whole)
    assert "range=15m" in page.url
    page.reload()
    expect(page.locator("#range-15m")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator("#range-1h")).to_have_attribute("aria-pressed", "true")
    page.unroute_all(behavior="ignoreErrors")


def test_each_partition_has_its_offsets_and_its_consumer(page: Page, busy: ToldDaemon) -> None:
    page.goto(f"{busy.url}/#/kafka/shop//orders-3/search-index")
    table = page.locator("#partitions")
    expect(table.locator("thead th")).to_have_text(
        [
            "partition",
            *("lag", "age", "last movement", "committed", "end offset", "start offset"),
            "consumer",
        ]
    )
    first = table.locator("tbody tr").first
    expect(first.locator("td").nth(2)).to_have_text(re.compile(r"^[\d.]+ s ago$"))
    expect(first).to_contain_text("assigned")


def test_it_says_where_to_read_on(detail: Page) -> None:
    expect(detail.get_by_role("link", name="MqLagHigh")).to_have_attribute(
        "href", re.compile("/docs/runbooks/MqLagHigh.md$")
    )
    expect(detail.locator("code")).to_have_text(
        "/d/mq-subscription?var-system=kafka&var-source=shop&var-vhost="
        "&var-destination=orders-1&var-group=shipping"
    )
    link = detail.get_by_role("link", name="this subscription").get_attribute("href")
    found = detail.evaluate(f"fetch('{link}').then(answer => answer.json())")
    assert [row["group"] for row in found["subscriptions"]] == ["shipping"]
    assert len(found["subscriptions"][0]["partitions"]) == 3
    expect(detail.locator("#detail .meaning")).to_have_text(
        "the lag or the age is above its threshold"
    )


def test_the_last_commit_of_a_group_that_stands_still_is_marked(
    page: Page, busy: ToldDaemon
) -> None:
    page.goto(f"{busy.url}/#/kafka/shop//orders-3/search-index")
    expect(page.locator("figure").first.locator("line.mark.commit")).to_have_count(1)
    expect(page.locator("#detail .title")).to_contain_text("┆ last commit")
