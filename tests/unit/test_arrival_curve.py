"""When messages were enqueued, from the number of messages enqueued over time."""

from __future__ import annotations

import pytest

from exporter.analysis.queues.arrival_curve import MOST_POINTS, ArrivalCurve


def test_messages_come_evenly_between_two_polls() -> None:
    curve = ArrivalCurve(100.0, 0)
    curve.add(110.0, 10)
    assert curve.time_of(1) == pytest.approx(100.5)
    assert curve.time_of(10) == pytest.approx(109.5)


def test_what_was_there_before_has_no_time() -> None:
    curve = ArrivalCurve(100.0, 7)
    curve.add(110.0, 10)
    assert curve.time_of(7) is None
    assert curve.time_of(8) == pytest.approx(100.5)


def test_a_time_without_messages_is_no_time_of_theirs() -> None:
    curve = ArrivalCurve(0.0, 0)
    for now in range(10, 101, 10):
        curve.add(float(now), 0)
    curve.add(110.0, 10)
    assert curve.time_of(1) == pytest.approx(100.5)


def test_one_that_is_not_recorded_yet_came_after_the_last_poll() -> None:
    curve = ArrivalCurve(0.0, 0)
    curve.add(10.0, 5)
    assert curve.time_of(6) == 10.0


def test_what_was_processed_is_forgotten_and_the_rest_stays_exact() -> None:
    curve = ArrivalCurve(0.0, 0)
    for now in range(1, 101):
        curve.add(float(now), 1)
    before = [curve.time_of(number) for number in range(51, 101)]
    curve.forget(50)
    assert len(curve._times) <= 52
    assert [curve.time_of(number) for number in range(51, 101)] == before


def test_a_long_record_stays_small_and_keeps_its_ends() -> None:
    curve = ArrivalCurve(0.0, 0)
    polls = 20 * MOST_POINTS
    for now in range(1, polls + 1):
        curve.add(float(now), 2)
    assert len(curve._times) <= MOST_POINTS
    for number in (1, polls // 2, polls, 2 * polls):
        assert curve.time_of(number) == pytest.approx(number / 2, rel=0.02, abs=1)
