"""Corrects counters that a broker returns out of order."""

from __future__ import annotations

from exporter.analysis.queues.arrivals import TICK
from exporter.model import Counts

SPAN = 2 * TICK
"""Upper bound in seconds on how much older one of RabbitMQ's responses is than another."""


class CountsOrder:
    """Replaces counters that fell back to an earlier value.

    RabbitMQ answers the list of queues from a cache, and the same queue may have been read by name
    since. A counter that falls, but not below its value of `SPAN` to twice `SPAN` seconds ago, is
    from an old response. A counter that was reset stays low, and is soon below that value.
    """

    __slots__ = ("_at", "_floor", "_next", "_since")

    def __init__(self) -> None:
        self._floor: tuple[int, int] | None = None
        """Values of enqueued and processed at that time."""
        self._next = (0, 0)
        self._since = self._at = 0.0
        """When the floor was moved, and when the last counts were read."""

    def in_order(self, before: Counts | None, counts: Counts, at: float) -> Counts:
        """Return the counts; if they are older than `before`, the larger values of both."""
        if counts.enqueued is None or counts.processed is None:
            self._floor = None
            return counts
        now = (counts.enqueued, counts.processed)
        if before is None or before.enqueued is None or before.processed is None:
            return self._begin(counts, now, at)
        if self._floor is None or before.epoch != counts.epoch:
            return self._begin(counts, now, at)
        last = (before.enqueued, before.processed)
        if at - self._at > SPAN:
            self._floor = self._next = last
            self._since = at
        elif at - self._since >= SPAN:
            self._floor, self._next, self._since = self._next, last, at
        self._at = at
        if now[0] < last[0] or now[1] < last[1]:
            if now[0] < self._floor[0] or now[1] < self._floor[1]:
                return self._begin(counts, now, at)
            now = (max(now[0], last[0]), max(now[1], last[1]))
            counts = counts._replace(
                enqueued=now[0],
                processed=now[1],
                deliveries=max(counts.deliveries, before.deliveries),
                redelivered=_larger(counts.redelivered, before.redelivered),
            )
        return counts

    def _begin(self, counts: Counts, now: tuple[int, int], at: float) -> Counts:
        self._floor = self._next = now
        self._since = self._at = at
        return counts


def _larger(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else max(one, other)
