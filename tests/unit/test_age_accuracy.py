"""Accuracy of a queue's age with RabbitMQ's delayed counters and a varying load, in fake time."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from statistics import mean

import pytest

from exporter.analysis.queues.place import QueuePlace
from exporter.model import Counts, Depth, Place

SECONDS, WARM_UP, PERIOD = 400.0, 60.0, 33.0
RATE = 40.0
"""Messages a second that the consumer processes: the mean load."""
STATISTICS = 5.0
"""Seconds between two updates of RabbitMQ's statistics, each counter at a different time."""
QUEUE = Place("/", "q", None, None)


class Load:
    """When messages arrived and left, in fake time."""

    def __init__(self) -> None:
        self.came: list[float] = []
        self.left: list[float] = []
        at = free = 0.0
        while at < SECONDS:
            self.came.append(at)
            free = max(at, free) + 1 / RATE
            self.left.append(free)
            at += 1 / (RATE + 35 * math.sin(2 * math.pi * at / PERIOD))

    def arrivals(self, at: float) -> int:
        return bisect_right(self.came, at)

    def departures(self, at: float) -> int:
        return bisect_right(self.left, at)

    def depth(self, at: float) -> int:
        return self.arrivals(at) - self.departures(at)

    def age(self, at: float) -> float:
        return at - self.came[self.departures(at)] if self.depth(at) else 0.0


def mean_error(kind: str, seed: int, depth_every: float, counts_every: float) -> float:
    """Return the mean error of the age over all scrapes, one every half second."""
    load, chance = Load(), random.Random(seed)
    phases = [chance.uniform(0, STATISTICS) for _ in range(3)]

    def taken(at: float, which: int) -> float:
        """Return when RabbitMQ last updated one of its statistics."""
        return math.floor((at - phases[which]) / STATISTICS) * STATISTICS + phases[which]

    place = QueuePlace(None, "", 0.0)
    polls = [(1 + n * depth_every, "depth") for n in range(int(SECONDS / depth_every))]
    polls += [(1.3 + n * counts_every, "counts") for n in range(int(SECONDS / counts_every))]
    shown: list[tuple[float, float | None]] = []
    for at, what in sorted(polls):
        if what == "depth":
            moment = taken(at, 2) if kind == "quorum" else at - chance.uniform(0, 0.5)
            old = 2.5 if kind == "quorum" else 0.0
            place.observe_depth(Depth(QUEUE, load.depth(moment), old=old), at)
            continue
        enqueued, processed = load.arrivals(taken(at, 0)), load.departures(taken(at, 1))
        place.observe_counts(Counts(QUEUE, load.depth(taken(at, 2)), enqueued, processed, 0, 1), at)
        shown.append((at, place.age(at, None)))
    moments = [at for at, _ in shown]
    errors = []
    for step in range(int(2 * (SECONDS - WARM_UP - depth_every))):
        at = WARM_UP + step / 2
        age = shown[bisect_right(moments, at) - 1][1]
        assert age is not None
        errors.append(abs(age - load.age(at)))
    return mean(errors)


@pytest.mark.parametrize(
    ("kind", "depth_every", "most"),
    [("classic", 5.0, 1.7), ("classic", 10.0, 1.8), ("quorum", 5.0, 2.0), ("quorum", 10.0, 2.2)],
)
def test_the_age_as_it_is_scraped(kind: str, depth_every: float, most: float) -> None:
    """The default schedule: counts every 5 s if messages wait, and the list of queues if cheap."""
    assert mean(mean_error(kind, seed, depth_every, 5.0) for seed in range(3)) < most


def test_polls_every_ten_seconds_are_not_enough() -> None:
    """Without the polls in between, the documented 2 s are not met."""
    assert mean(mean_error("quorum", seed, 10.0, 10.0) for seed in range(3)) > 2.3


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("statistics", [5.0, 15.0])
@pytest.mark.parametrize("first_counts", [0.1, 0.3, 4.9])
@pytest.mark.parametrize("depth_every", [4.75, 10.0])
def test_counts_that_are_older_than_the_depth_are_no_departures(
    kind: str, statistics: float, first_counts: float, depth_every: float
) -> None:
    """The consumer hangs and the backlog grows, so the depth never falls."""
    chance = random.Random(3)
    own, polled = chance.uniform(0, 5), chance.uniform(0, statistics)

    def of(at: float, phase: float, every: float) -> float:
        return math.floor((at - phase) / every) * every + phase

    def waiting(at: float) -> int:
        """A quorum queue updates its depth every 5 s."""
        return int(50 * max(of(at, own, 5.0) if kind == "quorum" else at, 0.0))

    place = QueuePlace(None, "", 0.0)
    polls = [(20 + n * depth_every, "depth") for n in range(60)]
    polls += [(20 + first_counts + n * 5.0, "counts") for n in range(int(12 * depth_every))]
    lags: list[int | None] = []
    for at, what in sorted(polls):
        if what == "depth":
            old = 2.5 if kind == "quorum" else 0.0
            place.observe_depth(Depth(QUEUE, waiting(at), 10, old=old), at)
        else:
            then = waiting(of(at, polled, statistics))
            counts = Counts(QUEUE, then, then, 0, 0, 1, deliveries=10, every_protocol=False)
            place.observe_counts(counts, at)
            assert place.accounting.consumed.known
        lags.append(place.lag)
    assert lags == sorted(lags, key=lambda lag: lag or 0)
    assert place.accounting.fallen == 0


@pytest.mark.parametrize("kind", ["classic", "quorum"])
@pytest.mark.parametrize("phase", [0.0, 2.0, 4.0])
def test_what_waits_says_little_of_what_came_since_the_counts(kind: str, phase: float) -> None:
    """The backlog grows slowly: right after a poll, the judged age is at most the true one."""

    def came(at: float) -> int:
        return int(50 * max(at, 0.0))

    def left(at: float) -> int:
        return int(48 * max(at, 0.0))

    def old(at: float, first: float) -> float:
        return math.floor((at - first) / 5) * 5 + first

    place = QueuePlace(None, "", 0.0)
    errors = []
    for turn in range(40):
        at = 1 + 5.0 * turn
        moment = old(at, 2.0) if kind == "quorum" else at
        depth = Depth(QUEUE, came(moment) - left(moment), old=2.5 if kind == "quorum" else 0.0)
        place.observe_depth(depth, at)
        age = place.age(at, None)
        if turn > 10:
            assert age is not None
            errors.append(age - (at - left(at) / 50))
        at += 0.2
        outstanding = came(old(at, 1.0)) - left(old(at, 1.0))
        published, consumed = came(old(at, phase)), left(old(at, 3.0))
        place.observe_counts(Counts(QUEUE, outstanding, published, consumed, 0, 1), at)
    assert max(map(abs, errors)) < 3, "half an interval of the statistics, and some more"
