"""How many messages entered and left, from counters that are read at different times."""

from __future__ import annotations

import random

import pytest

from exporter.analysis.queues.arrivals import Arrivals
from exporter.analysis.queues.place import QueuePlace
from exporter.model import Counts, Depth, Place

TICK = 5.0
QUEUE = Place("/", "q", None, None)


class Ticked:
    """A counter that returns its value of its last tick."""

    def __init__(self, phase: float) -> None:
        self._phase = phase
        self._seen = 0
        self._tick = -1

    def poll(self, now: float, value: int) -> int:
        tick = int((now + self._phase) // TICK)
        if tick != self._tick:
            self._tick, self._seen = tick, value
        return self._seen


class Rabbit:
    """A queue and its place. As in RabbitMQ, the depth is immediate, and counters have ticks."""

    def __init__(self, chance: random.Random) -> None:
        self.came = self.left = self.acked = 0
        self.produced = self.consumed = 0
        self._ticks = [Ticked(chance.uniform(0, TICK)) for _ in range(3)]
        self.place = QueuePlace(None, "", 0.0)
        self.now = 0.0
        self.times: list[float] = []
        """When each message arrived."""

    def publish(self, count: int) -> None:
        self.came += count
        self.times += [self.now] * count

    def poll(self, now: float) -> None:
        self.now = now
        published, acked, waiting = self._ticks
        waits = self.came - self.left
        self.produced += self.place.observe_depth(Depth(QUEUE, waits), now)
        told = Counts(
            QUEUE,
            waiting.poll(now, waits),
            published.poll(now, self.came),
            acked.poll(now, self.acked),
            0,
            1,
        )
        moved = self.place.observe_counts(told, now)
        if moved is not None:
            self.produced += moved.produced
            self.consumed += moved.consumed

    def settle(self) -> None:
        for _ in range(15):
            self.poll(self.now + 1)

    def age(self) -> float:
        """The true age of the oldest message."""
        return self.now - self.times[self.left] if self.left < self.came else 0.0


def test_a_burst_that_shows_in_the_backlog_first_is_counted_once() -> None:
    arrivals = Arrivals(0)
    assert arrivals.raise_to(100) == 100
    assert arrivals.add_published(100, 0, 2.0) == 0


def test_a_burst_that_is_published_first_is_counted_once() -> None:
    arrivals = Arrivals(0)
    assert arrivals.add_published(100, 0, 1.0) == 100
    assert arrivals.raise_to(100) == 0


def test_dead_letters_are_counted_and_so_is_what_is_published_later() -> None:
    arrivals = Arrivals(0)
    for second in range(60):
        arrivals.raise_to(3 * (second + 1))
        arrivals.add_published(0, 0, float(second))
    assert arrivals.value == 180
    # From now on it is published and expires immediately: only the publishes show it.
    for second in range(60, 120):
        arrivals.add_published(5, 0, float(second))
    assert 180 + 300 - 2 * 60 <= arrivals.value <= 180 + 300


@pytest.mark.parametrize("seed", range(20))
def test_totals_are_exact_once_it_is_quiet_and_never_ahead(seed: int) -> None:
    chance = random.Random(seed)
    rabbit = Rabbit(chance)
    rabbit.settle()
    for second in range(600):
        rabbit.publish(chance.randint(0, 60))
        done = min(rabbit.came - rabbit.left, chance.randint(0, 70))
        rabbit.left += done
        rabbit.acked += done
        rabbit.poll(15.0 + second)
        assert rabbit.produced <= rabbit.came
        assert rabbit.consumed <= rabbit.left
        assert rabbit.place.left <= rabbit.left
    rabbit.settle()
    assert (rabbit.produced, rabbit.consumed) == (rabbit.came, rabbit.left)


@pytest.mark.parametrize("seed", range(20))
def test_a_burst_and_its_end_in_one_go(seed: int) -> None:
    """A publisher and a consumer that exist briefly: some counters include them later."""
    rabbit = Rabbit(random.Random(seed))
    rabbit.settle()
    rabbit.publish(100)
    for _ in range(25):
        rabbit.poll(rabbit.now + 1)
        age = rabbit.place.age(rabbit.now, None)
        assert age is not None
        assert abs(age - rabbit.age()) < TICK + 1.5
    rabbit.left = rabbit.acked = 60
    for _ in range(25):
        rabbit.poll(rabbit.now + 1)
        assert rabbit.produced == 100
    age = rabbit.place.age(rabbit.now, None)
    assert age is not None
    assert abs(age - rabbit.age()) < TICK + 1.5
    rabbit.left = rabbit.acked = 100
    rabbit.settle()
    assert (rabbit.produced, rabbit.consumed) == (100, 100)
    assert rabbit.place.age(rabbit.now, None) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_what_expires_or_is_purged_leaves_though_nobody_takes_it(seed: int) -> None:
    chance = random.Random(seed)
    rabbit = Rabbit(chance)
    rabbit.settle()
    for second in range(100):
        rabbit.publish(20)
        rabbit.left = max(rabbit.came - 200, 0)  # the messages of the last ten seconds stay
        rabbit.poll(15.0 + second)
    age = rabbit.place.age(rabbit.now, None)
    assert age is not None
    assert abs(age - rabbit.age()) < TICK + 1.5
    rabbit.left = rabbit.came
    rabbit.poll(rabbit.now + 1)
    assert rabbit.place.age(rabbit.now, None) == 0.0
    rabbit.settle()
    rabbit.publish(5)
    rabbit.settle()
    age = rabbit.place.age(rabbit.now, None)
    assert age is not None
    assert abs(age - rabbit.age()) < TICK + 1.5
    assert rabbit.consumed == 0
