"""How many messages a second one consumer can process.

While there is no backlog, a consumer processes what comes in: that is the demand, not its capacity.
So samples are taken only while there was enough to do, the number of consumers did not change, and
the group did not rebalance.
"""

from __future__ import annotations

import math
import statistics
from collections import deque

from exporter.scaling.load import Load

SAMPLES = 15
"""The capacity is the median of this many samples."""
SAMPLE_SECONDS = 40.0
"""Time over which one sample is measured."""
TWICE = 2
ENOUGH = 2.0
"""Seconds of work that each consumer must have waiting, so that it is never idle."""


class Capacity:
    """Learns the capacity, and remembers it while there is nothing to learn from."""

    __slots__ = ("_base", "_is_first", "_samples", "_setting", "_settled_at", "value")

    def __init__(self, value: float | None = None) -> None:
        """`value` is a capacity that was learned before."""
        self.value = value
        """Messages a second of one consumer; None if it was never observed."""
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._base: tuple[float, int, int] | None = None
        """Time, counter of consumed messages and lag at which the present sample began."""
        self._settled_at = -math.inf
        self._setting = (0, 0)
        self._is_first = False
        """Whether the value is from less than one sample."""

    def observe(self, load: Load, pause: float) -> None:
        """Add one poll. `pause` is how long consumers stop after their number changed."""
        working = self._working(load)
        setting, self._setting = self._setting, (working, load.rebalances)
        if setting != self._setting or load.rebalancing:
            self._base, self._settled_at = None, load.at + pause
        consumed, lag = load.consumed, load.lag
        unknown = not working or not lag or consumed is None or load.at < self._settled_at
        if unknown or not _have_work(load, working):
            self._base = None
        elif self._base is None:
            self._base = (load.at, consumed, lag)
        elif load.at > self._base[0]:
            self._measure(load.at, consumed, lag, working)

    def _measure(self, now: float, consumed: int, lag: int, working: int) -> None:
        """Measure since the present sample began, if there was enough to do all the time."""
        assert self._base is not None
        at, before, lag_before = self._base
        rate = (consumed - before) / (now - at)
        if not rate or min(lag, lag_before) < ENOUGH * rate:
            self._base = (now, consumed, lag)
            return
        if now - at >= SAMPLE_SECONDS:
            self._base = (now, consumed, lag)
            self._samples.append(rate / working)
            self.value = statistics.median(self._samples)
        elif not self._samples and (self.value is None or self._is_first):
            self.value, self._is_first = rate / working, True

    @staticmethod
    def _working(load: Load) -> int:
        """Return how many consumers have work: members without a partition are idle."""
        consumers = load.consumers or 0
        return consumers if load.max_consumers is None else min(consumers, load.max_consumers)


def _have_work(load: Load, working: int) -> bool:
    """Return whether the consumers have a partition with a backlog each, as far as is known.

    Otherwise some of them may be idle, and the others seem slow. Who reads which partition is not
    known, so there have to be twice as many such partitions as consumers, or all that are used.
    """
    used = [each for each in load.partitions() if each.lag or each.produced_rate]
    lagging = sum(each.lag > ENOUGH * (each.produced_rate or 0.0) for each in used)
    return lagging >= min(TWICE * working, len(used))
