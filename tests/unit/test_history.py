"""The last hour in sixty points, whatever the interval of the polls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exporter.analysis.history import FIRST_STEP, LAST_STEP, POINTS, History, Point

LAG = ("lag_messages",)


def played(seconds: float, poll: float, begin: float = 0.0) -> History:
    """A lag that equals its time."""
    history = History()
    at = begin
    while at < begin + seconds:
        history.observe(at, Point(at - begin, None, 10.0, 5.0))
        at += poll
    return history


def lags(history: History, now: float = 0.0) -> dict[str, Any]:
    return history.seen(LAG, now, now)


def test_nothing_is_there_before_the_first_poll() -> None:
    assert lags(History())["lag_messages"] == []


@pytest.mark.parametrize("poll", [0.5, 1.0, 10.0, 30.0])
@pytest.mark.parametrize("minutes", [1, 4, 20, 60, 300])
def test_it_has_all_of_the_time_up_to_an_hour(poll: float, minutes: float) -> None:
    seen = lags(played(minutes * 60, poll, begin=1_003.0))
    values, step = seen["lag_messages"], seen["step_seconds"]
    span = len(values) * step
    assert FIRST_STEP <= step <= LAST_STEP
    assert len(values) <= POINTS
    assert min(minutes * 60, POINTS * LAST_STEP / 2) - step - poll <= span
    assert span <= minutes * 60 + 2 * step
    assert values == sorted(values)
    assert values[-1] == pytest.approx(minutes * 60 - poll, abs=poll)
    # Each point has the value of its time.
    for index, value in enumerate(values):
        at = seen["start"] + index * step - 1_003.0
        assert at - 60 <= value <= at + step + poll


def test_after_an_hour_the_oldest_goes() -> None:
    history = played(7_200, 10)
    values = lags(history)["lag_messages"]
    assert len(values) == POINTS
    assert values[0] == pytest.approx(3_600, abs=60)


def test_a_peak_between_two_points_is_not_missed() -> None:
    history = History()
    for second in range(3_000):
        history.observe(second, Point(9_000 if second == 700 else 5, 1.0, 1.0, 1.0))
    assert max(lags(history)["lag_messages"]) == 9_000


def test_what_was_not_seen_is_not_known() -> None:
    history = played(120, 10)
    history.observe(600, Point(7, 1.0, 1.0, 1.0))
    seen = lags(history)
    values, step = seen["lag_messages"], seen["step_seconds"]
    assert values[-1] == 7
    away = int(480 / step) - 1
    assert values[-away:-1] == [None] * (away - 1)
    assert None not in values[: int(110 / step)]


def test_polls_that_are_far_apart_leave_no_holes() -> None:
    assert None not in lags(played(900, 30))["lag_messages"]


def test_what_is_not_known_is_null_and_rates_are_the_last() -> None:
    history = History()
    history.observe(0.0, Point(None, None, 1.0, 2.0))
    history.observe(0.1, Point(4, None, 3.0, None))
    seen = history.seen(Point._fields, 0.1, 1_000.1)
    assert seen == {
        "step_seconds": FIRST_STEP,
        "start": 1_000.0,
        "lag_messages": [4.0],
        "lag_seconds": [None],
        "produced_messages_per_second": [3.0],
        "consumed_messages_per_second": [2.0],
    }
    json.dumps(seen, allow_nan=False)


def test_a_long_absence_is_no_more_than_an_hour() -> None:
    history = played(60, 10)
    history.observe(1e6, Point(1, 1.0, 1.0, 1.0))
    assert len(lags(history)["lag_messages"]) <= POINTS
