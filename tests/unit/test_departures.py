"""How many messages came and left, by counts that are each taken at a moment of its own."""

from __future__ import annotations

import random

import pytest

from exporter.analysis.departures import Arrivals, Departures

TICK = 5.0


class Ticked:
    """A counter that is seen as it was at its last tick."""

    def __init__(self, phase: float) -> None:
        self._phase = phase
        self._seen = 0
        self._tick = -1

    def look(self, now: float, value: int) -> int:
        tick = int((now + self._phase) // TICK)
        if tick != self._tick:
            self._tick, self._seen = tick, value
        return self._seen


def test_a_burst_that_shows_in_the_backlog_first_is_counted_once() -> None:
    arrivals = Arrivals(0)
    assert arrivals.look(0, 100, 0, 1.0) == 100
    assert arrivals.look(100, 100, 0, 2.0) == 0
    assert arrivals.value == 100


def test_a_burst_that_is_published_first_is_counted_once() -> None:
    arrivals = Arrivals(0)
    assert arrivals.look(100, 0, 0, 1.0) == 100
    assert arrivals.look(0, 100, 0, 2.0) == 0


def test_dead_letters_are_counted_and_so_is_what_is_published_later() -> None:
    arrivals = Arrivals(0)
    waiting = 0
    for second in range(60):
        waiting += 3
        arrivals.look(0, waiting, 0, float(second))
    assert arrivals.value == 180
    # From now on it is published, and expires at once: only the publishes tell.
    for second in range(60, 120):
        arrivals.look(5, 0, 0, float(second))
    assert 180 + 300 - 2 * 60 <= arrivals.value <= 180 + 300


@pytest.mark.parametrize("seed", range(20))
def test_totals_are_right_whatever_the_moments_of_the_counts(seed: int) -> None:
    chance = random.Random(seed)
    published, acked, waits = (Ticked(chance.uniform(0, TICK)) for _ in range(3))
    came = left = before = taken = 0
    arrivals, departures = Arrivals(0), Departures()
    for second in range(600):
        if second < 550:
            came += chance.randint(0, 60)
        left = min(came, left + chance.randint(0, 70))
        publish, ack = published.look(second, came), acked.look(second, left)
        waiting = waits.look(second, came - left)
        least = departures.least_came(ack, waiting)
        more = arrivals.look(publish - before, least, ack - taken, float(second))
        departures.look(
            came=arrivals.value,
            outstanding=waiting,
            processed=ack,
            moved=max(more, ack - taken),
            leaks=False,
            now=float(second),
        )
        before, taken = publish, ack
    jitter = TICK * 60
    assert came <= arrivals.value <= came + jitter
    assert left - jitter <= departures.value <= left + jitter


def test_what_expires_leaves_though_nobody_takes_it() -> None:
    departures = Departures()
    for second in range(0, 200, 10):
        came = 20 * second
        departures.look(
            came=came, outstanding=100, processed=0, moved=200, leaks=False, now=float(second)
        )
    assert departures.value == 20 * 190 - 100


def test_a_purge_is_seen_at_once() -> None:
    departures = Departures()
    for second in range(30):
        departures.look(
            came=1000, outstanding=1000, processed=0, moved=0, leaks=False, now=float(second)
        )
    assert departures.value == 0
    departures.look(came=1003, outstanding=3, processed=0, moved=3, leaks=False, now=31.0)
    assert departures.value == 1000
