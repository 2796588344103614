"""The page for a browser: what it shows of an overview, and that no name can be markup."""

from __future__ import annotations

import re
from typing import Any

from exporter.landing import ROWS, landing_page

HOSTILE = "<script>alert('a')</script>&\"\n🙂"


def row(**changes: Any) -> dict[str, Any]:
    return {
        "source": "shop",
        "destination": "orders",
        "group": "billing",
        "lag_messages": 1234,
        "lag_seconds": 250.0,
        "lag_seconds_uncertainty": 0.001,
        "commit_interval_seconds": 0.0,
        "time_to_loss_seconds": None,
        "produced_messages_per_second": 120.0,
        "consumed_messages_per_second": 130.25,
        "consumers": 2,
        "status": "lagging",
        "cause": None,
        "causes": [],
        "drains": True,
        **changes,
    }


def page(*rows: dict[str, Any], **source: Any) -> str:
    shop = {
        "source": "shop",
        "system": "kafka",
        "up": True,
        "reason": None,
        "message": "",
        "series": 42,
        **source,
    }
    return landing_page({"sources": [shop], "subscriptions": list(rows)})


def table(text: str, number: int) -> list[list[str]]:
    """The cells of a table, its head first."""
    found = re.findall(r"<table>(.*?)</table>", text, re.DOTALL)[number]
    return [re.split(r"<t[hd][^>]*>", line)[1:] for line in found.split("<tr>")[1:]]


def test_a_source_is_a_line() -> None:
    assert table(page(), 0) == [
        ["source", "system", "state", "series"],
        ["shop", "kafka", "up", "42"],
    ]


def test_a_source_that_is_down_says_why() -> None:
    text = page(up=False, reason="unreachable", message="no broker answers")
    assert table(text, 0)[1][2] == "<span class='bad'>unreachable</span>: no broker answers"


def test_a_subscription_is_a_line_with_its_numbers() -> None:
    head = ["source", "destination", "group", "lag", "age", "produced/s", "consumed/s", "consumers"]
    caused = row(
        cause="slow_consumers", causes=[{"cause": "slow_consumers", "evidence": "5 <i> a second"}]
    )
    line = ["shop", "orders", "billing", "1,234", "4 m 10 s", "120.0", "130.2", "2"]
    assert table(page(row(), caused), 1) == [
        [*head, "status", "why"],
        [*line, "lagging", ""],
        [*line, "lagging", "slow consumers: 5 &lt;i&gt; a second"],
    ]


def test_what_is_unknown_is_a_dash_and_zero_is_zero() -> None:
    unknown = row(
        lag_messages=0,
        lag_seconds=None,
        lag_seconds_uncertainty=None,
        produced_messages_per_second=None,
        consumed_messages_per_second=0.0,
        consumers=None,
    )
    assert table(page(unknown), 1)[1][3:] == ["0", "-", "-", "0.0", "-", "lagging", ""]


def test_how_soon_messages_are_lost_has_a_column_where_one_is_about_to_be() -> None:
    soon = row(time_to_loss_seconds=7_500.0)
    head, first, second = table(page(soon, row()), 1)
    assert (head[5], first[5], second[5]) == ("loss in", "2 h 5 m", "")
    assert "loss in" not in page(row(time_to_loss_seconds=90_000.0))


def test_a_backlog_that_does_not_get_better_is_marked() -> None:
    worse = page(row(drains=False))
    assert "<td class='n bad'>1,234<td class='n bad'>4 m 10 s<td class='n'>120.0" in worse
    assert "n bad" not in page(row())


def test_the_first_rows_are_shown_and_the_others_counted() -> None:
    text = page(*[row(group=f"g{index}") for index in range(ROWS + 3)])
    assert len(table(text, 1)) == ROWS + 1
    assert "… and 3 more" in text
    assert "more, in the" not in page(row())


def test_no_name_is_markup() -> None:
    hostile = row(source=HOSTILE, destination=HOSTILE, group=HOSTILE)
    text = page(hostile, source=HOSTILE, up=False, reason="internal", message=HOSTILE)
    assert "<script>" not in text
    assert text.count("&lt;script&gt;alert(&#x27;a&#x27;)&lt;/script&gt;&amp;&quot;") == 5
