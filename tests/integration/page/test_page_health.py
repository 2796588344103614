"""The page while something is wrong: a dead source, a dead daemon, a refusal, nothing to show."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, Route, expect

from tests.integration.page.looking import names, opened
from tests.support.busy import SETTINGS, Busy
from tests.support.told import Told, ToldDaemon

ANSWERS = "**/api/v1/subscriptions*"


def hang(_: Route) -> None:
    """Answer nothing."""


def test_a_dead_source_keeps_its_rows_in_grey(page: Page, daemon: ToldDaemon, shop: Told) -> None:
    opened(page, daemon)
    expect(page).to_have_title("(1) mq-lag-exporter")
    shop.fault = "no broker answers at told:9092"
    states = page.locator("#rows .state")
    expect(states).to_have_text(["was lagging", "was ok", "was ok"])
    expect(page.locator("#rows tr.old")).to_have_count(3)
    # Past `hold`, 2 s, the metrics are hidden; the rows are not.
    expect(page.locator("#rows small").first).to_have_text(re.compile(r"^([3-9]\.|\d\d).* ago$"))
    expect(page.locator("#rows tr.old")).to_have_count(3)
    expect(page.locator("#rows td.n").first).to_have_text("1,500")
    expect(page.locator("#statuses button")).to_have_text(["3 stale"])
    expect(page).to_have_title("(1) mq-lag-exporter")
    page.locator("#rows a").first.click()
    expect(page.locator("#detail .banner")).to_contain_text("The source cannot be read")
    expect(page.get_by_role("link", name="MqSourceDown")).to_be_visible()
    shop.fault = None
    expect(page.locator("#detail .banner")).to_have_count(0)


def test_a_dead_source_counts_beside_the_others(page: Page, shop: Told) -> None:
    web = Told({("clicks", "views"): [7]})
    with ToldDaemon(shop=shop, web=web) as daemon:
        page.goto(daemon.url)
        expect(page).to_have_title("(1) mq-lag-exporter")
        web.fault = "no broker answers"
        expect(page).to_have_title("(2) mq-lag-exporter")
        expect(page.locator("#rows tr.old")).to_have_count(1)
        expect(page.locator("#statuses button")).to_have_text(["1 lagging", "1 stale", "2 ok"])
        page.get_by_role("button", name="1 stale").click()
        expect(page.locator("#rows tr")).to_have_count(1)
        assert names(page) == ["clicks"]


def test_a_source_that_was_never_read(page: Page) -> None:
    told = Told({("g", "t"): [1]}, fault="no broker answers")
    with ToldDaemon(shop=told) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#none")).to_contain_text("A source cannot be read")
        expect(page.locator("#down")).to_contain_text("has not been read since")
        expect(page).to_have_title("(1) mq-lag-exporter")


def test_nothing_to_show_yet(page: Page) -> None:
    with ToldDaemon(shop=Told({})) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#none")).to_contain_text("No subscriptions yet.")
        expect(page.locator("#table")).to_be_hidden()


def test_it_is_back_within_5_seconds_of_the_daemon(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    daemon.stop()
    # Long enough that a back-off would have grown.
    expect(page.locator("#trouble")).to_have_text(re.compile(r"No answer for (1\d|[6-9]) s"))
    daemon.start()
    began = time.monotonic()
    expect(page.locator("#trouble")).to_be_hidden()
    assert time.monotonic() - began < 5.0
    expect(page.locator("body.stale")).to_have_count(0)


def test_an_answer_that_does_not_come_is_no_answer(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    page.route(ANSWERS, hang)
    expect(page.locator("#trouble")).to_contain_text("request timed out")
    expect(page.locator("body.stale")).to_have_count(1)
    expect(page).to_have_title("(!) mq-lag-exporter")
    page.unroute(ANSWERS)
    expect(page.locator("#trouble")).to_be_hidden()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "user name and password are needed"),
        (403, "Access denied (403)"),
        (500, "answers with an error: status 500"),
    ],
)
def test_a_refusal_says_what_to_do(page: Page, daemon: ToldDaemon, status: int, words: str) -> None:
    page.route(ANSWERS, lambda route: route.fulfill(status=status, body="no"))
    page.goto(daemon.url)
    expect(page.locator("#trouble")).to_contain_text(words)
    expect(page.locator("#none")).to_have_text("Nothing to show yet.")
    page.unroute(ANSWERS)
    expect(page.locator("#rows tr")).to_have_count(3)


def test_while_it_loads_it_says_so(page: Page, daemon: ToldDaemon) -> None:
    page.route(ANSWERS, hang)
    page.goto(daemon.url)
    expect(page.locator("#none")).to_contain_text("Loading subscriptions")
    expect(page.locator("#main")).to_have_attribute("aria-busy", "true")
    page.unroute_all(behavior="ignoreErrors")


def test_the_panel_of_sources(page: Page) -> None:
    busy = Busy(count=1)
    with ToldDaemon(SETTINGS, shop=busy) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#sources")).to_have_text("shop (kafka) up")
        page.locator("#health summary").click()
        card = page.locator(".card")
        expect(card).to_contain_text("2 of 3 up (down: kafka-3:9092)")
        expect(card).to_contain_text("1 of 1 succeed")
        expect(card.locator("tbody tr")).to_have_count(5)
        expect(card.locator("tbody tr").first).to_contain_text("backlog")
        busy.fault = "no broker answers at told:9092"
        expect(card.locator("tbody tr").first).to_contain_text("unreachable: no broker answers")


def test_what_the_statuses_mean(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    page.locator("#legend summary").click()
    expect(page.locator("#meanings")).to_contain_text("the same messages fail again and again")
    expect(page.locator("#statuses button").first).to_have_attribute(
        "title", "the lag or the age is above its threshold"
    )


def test_a_subscription_that_loses_messages_soon_is_not_well(page: Page) -> None:
    """Its lag is below all thresholds, and retention is 20 minutes away."""
    settings = "thresholds:\n  - {lag_messages: off, lag_seconds: off}\n"
    with ToldDaemon(settings, shop=Busy(count=6)) as daemon:
        page.goto(daemon.url)
        row = page.locator("#rows tr", has_text="archive")
        expect(row.locator(".why")).to_contain_text("unread messages will be deleted in")
        expect(row.locator(".state")).to_have_class("state bad")
        assert names(page)[0] in ("archive", "search-index")
        bad = page.locator("#rows .state.bad").count()
        expect(page).to_have_title(re.compile(rf"^\([{max(bad - 1, 1)}-{bad + 1}]\)"))


def test_of_many_sources_the_ones_in_trouble_are_named(page: Page) -> None:
    told = {f"source-{number}": Told({(f"g{number}", "t"): [1]}) for number in range(9)}
    told["source-4"].fault = "no broker answers"
    with ToldDaemon(**told) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#sources")).to_have_text("9 sources: 8 up source-4 (kafka) down")
