"""Puts counts in order that a broker gives out of order."""

from __future__ import annotations

from exporter.analysis.queues.arrivals import TICK
from exporter.model import Counts

SPAN = 2 * TICK
"""Seconds. RabbitMQ's answer is older than another one by less."""


class CountsOrder:
    """Holds counters that fall back to where they were a moment ago.

    RabbitMQ answers the list of queues from a cache, and the same queue may have been read by its name since.
    So a counter that falls, but not below where it was `SPAN` to twice `SPAN` seconds ago, is an old answer. One that
    stays down is a counter that began again: it is below that mark soon.
    """

    __slots__ = ("_at", "_floor", "_next", "_since")

    def __init__(self) -> None:
        self._floor: tuple[int, int] | None = None
        """What had been enqueued and processed by then."""
        self._next = (0, 0)
        self._since = self._at = 0.0
        """When the mark was moved, and when the last counts came."""

    def held(self, before: Counts | None, counts: Counts, at: float) -> Counts:
        """Return the counts, or what they were before where these are older."""
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
