"""The page at `/` in a real browser: what a person sees, and that it goes on whatever happens to the daemon."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from testbed.waiting import wait_until
from tests.integration.page.looking import names, opened
from tests.support.told import Told, ToldDaemon

HOSTILE = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"'/><svg onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "#/a/b/c %2F&?x=1 🙂\u202e",
)


def test_it_shows_the_worst_first_and_why(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    assert names(page)[0] == "billing"
    worst = page.locator("#rows tr").first
    expect(worst.locator("td").nth(2)).to_have_text("1,500")
    expect(worst.locator(".name")).to_have_attribute("title", "billing on orders (shop)")
    expect(worst.locator("svg.spark")).to_have_attribute("aria-label", re.compile("now 1,500"))
    expect(page.locator("#sources")).to_contain_text("shop (kafka) up")
    expect(page.locator("#statuses")).to_contain_text("1 lagging")
    expect(page.locator("#updated")).to_contain_text("updated")
    expect(page).to_have_title("(1) mq-lag-exporter")


def test_it_filters_by_words_and_by_status(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    page.keyboard.press("/")
    page.keyboard.type("ORDERS ship")
    expect(page.locator("#rows tr")).to_have_count(1)
    assert names(page) == ["shipping"]
    expect(page.locator("#count")).to_have_text("1 of 3 subscriptions")
    page.fill("#filter", "nothing like it")
    expect(page.locator("#none")).to_have_text("No subscription matches.")
    page.fill("#filter", "")
    page.get_by_role("button", name="1 lagging").click()
    expect(page.locator("#rows tr")).to_have_count(1)
    page.get_by_role("button", name="1 lagging").click()
    expect(page.locator("#rows tr")).to_have_count(3)


def test_it_updates_by_itself(page: Page, daemon: ToldDaemon, shop: Told) -> None:
    opened(page, daemon)
    shop.lags["mailer", "emails"] = [123_456]
    expect(page.locator("#rows tr").first.locator("td").nth(2)).to_have_text("123,456")
    assert names(page)[0] == "mailer"
    shop.lags["new", "orders"] = [1, 1]
    expect(page.locator("#rows tr")).to_have_count(4)
    del shop.lags["mailer", "emails"]
    expect(page.locator("#rows tr")).to_have_count(3)


def test_one_subscription_by_keyboard(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    detail = page.locator("#detail")
    expect(detail.locator("h2")).to_have_text("billing on orders, shop (kafka)")
    expect(detail.locator("h2")).to_be_focused()
    expect(detail.locator("#partitions tbody tr")).to_have_count(2)
    expect(detail.locator("#partitions tbody tr").first).to_contain_text("800")
    expect(detail.locator(".facts")).to_contain_text("threshold 1,000")
    expect(detail.locator("svg.chart")).to_have_count(3)
    expect(detail.locator("svg.chart").first.locator(".limit")).to_have_count(1)
    expect(page.locator("#list")).to_be_hidden()
    page.reload()
    expect(detail.locator("h2")).to_have_text("billing on orders, shop (kafka)")
    page.keyboard.press("Escape")
    expect(page.locator("#rows tr")).to_have_count(3)
    expect(detail).to_be_hidden()


def test_the_focus_and_what_is_marked_stay_when_it_updates(
    page: Page, daemon: ToldDaemon, shop: Told
) -> None:
    opened(page, daemon)
    page.locator("#rows a").first.click()
    title = page.locator("#detail h2")
    expect(title).to_be_focused()
    shop.lags["billing", "orders"] = [7_000]
    expect(page.locator("#detail dd").first).to_have_text("7,000")
    expect(title).to_be_focused()
    page.locator("#back").focus()
    shop.lags["billing", "orders"] = [8_000]
    expect(page.locator("#detail dd").first).to_have_text("8,000")
    expect(page.locator("#back")).to_be_focused()
    title.select_text()
    for _ in range(2):  # when the second comes, the first has been shown
        with page.expect_response("**/api/v1/subscriptions*"):
            pass
    assert "billing" in page.evaluate("getSelection().toString()")


def test_a_name_that_is_odd_or_long_leaves_the_others_room(page: Page) -> None:
    told = Told({("g" * 249, "t" * 249): [9_000], (" ", "u"): [5], ("\u202eevil", "v"): [3]})
    with ToldDaemon(shop=told) as daemon:
        page.set_viewport_size({"width": 1280, "height": 700})
        page.goto(daemon.url)
        expect(page.locator("#rows tr")).to_have_count(3)
        assert '" "' in names(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        box = page.locator("#rows .name").first.bounding_box()
        assert box is not None
        assert box["width"] < 500
        for kind in ("a", "span"):
            style = f"getComputedStyle(document.querySelector('#rows .name {kind}')).unicodeBidi"
            assert page.evaluate(style) == "isolate"


def test_a_subscription_that_ends_while_it_is_looked_at(
    page: Page, daemon: ToldDaemon, shop: Told
) -> None:
    opened(page, daemon)
    page.locator("#rows a").first.click()
    expect(page.locator("#detail h2")).to_be_visible()
    del shop.lags["billing", "orders"]
    expect(page.locator("#detail")).to_contain_text("billing on orders (shop) does not exist")
    page.locator("#back").click()
    expect(page.locator("#rows tr")).to_have_count(2)


def test_a_dead_source_says_why_and_comes_back(page: Page, daemon: ToldDaemon, shop: Told) -> None:
    opened(page, daemon)
    shop.fault = "no broker answers at told:9092"
    expect(page.locator("#sources")).to_have_text("shop (kafka) down")
    expect(page.locator("#down")).to_have_text(
        "shop (kafka) cannot be read: unreachable: no broker answers at told:9092. "
        "Its subscriptions show their last values."
    )
    shop.fault = None
    expect(page.locator("#down")).to_be_hidden()
    expect(page.locator("#rows .state").first).to_have_text("lagging")


def test_it_survives_the_daemon_s_restart(page: Page, daemon: ToldDaemon) -> None:
    opened(page, daemon)
    daemon.stop()
    expect(page.locator("#trouble")).to_have_text(
        re.compile(
            r"^No answer for \d+ s\. The exporter does not respond: connection failed\. "
            r"The data shown is from \d\d:\d\d:\d\d\.$"
        )
    )
    expect(page.locator("#rows tr")).to_have_count(3)
    daemon.start()
    expect(page.locator("#trouble")).to_be_hidden()
    expect(page.locator("#rows tr")).to_have_count(3)


def test_names_are_text_whatever_they_are(page: Page) -> None:
    told = Told({(f"g{name}", f"t{name}"): [index + 5] for index, name in enumerate(HOSTILE)})
    with ToldDaemon(shop=told) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#rows tr")).to_have_count(len(HOSTILE))
        assert sorted(names(page)) == sorted(f"g{name}" for name in HOSTILE)
        for index, name in enumerate(HOSTILE):
            page.locator("#rows a").get_by_text(f"g{name}", exact=True).click()
            expect(page.locator("#detail h2")).to_have_text(f"g{name} on t{name}, shop (kafka)")
            expect(page.locator("#partitions")).to_contain_text(str(index + 5))
            page.keyboard.press("Escape")
            expect(page.locator("#list")).to_be_visible()
        assert page.locator("#main script, #main img").count() == 0


def test_ten_thousand_subscriptions(page: Page) -> None:
    """What is not in sight is not sent, and the rest is one request away."""
    told = Told({(f"group-{n:05}", f"topic-{n % 100}"): [n] for n in range(10_000)})
    with ToldDaemon(shop=told) as daemon:
        page.goto(daemon.url)
        expect(page.locator("#count")).to_have_text("10,000 subscriptions")
        expect(page.locator("#rows tr")).to_have_count(100)
        expect(page.locator("#rows .state").first).to_have_text("lagging")
        assert names(page)[0] == "group-09999"
        page.fill("#filter", "group-00007")
        expect(page.locator("#rows tr")).to_have_count(1)
        page.fill("#filter", "")
        page.locator("#more").click()
        expect(page.locator("#rows tr")).to_have_count(200)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(chromium: Browser, daemon: ToldDaemon, scheme: str) -> None:
    options = {"width": 360, "height": 740}
    with chromium.new_context(viewport=options, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        opened(page, daemon)
        for show in ("list", "detail"):
            if show == "detail":
                page.locator("#rows a").first.click()
                expect(page.locator("#detail h2")).to_be_visible()
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= options["width"], show
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


# The JSON that it reads


def test_the_json_selects(daemon: ToldDaemon) -> None:
    address = f"{daemon.url}/api/v1/subscriptions"

    def ask(**query: str) -> dict[str, Any]:
        answer = requests.get(address, query, timeout=60)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    wait_until(lambda: ask()["total"] == 3, "a look")
    (row,) = ask(source="shop", destination="orders", group="billing", history="true")[
        "subscriptions"
    ]
    assert row["lag_messages"] == 1_500
    history = row["history"]
    assert history["lag_messages"][-1] == 1_500
    assert len({len(column) for name, column in history.items() if isinstance(column, list)}) == 1
    assert "partitions" not in row
    assert ask(limit="1")["matching"] == 3
    assert len(ask(limit="1")["subscriptions"]) == 1
    assert ask(filter="no such thing")["subscriptions"] == []
    assert ask(statuses="x")["total"] == 3
    for query, words in (
        ({"limit": "-1"}, "limit: expected a number of subscriptions"),
        ({"history": "lags"}, "history: expected true, or some of lag_messages, lag_seconds"),
    ):
        answer = requests.get(address, query, timeout=60)
        assert (answer.status_code, answer.text.startswith(words)) == (400, True)


def test_nothing_but_its_own_files_may_run(daemon: ToldDaemon) -> None:
    answer = requests.get(daemon.url, timeout=60)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
