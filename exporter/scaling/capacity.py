"""How many messages a second one consumer can process.

While there is no backlog, a consumer processes what comes in: that is the demand, not its capacity.
So samples are taken only while there was enough to do over the whole rate window, the number of
consumers did not change, and the group did not rebalance.
"""

from __future__ import annotations

import statistics
from collections import deque

from exporter.scaling.load import Load

SAMPLES = 30
"""The capacity is the median of this many samples."""
ENOUGH = 2.0
"""Seconds of work that each consumer must have waiting, so that it is never idle."""


class Capacity:
    """Learns the capacity, and remembers it while there is nothing to learn from."""

    __slots__ = ("_busy_since", "_consumers", "_rebalances", "_samples", "value")

    def __init__(self, value: float | None = None) -> None:
        """`value` is a capacity that was learned before."""
        self.value = value
        """Messages a second of one consumer; None if it was never observed."""
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._busy_since: float | None = None
        self._consumers = 0
        self._rebalances = 0

    def observe(self, load: Load) -> None:
        """Add one poll."""
        working = self._working(load)
        rate = load.consumed_rate
        unchanged = working == self._consumers and load.rebalances == self._rebalances
        self._consumers, self._rebalances = working, load.rebalances
        is_busy = (
            working > 0
            and bool(rate)
            and load.lag is not None
            and rate is not None
            and load.lag >= ENOUGH * rate
        )
        if not is_busy or load.rebalancing or not unchanged:
            self._busy_since = load.at if is_busy and not load.rebalancing else None
            return
        if self._busy_since is None:
            self._busy_since = load.at
        if load.at - self._busy_since >= load.window and rate is not None:
            self._samples.append(rate / working)
            self.value = statistics.median(self._samples)

    @staticmethod
    def _working(load: Load) -> int:
        """Return how many consumers have work: members without a partition are idle."""
        consumers = load.consumers or 0
        return consumers if load.max_consumers is None else min(consumers, load.max_consumers)
