"""Which subscriptions are shown, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.show.overview import BadQueryError, Query, query_of, select
from exporter.show.sorting import SORTS


def row(group: str, **changes: Any) -> dict[str, Any]:
    made = {
        "system": "kafka",
        "source": "shop",
        "vhost": None,
        "destination": "orders",
        "group": group,
        "lag_messages": 10,
        "lag_seconds": 0.5,
        "commit_interval_seconds": 5.0,
        "status": "ok",
        "cause": None,
        "drains": True,
        "thresholds": {"lag_messages": 1_000, "lag_seconds": 5.0},
        **changes,
    }
    return {
        "lag_messages_at_least": made["lag_messages"],
        "lag_seconds_at_least": made["lag_seconds"],
        **made,
    }


def order(*rows: dict[str, Any]) -> list[str]:
    return [each["group"] for each in select(rows, Query())["subscriptions"]]


def test_who_stands_still_comes_before_who_is_well() -> None:
    well = row("well", lag_messages=900_000)
    drains = row("drains", status="lagging", lag_messages=50_000)
    still = row("still", status="stalled", lag_messages=3)
    assert order(well, drains, still) == ["still", "drains", "well"]


def test_who_is_further_past_its_own_threshold_comes_first() -> None:
    patient = row(
        "patient", lag_messages=9_000, thresholds={"lag_messages": 10_000, "lag_seconds": None}
    )
    late = row("late", lag_seconds=400.0)
    behind = row("behind", lag_messages=5_000)
    assert order(patient, behind, late) == ["late", "behind", "patient"]


def test_old_groups_that_nobody_reads_come_after_the_live_ones() -> None:
    old = row("old", status="dormant", lag_messages=9_000, lag_seconds=1_728_000.0)
    left = row("left", status="abandoned", lag_messages=9_000, lag_seconds=1_728_000.0)
    behind = row("behind", status="falling_behind")
    assert order(old, row("live"), left, behind) == ["behind", "left", "live", "old"]


def test_a_lower_bound_counts_where_nothing_more_is_known() -> None:
    partly = row("partly", status="unknown", lag_messages=None, lag_messages_at_least=5_000)
    assert order(row("few", status="unknown", lag_messages=2_000), partly) == ["partly", "few"]


def test_a_group_that_never_commits_is_no_fault_and_a_position_past_the_end_is_one() -> None:
    never = row("never", status="uncommitted", lag_messages=None, lag_seconds=None)
    past = row("past", status="past_end", lag_messages=0)
    assert order(never, row("falls", status="falling_behind"), past) == ["past", "falls", "never"]


def test_without_thresholds_and_numbers_messages_count() -> None:
    off = {"lag_messages": None, "lag_seconds": None}
    unknown = row("unknown", thresholds=off, lag_messages=None, lag_seconds=None)
    assert order(
        unknown, row("few", thresholds=off, lag_messages=1), row("many", thresholds=off)
    ) == [
        "many",
        "few",
        "unknown",
    ]


ROWS = (
    row("billing", status="lagging", cause="slow_consumers"),
    row("Bílling-2", destination="Ordérs"),
    row("", system="rabbitmq", source="rabbit", vhost="/", destination="billing") | {"group": None},
)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 3),
        ({"filter": "billing"}, 2),
        ({"filter": "BILLING rabbit"}, 1),
        ({"filter": "ORDÉRS"}, 1),
        ({"filter": "slow consumers"}, 1),
        ({"filter": "  "}, 3),
        ({"group": "billing"}, 1),
        ({"group": ""}, 1),
        ({"vhost": "/"}, 1),
        ({"vhost": "", "system": "kafka"}, 2),
        ({"status": "lagging"}, 1),
        ({"source": "shop", "filter": "2"}, 1),
        ({"group": "bill"}, 0),
        ({"status": ""}, 0),
        ({"statsu": "lagging", "sort": "name"}, 3),
    ],
)
def test_what_a_query_finds(given: dict[str, str], count: int) -> None:
    found = select(ROWS, query_of(given))
    assert (found["matching"], found["total"]) == (count, 3)
    assert len(found["subscriptions"]) == count
    assert found["statuses"] == {"lagging": 1, "ok": 2}


def test_a_limit_leaves_the_counts_as_they_are() -> None:
    found = select(ROWS, query_of({"limit": "1"}))
    assert (len(found["subscriptions"]), found["matching"], found["total"]) == (1, 3, 3)
    assert select(ROWS, query_of({"limit": "0"}))["subscriptions"] == []


def test_more_of_each_is_asked_for_by_name() -> None:
    assert query_of({"partitions": "true"}).partitions
    assert not query_of({"partitions": "no"}).partitions
    assert len(query_of({"history": "1"}).history) == 4
    assert query_of({"history": "lag_seconds,lag_messages"}).history == [
        "lag_seconds",
        "lag_messages",
    ]
    assert query_of({"history": ""}).history == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"limit": "ten"}, "limit: expected a number"),
        ({"limit": "-1"}, "limit: expected a number"),
        ({"limit": "²"}, "limit: expected a number"),
        ({"limit": "9" * 5000}, "limit: expected a number"),
        ({"history": "lag_messages,x"}, "history: expected true, or some of lag_messages"),
        ({"history": "lag_second"}, r"history: .*did you mean lag_seconds\?"),
        ({"status": "stoped"}, r"status: unknown value; did you mean stopped\? .*: unknown, "),
        ({"status": "Stopped"}, r"status: .*did you mean stopped\?"),
        ({"status": "?"}, "status: unknown value; Expected one of: .*, stalled, "),
        ({"status": "x" * 9_000}, "status: unknown value; Expected one of"),
        ({"system": "kafak"}, r"system: .*did you mean kafka\? Expected one of: kafka, rabbitmq"),
        ({"partitions": "ture"}, "partitions: expected true or false"),
        ({"text": "2"}, "text: expected true or false"),
    ],
)
def test_a_query_that_makes_no_sense_says_what_it_should_be(
    given: dict[str, str], words: str
) -> None:
    with pytest.raises(BadQueryError, match=words):
        query_of(given)


def test_any_column_sorts_and_what_is_unknown_comes_last_either_way() -> None:
    rows = [
        row("b", lag_messages=5, consumers=None),
        row("a", lag_messages=9, consumers=1),
        row("c", lag_messages=None, consumers=2),
    ]

    def sorted_by(sort: str) -> list[str]:
        found = select(rows, query_of({"sort": sort}))["subscriptions"]
        return [each["group"] for each in found]

    assert sorted_by("lag_messages") == ["b", "a", "c"]
    assert sorted_by("-lag_messages") == ["a", "b", "c"]
    assert sorted_by("name") == ["a", "b", "c"]
    assert sorted_by("-name") == ["c", "b", "a"]
    assert sorted_by("consumers") == ["a", "c", "b"]
    assert sorted_by("-consumers") == ["c", "a", "b"]


@pytest.mark.parametrize("sort", SORTS)
def test_each_sort_takes_every_row(sort: str) -> None:
    numbers = dict.fromkeys(
        ("consumers", "produced_messages_per_second", "consumed_messages_per_second")
    )
    rows = [row("a", **numbers), row("b", **{**dict.fromkeys(numbers, 1), "cause": "paused"})]
    for direction in ("", "-"):
        found = select(rows, query_of({"sort": direction + sort}))["subscriptions"]
        assert sorted(each["group"] for each in found) == ["a", "b"]


@pytest.mark.parametrize("sort", ["nothing", "--name", "lag"])
def test_a_sort_that_does_not_exist_is_refused(sort: str) -> None:
    with pytest.raises(BadQueryError, match="xpected one of: name, status"):
        query_of({"sort": sort})


def test_counts_by_status_follow_the_filter_but_not_the_status() -> None:
    rows = [
        row("a", status="stalled"),
        row("b"),
        row("b", status="lagging", drains=False),
        row("b", status="lagging"),
    ]
    found = select(rows, query_of({"group": "b", "status": "ok"}))
    assert found["matching"] == 1
    assert found["matching_by_status"] == {"ok": {"good": 1}, "lagging": {"bad": 1, "unsure": 1}}
    assert found["by_standing"] == {"bad": 2, "good": 1, "unsure": 1}
    assert found["statuses"] == {"stalled": 1, "ok": 1, "lagging": 2}


def test_what_is_stale_has_a_status_of_its_own_where_it_is_wanted() -> None:
    rows = [row("old", stale=True, status="ok"), row("new", stale=False), row("other")]
    found = select(rows, query_of({"stale": "true"}))
    assert found["matching_by_status"] == {"stale": {"unsure": 1}, "ok": {"good": 2}}
    assert found["by_standing"] == {"good": 2}

    def wanted(**query: str) -> list[str]:
        return [each["group"] for each in select(rows, query_of(query))["subscriptions"]]

    assert wanted(stale="true", status="stale") == ["old"]
    assert wanted(stale="true", filter="STALE") == ["old"]
    assert wanted(stale="true", status="ok") == ["new", "other"]
    assert wanted(status="ok") == ["old", "new", "other"]
