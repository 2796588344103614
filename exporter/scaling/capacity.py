"""How many messages a second one consumer can process.

While there is no backlog, a consumer processes what comes in: that is the demand, not its capacity.
So samples are taken only while there was enough to do, the number of consumers did not change, and
the group did not rebalance.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import NamedTuple

from exporter.scaling.load import Load

SAMPLES = 15
"""The capacity is the median of this many samples."""
INTERVALS = 3.0
"""A sample covers at least so many commits."""
FIRST_SECONDS = 8.0
"""Time after which a first value is used, until there is a sample."""
SAMPLE_SECONDS = 40.0
"""Time over which one sample is measured."""
TWICE = 2
ENOUGH = 2.0
"""Seconds of work that each consumer must have waiting, so that it is never idle."""


class Sample(NamedTuple):
    """One poll while there was enough to do."""

    at: float
    consumed: int
    lag: int


class Capacity:
    """Learns the capacity, and remembers it while there is nothing to learn from."""

    __slots__ = ("_base", "_is_first", "_samples", "_setting", "_settled_at", "value")

    def __init__(self, value: float | None = None) -> None:
        """`value` is a capacity that was learned before."""
        self.value = value
        """Messages a second of one consumer; None if it was never observed."""
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._base: Sample | None = None
        """Where the present sample began."""
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
        unsettled = load.blocked is not None or load.at < self._settled_at
        if unsettled or load.lag is None or load.consumed is None:
            self._base = None
            return
        before, self._base = self._base, Sample(load.at, load.consumed, load.lag)
        if not _have_work(load, working):
            self._base = None
        elif before is not None and load.at > before.at:
            self._measure(before, self._base, working, load.commit_interval)

    def _measure(self, before: Sample, now: Sample, working: int, interval: float) -> None:
        """Measure from one poll to another, if there was enough to do all the time.

        The lag counts what was processed since the last commit, so more has to wait than that, and
        a sample has to cover several commits. `interval` is the time between two of them.
        """
        seconds = now.at - before.at
        rate = (now.consumed - before.consumed) / seconds
        if rate <= 0 or min(now.lag, before.lag) < (ENOUGH + interval) * rate:
            return
        if seconds < INTERVALS * interval:
            self._base = before
            return
        if seconds >= SAMPLE_SECONDS:
            self._samples.append(rate / working)
            self.value = statistics.median(self._samples)
            return
        self._base = before
        if seconds < FIRST_SECONDS:
            return
        if not self._samples and (self.value is None or self._is_first):
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
    if not working or not load.lag:
        return False
    used = [each for each in load.partitions() if each.lag or each.produced_rate]
    enough = ENOUGH + load.commit_interval
    lagging = sum(each.lag > enough * (each.produced_rate or 0.0) for each in used)
    return lagging >= min(TWICE * working, len(used))
