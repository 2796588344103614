"""How many messages a second one consumer can process.

While there is no backlog, a consumer processes what comes in: that is the demand, not its capacity.
So samples are taken only while there was enough to do, the number of consumers did not change, and
the group did not rebalance.
"""

from __future__ import annotations

import statistics
from collections import deque

from exporter.scaling.load import Load

SAMPLES = 15
"""The capacity is the median of this many samples."""
SAMPLE_SECONDS = 40.0
"""Time over which one sample is measured."""
ENOUGH = 2.0
"""Seconds of work that each consumer must have waiting, so that it is never idle."""


class Capacity:
    """Learns the capacity, and remembers it while there is nothing to learn from."""

    __slots__ = ("_base", "_samples", "_setting", "value")

    def __init__(self, value: float | None = None) -> None:
        """`value` is a capacity that was learned before."""
        self.value = value
        """Messages a second of one consumer; None if it was never observed."""
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._base: tuple[float, int] | None = None
        """Time and counter of consumed messages at which the present sample began."""
        self._setting = (0, 0)

    def observe(self, load: Load, rate: float | None) -> None:
        """Add one poll. `rate` is the recent consume rate."""
        working = self._working(load)
        setting, self._setting = self._setting, (working, load.rebalances)
        consumed, lag = load.consumed, load.lag
        if not working or not rate or consumed is None or lag is None:
            self._base = None
            return
        if load.rebalancing or setting != self._setting:
            self._base = None
            return
        if lag < ENOUGH * rate:
            self._base = None
        elif self._base is None:
            self._base = (load.at, consumed)
        elif load.at - self._base[0] >= SAMPLE_SECONDS:
            at, before = self._base
            self._base = (load.at, consumed)
            self._samples.append((consumed - before) / (load.at - at) / working)
            self.value = statistics.median(self._samples)

    @staticmethod
    def _working(load: Load) -> int:
        """Return how many consumers have work: members without a partition are idle."""
        consumers = load.consumers or 0
        return consumers if load.max_consumers is None else min(consumers, load.max_consumers)
