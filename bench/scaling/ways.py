"""Ways of scaling: our advice through an HPA, and what people use otherwise."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.scaling.world import World
from exporter.scaling.advisor import Advisor
from exporter.scaling.load import Load, PartitionLoad
from exporter.scaling.policy import ScalingPolicy

WINDOW = 120.0
POLL = 10.0
SYNC = 15.0
"""Seconds between two looks of the HPA controller."""
STABILIZATION = 300.0
"""Seconds for which the HPA remembers the highest recommendation before it scales in."""
PODS, PERCENT = 4, 100
"""An HPA adds at most 4 pods or 100 % in 15 s, unless its `behavior` says otherwise."""
OUR_PODS, OUR_PERCENT = 8, 300
"""The `behavior` of the manifests in deploy/kubernetes: the largest step of the advice."""
TOLERANCE = 0.1
EAGER = 10.0
"""A longer pause is that of an eager assignor."""


class Way(Protocol):
    """Sets the number of consumers, once a second."""

    def act(self, world: World) -> None: ...


class Hpa:
    """The HPA controller with one external metric, type AverageValue."""

    def __init__(
        self,
        minimum: int,
        maximum: int,
        *,
        tolerance: float = TOLERANCE,
        pods: int = PODS,
        percent: int = PERCENT,
    ) -> None:
        self._minimum, self._maximum = minimum, maximum
        self._tolerance = tolerance
        self._pods, self._percent = pods, percent
        self._recent: deque[tuple[float, int]] = deque()

    def replicas(self, value: float | None, target: float, present: int, at: float) -> int:
        """Return the number of replicas; None is an error of the metric: they stay."""
        if value is None:
            return present
        ratio = value / (target * present) if present else math.inf
        wanted = present if abs(ratio - 1) <= self._tolerance else math.ceil(value / target - 1e-9)
        wanted = min(wanted, max(present + self._pods, present * (100 + self._percent) // 100))
        wanted = max(min(wanted, self._maximum), self._minimum)
        self._recent.append((at, wanted))
        while at - self._recent[0][0] > STABILIZATION:
            self._recent.popleft()
        return max(wanted, min(present, max(each for _, each in self._recent)))


@dataclass
class Rates:
    """Rates over the exporter's window, polled as the exporter does."""

    points: deque[tuple[float, float, float, tuple[float, ...]]] = field(default_factory=deque)

    def observe(self, world: World) -> None:
        parts = tuple(world.part_produced)
        self.points.append((world.now, world.produced, world.consumed, parts))
        while len(self.points) > 1 and world.now - self.points[1][0] >= WINDOW:
            self.points.popleft()

    def now(self) -> tuple[float, float, list[float]] | None:
        first, last = self.points[0], self.points[-1]
        passed = last[0] - first[0]
        if passed <= 0:
            return None
        parts = [(new - old) / passed for old, new in zip(first[3], last[3], strict=True)]
        return (last[1] - first[1]) / passed, (last[2] - first[2]) / passed, parts


class Ours:
    """`mq_desired_consumers` as an external metric of the HPA in deploy/kubernetes."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy, self.advisor, self._rates = policy, Advisor(), Rates()
        self._hpa = Hpa(
            policy.minimum, policy.maximum, tolerance=0.0, pods=OUR_PODS, percent=OUR_PERCENT
        )

    def act(self, world: World) -> None:
        if world.now == world.setting.restart:
            memory = self.advisor.memory(world.now)
            self.advisor, self._rates = Advisor(memory, world.now), Rates()
        if world.now % POLL == 0:
            self._poll(world)
        if world.now % SYNC == 0:
            advice = self.advisor.last
            held = advice is None or advice.held == "blind"
            value = None if advice is None or held else float(advice.consumers)
            world.scale(self._hpa.replicas(value, 1.0, world.wanted, world.now))

    def _poll(self, world: World) -> None:
        self._rates.observe(world)
        rates, blind = self._rates.now(), world.setting.blind(world.now)
        known = not blind
        sums = list(world.sums)
        load = Load(
            at=world.now,
            lag=int(world.lag) if known else None,
            age=world.age,
            produced=int(world.produced),
            consumed=int(world.consumed),
            produced_rate=rates[0] if rates and known else None,
            consumed_rate=rates[1] if rates and known else None,
            consumers=world.members,
            max_consumers=world.setting.partitions or None,
            partitions=lambda: _partitions(sums, rates, world),
            rebalances=world.rebalances,
            pauses=world.setting.pause_seconds > EAGER,
            blocked="retry_loop" if world.setting.poison(world.now) else None,
            lag_target=1_000,
            age_target=5.0,
        )
        self.advisor.observe(load, self._policy)


def _partitions(
    sums: list[float], rates: tuple[float, float, list[float]] | None, world: World
) -> list[PartitionLoad]:
    if not world.setting.partitions or rates is None:
        return []
    return [
        PartitionLoad(str(index), int(lag), rate)
        for index, (lag, rate) in enumerate(zip(sums, rates[2], strict=True))
    ]


class Metric:
    """An HPA on a metric: lag with a target per replica, or CPU."""

    def __init__(
        self, value: Callable[[World], float | None], target: float, minimum: int, maximum: int
    ) -> None:
        self._value, self._target = value, target
        self._hpa = Hpa(minimum, maximum)

    def act(self, world: World) -> None:
        if world.now % SYNC == 0:
            blind = world.setting.blind(world.now)
            value = None if blind else self._value(world)
            world.scale(self._hpa.replicas(value, self._target, world.wanted, world.now))


def lag_hpa(minimum: int, maximum: int) -> Metric:
    """An HPA on raw lag, 1,000 messages a replica."""
    return Metric(lambda world: world.lag, 1_000.0, minimum, maximum)


def keda_kafka(minimum: int, maximum: int) -> Metric:
    """KEDA's kafka scaler: lagThreshold 10, at most one replica a partition."""

    def value(world: World) -> float:
        most = world.setting.partitions or maximum
        return min(world.lag, most * 10.0)

    return Metric(value, 10.0, minimum, maximum)


def keda_queue(minimum: int, maximum: int) -> Metric:
    """KEDA's rabbitmq and nsq scalers: depth, 20 messages a replica."""
    return Metric(lambda world: world.lag, 20.0, minimum, maximum)


class Cpu:
    """An HPA on CPU at 80 %: a consumer's use is the part of its capacity that it works."""

    def __init__(self, minimum: int, maximum: int) -> None:
        self._hpa = Hpa(minimum, maximum)
        self._before = (0.0, 0.0)

    def act(self, world: World) -> None:
        if world.now % SYNC:
            return
        at, consumed = self._before
        self._before = (world.now, world.consumed)
        rate = (world.consumed - consumed) / max(world.now - at, 1.0)
        used = rate / world.setting.capacity(world.now)
        world.scale(self._hpa.replicas(used, 0.8, world.wanted, world.now))
