"""When the messages of a queue were enqueued, from the number of messages enqueued over time.

A queue is first in, first out. If n messages are processed by now, the oldest message not yet
processed is number n + 1, and it was enqueued when the cumulative arrivals reached n + 1. This is
the inverse of the arrival curve at the departure curve, as in the N-curves of queueing theory
(Newell, Applications of Queueing Theory, 1982).
"""

from __future__ import annotations

from bisect import bisect_left

MOST_POINTS = 256
"""Maximum number of points. Beyond it, every second point of the older half is dropped."""


class ArrivalCurve:
    """Points of (monotonic time, number of messages enqueued by then)."""

    __slots__ = ("_counts", "_first", "_times")

    def __init__(self, now: float, unknown: int) -> None:
        """`unknown` messages were there at the first poll: their enqueue times are unknown."""
        self._times = [now]
        self._counts: list[float] = [unknown]
        self._first = unknown

    @property
    def total(self) -> float:
        """Number of messages enqueued by the last point."""
        return self._counts[-1]

    @property
    def last(self) -> float:
        """Time of the last point."""
        return self._times[-1]

    def add(self, now: float, enqueued: float) -> None:
        """Add a point: `enqueued` more messages by `now`.

        If `now` is before the last points, these are replaced: their messages came by `now`.
        """
        times, counts = self._times, self._counts
        total = counts[-1] + enqueued
        while len(times) > 1 and times[-1] > now:
            times.pop()
            counts.pop()
        if enqueued <= 0 and len(counts) > 1 and counts[-2] == total:
            times[-1] = now  # nothing was enqueued: extend the horizontal piece
            return
        times.append(now)
        counts.append(total)
        if len(times) > MOST_POINTS:
            self._thin()

    @property
    def first(self) -> float:
        """Time of the first point."""
        return self._times[0]

    def pace(self, seconds: float) -> float:
        """Return messages a second over the last `seconds` of the curve, or somewhat longer."""
        times, counts = self._times, self._counts
        first = len(times) - 1
        while first > 0 and times[-1] - times[first] < seconds:
            first -= 1
        passed = times[-1] - times[first]
        return (counts[-1] - counts[first]) / passed if passed > 0 else 0.0

    def forget(self, processed: float) -> None:
        """Drop points that are needed only for messages that are processed."""
        counts = self._counts
        if len(counts) > 2 and counts[1] <= processed:  # noqa: PLR2004 - a piece has two ends
            keep = bisect_left(counts, processed) - 1
            keep = min(max(keep, 0), len(counts) - 2)
            del counts[:keep]
            del self._times[:keep]

    def time_of(self, number: float) -> float | None:
        """Return when message `number` (the first is 1) was enqueued; None if unknown.

        Interpolates linearly between points. For a message after the last point, returns that
        point's time.
        """
        counts, times = self._counts, self._times
        if number <= self._first or number <= counts[0]:
            return None
        index = bisect_left(counts, number)
        if index >= len(counts):
            return times[-1]
        came = counts[index] - counts[index - 1]
        share = (number - 0.5 - counts[index - 1]) / came if came > 0 else 1.0
        return times[index - 1] + min(max(share, 0.0), 1.0) * (times[index] - times[index - 1])

    def _thin(self) -> None:
        half = len(self._times) // 2
        for column in (self._times, self._counts):
            del column[1:half:2]
