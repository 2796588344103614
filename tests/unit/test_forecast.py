"""Time to loss, compared with simulations that run until retention deletes an unread message."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.time_to_loss import time_to_expiry, time_to_overflow
from exporter.model import LogTimes, Retention, Stamps
from tests.support.observations import log, log_backlog, state

WITHIN = 0.03
"""Maximum relative error of a forecast."""
POLL = 10
"""Seconds between two polls of the simulated log."""


# One backlog


def expires(
    lag: int, age: float, produced: float, consumed: float, *, retention: float, step: float = 0.2
) -> float:
    """Produce and consume until the first unread message is too old; return seconds or inf."""
    waiting = deque(-age + age * number / lag for number in range(lag))
    to_produce = to_consume = 0.0
    for tick in range(int(30 * retention / step)):
        now = tick * step
        if waiting and now - waiting[0] >= retention:
            return now
        to_produce += produced * step
        to_consume = min(to_consume + consumed * step, len(waiting) + 1.0)
        while to_produce >= 1:
            waiting.append(now)
            to_produce -= 1
        while to_consume >= 1 and waiting:
            waiting.popleft()
            to_consume -= 1
    return math.inf


@pytest.mark.parametrize(
    ("case", "lag", "age", "produced", "consumed"),
    [
        ("nobody reads", 100, 50.0, 2.0, 0.0),
        ("nobody reads or writes", 100, 50.0, 0.0, 0.0),
        ("slower than it is written", 200, 100.0, 2.0, 1.0),
        ("keeps its distance", 200, 100.0, 2.0, 2.0),
        ("catches up", 200, 100.0, 2.0, 4.0),
        ("would catch up, and too late", 500, 100.0, 0.0, 2.0),
        ("a dense backlog first, and then a thin stream", 400, 20.0, 1.0, 2.5),
        ("a thin backlog first, and then a surge", 100, 100.0, 10.0, 5.0),
        ("too old already", 100, 250.0, 2.0, 1.0),
    ],
)
def test_the_oldest_unread_message_expires_when_the_forecast_says(
    case: str, lag: int, age: float, produced: float, consumed: float
) -> None:
    found = time_to_expiry(lag, age, produced, consumed, 240.0)
    expected = expires(lag, age, produced, consumed, retention=240.0)
    assert found == pytest.approx(expected, rel=WITHIN, abs=1.0), case


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lag=st.integers(50, 400),
    age=st.floats(10.0, 200.0),
    produced=st.floats(1.0, 10.0),
    consumed=st.floats(0.0, 10.0),
    retention=st.floats(210.0, 400.0),
)
def test_any_backlog_expires_when_the_forecast_says(
    lag: int, age: float, produced: float, consumed: float, retention: float
) -> None:
    # If a single message decides whether it expires at all, both answers may be right.
    assume(abs(consumed / produced - 1) > 0.1)
    assume(abs(consumed * retention / lag - 1) > 0.1)
    found = time_to_expiry(lag, age, produced, consumed, retention)
    expected = expires(lag, age, produced, consumed, retention=retention)
    spacing = age / lag  # messages come one by one, and the forecast takes them as a stream
    assert found == pytest.approx(expected, rel=WITHIN, abs=2.0 + 2 * spacing)


@pytest.mark.parametrize(
    ("case", "lag", "produced", "consumed", "due"),
    [
        ("grows", 400, 30.0, 10.0, 30.0),
        ("stays", 400, 30.0, 30.0, math.inf),
        ("shrinks", 400, 10.0, 30.0, math.inf),
        ("full", 1_000, 10.0, 30.0, 0.0),
    ],
)
def test_a_backlog_overflows_when_it_is_more_than_the_log_holds(
    case: str, lag: int, produced: float, consumed: float, due: float
) -> None:
    assert (case, time_to_overflow(lag, produced, consumed, 1_000.0)) == (case, due)


# A whole subscription


@dataclass
class Partition:
    """A partition with one writer and one reader of constant rates."""

    produced: int
    consumed: int
    """Messages a second."""
    waiting: int = 0
    """Messages that were there at the start, all enqueued at this second."""
    times: list[int] = field(default_factory=list)
    """Enqueue time of each message in seconds."""
    start: int = 0
    position: int = 0
    lost: int = 0

    def second(self, now: int, retention: Retention, size: int) -> None:
        """Write, read, and apply retention."""
        self.times += [now] * (self.produced + (self.waiting if now == 0 else 0))
        self.position = min(self.position + self.consumed, len(self.times))
        if retention.seconds is not None:
            self.start = max(self.start, bisect_left(self.times, now - retention.seconds))
        if retention.size is not None:
            self.start = max(self.start, len(self.times) - retention.size // size)
        self.lost += max(self.start - self.position, 0)
        self.position = max(self.position, self.start)


class Simulation:
    """A log, a group that reads it, and the state of both."""

    def __init__(self, *partitions: Partition, retention: Retention, size: int = 100) -> None:
        self.partitions = partitions
        self.retention = retention
        self.size = size
        self.state: LogState = state()
        self.now = 0

    def run(self, seconds: int) -> None:
        """Run for some seconds."""
        for _ in range(seconds):
            for each in self.partitions:
                each.second(self.now, self.retention, self.size)
            if self.now % POLL == 0:
                self._poll()
            self.now += 1

    def lost(self, seconds: int) -> float:
        """Run until a message is lost; return the seconds, inf if longer than `seconds`."""
        began = self.now
        while self.now < began + seconds:
            self.run(1)
            if any(each.lost for each in self.partitions):
                return self.now - began
        return math.inf

    def forecast(self) -> float | None:
        return self.state.subscriptions["g", "t"].time_to_loss

    def _poll(self) -> None:
        parts = self.partitions
        spans = [(each.start, len(each.times)) for each in parts]
        positions = {number: each.position for number, each in enumerate(parts)}
        self.state.observe(
            log_backlog({"t": log(*spans)}, {"g": {"t": positions}}), float(self.now)
        )
        self.state.set_retention({"t": self.retention})
        times = [
            float(each.times[each.position]) if each.position < len(each.times) else math.inf
            for each in parts
        ]
        stamps = Stamps(list(range(len(parts))), times, [0.0] * len(parts), "record")
        seen = LogTimes(
            float(self.now), {("g", "t"): stamps}, {}, sizes={"t": (10, 10 * self.size)}
        )
        self.state.observe_times(seen, float(self.now), 120.0)


BY_TIME = Retention(900.0, None)
BY_SIZE = Retention(None, 500_000)


@pytest.mark.parametrize(
    ("case", "partitions", "retention"),
    [
        ("nobody reads", [Partition(10, 0)], BY_TIME),
        ("too slow", [Partition(10, 6)], BY_TIME),
        ("one partition stands still", [Partition(10, 20), Partition(10, 0)], BY_TIME),
        ("one of many stands still", [*[Partition(9, 20)] * 9, Partition(9, 0)], BY_TIME),
        ("nobody reads", [Partition(10, 0)], BY_SIZE),
        ("too slow", [Partition(10, 4)], BY_SIZE),
        ("one of many stands still", [*[Partition(9, 20)] * 9, Partition(9, 0)], BY_SIZE),
        ("whichever comes first", [Partition(10, 0)], Retention(3_000.0, 500_000)),
        ("whichever comes first", [Partition(2, 0)], Retention(900.0, 500_000)),
    ],
)
def test_messages_are_lost_when_the_forecast_says(
    case: str, partitions: list[Partition], retention: Retention
) -> None:
    many = [Partition(each.produced, each.consumed) for each in partitions]
    simulation = Simulation(*many, retention=retention)
    simulation.run(200)
    forecast = simulation.forecast()
    expected = simulation.lost(20_000)
    assert 100 < expected < math.inf
    assert forecast == pytest.approx(expected, rel=WITHIN, abs=POLL), case


@pytest.mark.parametrize("retention", [BY_TIME, BY_SIZE])
def test_nothing_is_lost_where_the_forecast_says_never(retention: Retention) -> None:
    simulation = Simulation(Partition(10, 12, waiting=4_000), retention=retention)
    simulation.run(200)
    assert simulation.state.subscriptions["g", "t"].total_lag() > 3_000
    assert simulation.forecast() == math.inf
    assert simulation.lost(3_000) == math.inf


def test_a_backlog_that_is_read_too_late_is_lost_though_it_shrinks() -> None:
    only = Partition(20, 0)
    simulation = Simulation(only, retention=BY_TIME)
    simulation.run(300)
    only.produced, only.consumed = 2, 4
    simulation.run(71)
    forecast = simulation.forecast()
    # The backlog is not spread as evenly as the forecast assumes.
    assert forecast == pytest.approx(simulation.lost(10_000), rel=2 * WITHIN)


# Unknown


def followed(retention: Retention | None, *partitions: Partition, size: int = 100) -> float | None:
    simulation = Simulation(*partitions, retention=Retention(None, None), size=size)
    simulation.run(101)
    sub = simulation.state.subscriptions["g", "t"]
    sub.topic.retention = retention
    simulation.state.observe_times(LogTimes(101.0, {}, {}), 101.0, 120.0)
    return sub.time_to_loss


@pytest.mark.parametrize(
    ("case", "retention", "partition", "forecast"),
    [
        ("the retention is not known", None, Partition(10, 5), None),
        ("it is kept for ever", Retention(None, None), Partition(10, 5), math.inf),
        ("nothing is unread", BY_TIME, Partition(10, 10), math.inf),
    ],
)
def test_without_a_forecast_it_is_absent_and_never_is_infinite(
    case: str, retention: Retention | None, partition: Partition, forecast: float | None
) -> None:
    assert (case, followed(retention, partition)) == (case, forecast)


def test_without_the_size_of_a_message_nothing_is_said_of_retention_by_size() -> None:
    assert followed(BY_SIZE, Partition(10, 5), size=0) is None


def test_without_an_age_nothing_is_said_of_retention_by_time() -> None:
    simulation = Simulation(Partition(10, 5), retention=BY_TIME)
    simulation.run(101)
    sub = simulation.state.subscriptions["g", "t"]
    unknown = LogTimes(101.0, {}, {})
    simulation.state.observe_times(unknown, 101.0, 60.0)
    assert sub.time_to_loss is not None, "the age is held"
    simulation.state.observe_times(unknown, 162.0, 60.0)
    assert sub.time_to_loss is None


def test_a_group_without_a_position_has_no_forecast() -> None:
    s = state()
    s.observe(log_backlog({"t": log((0, 10))}, {"g": {"t": {0: None}}}), 0.0)
    s.set_retention({"t": BY_TIME})
    s.observe_times(LogTimes(0.0, {}, {}), 0.0, 120.0)
    assert s.subscriptions["g", "t"].time_to_loss is None


def test_there_is_no_forecast_before_there_are_rates() -> None:
    simulation = Simulation(Partition(10, 5), retention=BY_TIME)
    simulation.run(1)
    assert simulation.forecast() is None
    simulation.run(POLL)
    assert simulation.forecast() is not None
