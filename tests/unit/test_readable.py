"""Numbers, durations and judgements as people read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.show.wording import age, duration, lag, loss, number, standing


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 0, "-"),
        (0, 0, "0"),
        (1234567, 0, "1,234,567"),
        (0.04, 1, "0.0"),
        (1234.56, 1, "1,234.6"),
    ],
)
def test_numbers_are_for_people(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (0.0, "0 s"),
        (0.001, "0.1 s"),
        (3.25, "3.2 s"),
        (9.99, "9.9 s"),
        (10.0, "10 s"),
        (59.999, "59 s"),
        (60.0, "1 m 0 s"),
        (250.0, "4 m 10 s"),
        (3_599.9, "59 m 59 s"),
        (3_600.0, "1 h 0 m"),
        (7_500.0, "2 h 5 m"),
        (86_399.0, "23 h 59 m"),
        (86_400.0, "1 d 0 h"),
        (273_600.0, "3 d 4 h"),
        (400 * 86_400.0, "400 d 0 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}


@given(st.floats(0.1, 1e8))
def test_a_duration_is_cut_off_by_less_than_its_smaller_unit(seconds: float) -> None:
    parts = duration(seconds).split()
    shown = sum(
        float(value) * SECONDS[unit] for value, unit in zip(*[iter(parts)] * 2, strict=True)
    )
    least = 0.1 if "." in parts[0] else SECONDS[parts[-1]]
    assert shown <= seconds * (1 + 1e-9)
    assert seconds < shown + least * (1 + 1e-9)


def row(**changes: Any) -> dict[str, Any]:
    """A subscription that keeps up, with a small lag as always."""
    return {
        "lag_messages": 12,
        "lag_seconds": 0.4,
        "lag_seconds_uncertainty": 0.001,
        "commit_interval_seconds": 1.0,
        "time_to_loss_seconds": None,
        "produced_messages_per_second": 100.0,
        "consumed_messages_per_second": 99.0,
        **changes,
    }


@pytest.mark.parametrize(
    ("seconds", "off", "text"),
    [
        (250.0, 2.0, "4 m 10 s"),
        (250.0, 25.0, "4 m 10 s"),
        (250.0, 25.1, "~4 m 10 s"),
        (3.2, 1.0, "3.2 s"),
        (3.2, 1.1, "~3.2 s"),
        (0.0, 5.0, "~0 s"),
        (250.0, None, "4 m 10 s"),
        (None, None, "-"),
    ],
)
def test_an_age_that_may_be_off_by_much_is_marked(
    seconds: float | None, off: float | None, text: str
) -> None:
    assert age(row(lag_seconds=seconds, lag_seconds_uncertainty=off)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (86_400.0, ""), (86_399.0, "23 h 59 m"), (42.0, "42 s"), (0.0, "now")],
)
def test_a_loss_is_told_where_it_is_less_than_a_day_away(seconds: float | None, text: str) -> None:
    assert loss(row(time_to_loss_seconds=seconds)) == text


@pytest.mark.parametrize(
    ("status", "drains", "expected"),
    [
        ("ok", True, "good"),
        ("ok", False, "good"),
        ("unknown", None, "unsure"),
        ("falling_behind", False, "unsure"),
        ("abandoned", False, "unsure"),
        ("lagging", True, "unsure"),
        ("lagging", None, "unsure"),
        ("lagging", False, "bad"),
        ("rewound", True, "unsure"),
        ("rewound", False, "bad"),
        ("stalled", False, "bad"),
        ("stopped", None, "bad"),
    ],
)
def test_bad_is_what_stands_still_or_is_past_a_threshold_and_does_not_get_better(
    status: str, drains: bool | None, expected: str
) -> None:
    assert standing(row(status=status, drains=drains)) == expected


@pytest.mark.parametrize(
    ("messages", "at_least", "text"),
    [(1_234, 1_234, "1,234"), (None, 20, "≥20"), (None, None, "-")],
)
def test_a_lag_that_is_known_in_part_is_marked(
    messages: int | None, at_least: int | None, text: str
) -> None:
    assert lag({"lag_messages": messages, "lag_messages_at_least": at_least}) == text


def test_an_age_that_is_known_in_part_is_marked() -> None:
    row = {"lag_seconds": None, "lag_seconds_at_least": 75.0, "lag_seconds_uncertainty": None}
    assert age(row) == "≥1 m 15 s"


@pytest.mark.parametrize(
    ("status", "expected"), [("uncommitted", "good"), ("past_end", "bad"), ("unknown", "unsure")]
)
def test_what_is_no_fault_is_not_red(status: str, expected: str) -> None:
    assert standing({"status": status, "drains": None}) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"time_to_loss_seconds": 3_599.0}, "bad"),
        ({"time_to_loss_seconds": 0.0}, "bad"),
        ({"time_to_loss_seconds": 3_600.0}, "good"),
        ({"time_to_loss_seconds": None}, "good"),
        ({"time_to_loss_seconds": 60.0, "consumers_expected": False}, "good"),
        ({"time_to_loss_seconds": 60.0, "status": "abandoned"}, "unsure"),
        ({"time_to_loss_seconds": 60.0, "status": "dormant"}, "good"),
        ({"time_to_loss_seconds": 60.0, "status": "lagging", "drains": True}, "bad"),
        ({"stale": True}, "unsure"),
        ({"stale": True, "status": "stalled"}, "bad"),
    ],
)
def test_a_loss_within_the_hour_is_bad_and_what_is_old_is_not_good(
    changes: dict[str, Any], expected: str
) -> None:
    assert standing({"status": "ok", "drains": None, **changes}) == expected
