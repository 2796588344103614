"""The texts of a row, which the page draws unchanged, and the judgement next to them."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.analysis.history import Point
from exporter.model import STATUSES, Words
from exporter.show.overview import Query, finish, query_of
from exporter.show.texts import FORMATS
from exporter.show.wording import rate, standing, standings, why
from exporter.systems import SYSTEMS, System
from tests.unit.test_overview import row as shown

NOW = 1_000_000.0


def row(**changes: Any) -> dict[str, Any]:
    """A subscription that lags, as `overview` returns it before texts are added."""
    return shown(
        "billing",
        lag_messages=1_234,
        lag_seconds=250.0,
        lag_upper_bound=False,
        lag_seconds_uncertainty=2.0,
        produced_messages_per_second=120.4,
        consumed_messages_per_second=90.25,
        consumers=None,
        lost_messages=0,
        status="lagging",
        status_since=NOW - 75.0,
        status_reason=None,
        time_to_loss_seconds=None,
        causes=[],
        drains=False,
        **changes,
    )


def finished(**changes: Any) -> dict[str, Any]:
    made = {**row(), **changes}
    finish([made], Query(text=True), NOW)
    return made


def text(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = finished(**changes)["text"]
    return found


def test_a_number_has_its_text_under_the_same_key_and_what_is_unknown_has_none() -> None:
    assert text() == {
        "lag_messages": "1,234",
        "lag_seconds": "4 m 10 s",
        "lag_seconds_uncertainty": "2.0 s",
        "commit_interval_seconds": "5.0 s",
        "produced_messages_per_second": "120",
        "consumed_messages_per_second": "90.2",
        "lost_messages": "0",
        "destination": "orders",
        "status_since": "1 m 15 s",
        "why": "",
        "thresholds": {"lag_messages": "1,000", "lag_seconds": "5.0 s"},
    }


def test_a_bound_is_marked() -> None:
    assert text(lag_upper_bound=True)["lag_messages"] == "≤1,234"
    partly = text(lag_messages=None, lag_seconds=None)
    assert (partly["lag_messages"], partly["lag_seconds"]) == ("≥1,234", "≥4 m 10 s")
    nothing = dict.fromkeys(
        ("lag_messages", "lag_messages_at_least", "lag_seconds", "lag_seconds_at_least")
    )
    assert not nothing.keys() & text(**nothing).keys()


def test_a_destination_is_named_with_its_vhost() -> None:
    assert text(vhost="shop")["destination"] == "shop/orders"
    assert text(vhost="/")["destination"] == "orders"


def test_a_status_that_is_new_or_from_the_future_is_no_time_old() -> None:
    assert text(status_since=NOW + 5.0)["status_since"] == "0 s"
    assert "status_since" not in text(status_since=None)


def test_a_history_has_its_span_and_its_peaks() -> None:
    history = {"step_seconds": 60.0, "start": 0.0, "lag_messages": [None, 1_500, 2]}
    found = text(history={**history, "consumed_messages_per_second": [None, None, 5.25]})
    assert found["history"] == {
        "span": "3 m 0 s",
        "lag_messages": "1,500",
        "consumed_messages_per_second": "5.2",
    }
    assert text(history={**history, "lag_messages": [None]})["history"]["lag_messages"] == "0"


def test_every_column_of_a_history_has_a_format() -> None:
    assert set(Point._fields) <= FORMATS.keys()


@pytest.mark.parametrize(
    ("system", "names", "expected"),
    [
        ("kafka", ["0"], "1 partition"),
        ("kafka", ["0", "1"], "2 partitions"),
        ("nsq", ["a:4150"], "1 nsqd"),
        ("nsq", ["a:4150", "b:4150"], "2 nsqd"),
        ("rabbitmq", [None], "0 partitions"),
    ],
)
def test_parts_are_counted_by_their_name(system: str, names: list[str], expected: str) -> None:
    parts: list[dict[str, Any]] = [
        {"partition": name, "lag_messages": 1_500, "lag_seconds": None, "committed_offset": 7}
        for name in names
    ]
    made = finished(system=system, partitions=parts)
    assert made["text"]["partitions"] == expected
    told = {"lag_messages": "1,500", "committed_offset": "7"}
    assert all(part.get("text") == told for part in parts if part["partition"] is not None)


def test_a_row_says_what_a_part_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert finished()["part"] == "partition"
    assert finished(system="nsq")["part"] == "nsqd"
    monkeypatch.setitem(SYSTEMS, "pile", System("", "", "", "queues", words=Words(part="heap")))
    parts = [{"partition": name} for name in "ab"]
    made = finished(system="pile", partitions=parts)
    assert (made["part"], made["text"]["partitions"]) == ("heap", "2 heaps")


def test_texts_are_there_where_they_are_asked_for_and_the_standing_always() -> None:
    made = row()
    finish([made], Query(), NOW)
    assert made["standing"] == "bad"
    assert "text" not in made
    assert query_of({"text": "true"}).text
    assert not query_of({"text": "0"}).text
    assert not query_of({}).text


def test_each_status_has_the_worst_standing_it_can_have() -> None:
    found = standings()
    assert tuple(found) == STATUSES
    for status, worst in found.items():
        order = [standing({"status": status, "drains": drains}) for drains in (True, False, None)]
        assert worst == max(order, key=("good", "unsure", "bad").index)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0.0"), (99.94, "99.9"), (100.0, "100"), (12_345.6, "12,346")]
)
def test_a_rate_has_tenths_below_100(value: float, expected: str) -> None:
    assert rate(value) == expected


CAUSE = {"cause": "slow_consumers", "evidence": "2 consumers are busy"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"status_reason": "no commit"}, "no commit"),
        ({"causes": [CAUSE]}, "slow consumers: 2 consumers are busy"),
        (
            {"causes": [CAUSE], "status_reason": "no commit"},
            "no commit; slow consumers: 2 consumers are busy",
        ),
        (
            {
                "causes": [CAUSE, {"cause": "x", "evidence": "y"}],
                "status_reason": CAUSE["evidence"],
            },
            "slow consumers: 2 consumers are busy",
        ),
        ({"time_to_loss_seconds": 86_400.0}, ""),
        ({"time_to_loss_seconds": 60.0}, "unread messages will be deleted in 1 m 0 s"),
        ({"time_to_loss_seconds": 0.0}, "retention has reached unread messages"),
    ],
)
def test_why_is_one_line(changes: dict[str, Any], expected: str) -> None:
    assert why({**row(), **changes}) == expected


def test_a_dormant_group_moved_longer_ago_than_the_exporter_knows() -> None:
    part = {"partition": "0", "lag_messages": 5, "unmoved_seconds": 361.0}
    for status, expected in (("dormant", "≥6 m 1 s"), ("stopped", "6 m 1 s")):
        made = finished(status=status, partitions=[dict(part)])
        assert made["partitions"][0]["text"]["unmoved_seconds"] == expected
