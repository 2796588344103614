"""Simulated consumers: start-up, rebalances, noisy service times, partitions with skew."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

STEP = 1.0
"""Seconds of one step."""
WARM_UP = 900.0
"""Seconds before the load begins. A short peak lets the consumers show what they can do."""
USUAL, PEAK = 60.0, 150.0
"""Messages a second during the warm-up, and in its peak."""
Rate = Callable[[float], float]


@dataclass(frozen=True)
class Setting:
    """What is scaled."""

    name: str
    load: Rate
    """Messages a second that are produced, by time."""
    seconds: float = 3_600.0
    partitions: int = 24
    """0: a queue, of which any consumer can take any message."""
    skew: float = 0.0
    """0: all partitions get the same load. 1: the first one gets half of it."""
    capacity: Rate = lambda _: 50.0
    """Messages a second of one consumer, by time."""
    downstream: float = math.inf
    """Messages a second that all consumers together can process."""
    start_seconds: float = 20.0
    pause_seconds: float = 5.0
    """For how long nobody consumes after the number of members changed. Little if cooperative."""
    target_seconds: float = 60.0
    """A message that waits longer is late."""
    consumers: int = 2
    maximum: int = 24
    blind: Callable[[float], bool] = lambda _: False
    """Whether the monitoring fails, by time."""
    poison: Callable[[float], bool] = lambda _: False
    """Whether the same messages fail again and again, by time: nothing is processed."""
    restart: float = math.inf
    """When the exporter is restarted."""
    noise: float = 0.1


@dataclass
class Tally:
    """What a way of scaling cost."""

    actions: int = 0
    reversals: int = 0
    """Changes of direction within ten minutes."""
    late_seconds: float = 0.0
    """Seconds in which the oldest message was late."""
    late_messages: float = 0.0
    """Messages that were processed late, and those that wait at the end and are late."""
    consumer_hours: float = 0.0
    paused_seconds: float = 0.0


@dataclass
class World:
    """Partitions, a backlog in each, and consumers that share them evenly."""

    setting: Setting
    seed: int = 1
    now: float = -WARM_UP
    produced: float = 0.0
    consumed: float = 0.0
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        count = max(self.setting.partitions, 1)
        self.weights = _weights(count, self.setting.skew)
        self.backlogs: list[deque[list[float]]] = [deque() for _ in range(count)]
        self.sums = [0.0] * count
        self.ready = self.setting.consumers
        self.wanted = self.setting.consumers
        self._starting: list[float] = []
        self._paused_until = -math.inf
        self.rebalances = 0
        self._last_change = (-math.inf, 0)
        self.part_produced = [0.0] * count

    @property
    def lag(self) -> float:
        return sum(self.sums)

    @property
    def age(self) -> float:
        heads = [backlog[0][0] for backlog in self.backlogs if backlog]
        return self.now - min(heads) if heads else 0.0

    @property
    def members(self) -> int:
        return self.ready

    def scale(self, wanted: int) -> None:
        """Start or stop consumers, as a Deployment does."""
        wanted = max(min(wanted, self.setting.maximum), 0)
        if wanted == self.wanted:
            return
        direction = 1 if wanted > self.wanted else -1
        at, before = self._last_change
        self.tally.actions += 1
        if before == -direction and self.now - at < 600:
            self.tally.reversals += 1
        self._last_change = (self.now, direction)
        if direction > 0:
            self._starting += [self.now + self.setting.start_seconds] * (wanted - self.wanted)
        else:
            leaving = self.wanted - wanted
            while leaving and self._starting:
                self._starting.pop()
                leaving -= 1
            if leaving:
                self.ready -= leaving
                self._rebalance()
        self.wanted = wanted

    def step(self) -> None:
        """Produce and consume for a second."""
        self.now += STEP
        arrived = [at for at in self._starting if at <= self.now]
        if arrived:
            self._starting = [at for at in self._starting if at > self.now]
            self.ready += len(arrived)
            self._rebalance()
        self._produce(self._load() * STEP)
        if self.now >= self._paused_until:
            self._consume()
        else:
            self.tally.paused_seconds += STEP
        self.tally.consumer_hours += self.wanted * STEP / 3_600
        if self.age > self.setting.target_seconds:
            self.tally.late_seconds += STEP

    def end(self) -> None:
        """Count the messages that are late and still wait."""
        for backlog in self.backlogs:
            for at, count in backlog:
                if self.now - at > self.setting.target_seconds:
                    self.tally.late_messages += count

    def _load(self) -> float:
        if self.now > 0:
            return self.setting.load(self.now)
        return PEAK if -WARM_UP + 60 < self.now <= -WARM_UP + 120 else USUAL

    def _rebalance(self) -> None:
        self.rebalances += 1
        self._paused_until = self.now + self.setting.pause_seconds

    def _produce(self, count: float) -> None:
        count *= 1 + self._random.uniform(-self.setting.noise, self.setting.noise)
        self.produced += count
        for index, weight in enumerate(self.weights):
            self.backlogs[index].append([self.now, count * weight])
            self.sums[index] += count * weight
            self.part_produced[index] += count * weight

    def _consume(self) -> None:
        setting = self.setting
        if not self.ready:
            return
        each = 0.0 if setting.poison(self.now) else setting.capacity(self.now) * STEP
        each *= 1 + self._random.uniform(-setting.noise, setting.noise)
        each = min(each, setting.downstream * STEP / self.ready)
        if not setting.partitions:
            self._take(0, each * self.ready)
            return
        for consumer in range(min(self.ready, setting.partitions)):
            left = each
            for index in range(consumer, setting.partitions, self.ready):
                left -= self._take(index, left)

    def _take(self, index: int, most: float) -> float:
        backlog, taken = self.backlogs[index], 0.0
        while backlog and taken < most:
            at, count = backlog[0]
            part = min(count, most - taken)
            taken += part
            if self.now - at > self.setting.target_seconds:
                self.tally.late_messages += part
            if part >= count:
                backlog.popleft()
            else:
                backlog[0][1] = count - part
        self.sums[index] -= taken
        self.consumed += taken
        return taken


def _weights(count: int, skew: float) -> Sequence[float]:
    if count == 1:
        return [1.0]
    first = 1 / count + skew * (0.5 - 1 / count)
    return [first] + [(1 - first) / (count - 1)] * (count - 1)
