"""When the messages of a queue were enqueued, from a record of how many had been by when.

A queue is first in, first out: the oldest message not yet processed is the one that came in when so many had been
enqueued as are processed by now, and one more (the inverse of the cumulative arrivals at the cumulative departures, as
in the N-curves of queueing theory; Newell, Applications of Queueing Theory, 1982).
"""

from __future__ import annotations

from bisect import bisect_left

MOST_POINTS = 256
"""Points of a record. Of the older half every second one goes when there are more."""


class Record:
    """Times, on a clock that never goes back, and how many messages had been enqueued by then."""

    __slots__ = ("_counts", "_first", "_times")

    def __init__(self, now: float, unknown: int) -> None:
        """`unknown` messages were there at the first look: when they came is not known."""
        self._times = [now]
        self._counts: list[float] = [unknown]
        self._first = unknown

    @property
    def total(self) -> float:
        """How many were enqueued by the last time."""
        return self._counts[-1]

    @property
    def last(self) -> float:
        """When the record was last added to."""
        return self._times[-1]

    def add(self, now: float, enqueued: float) -> None:
        """Note that `enqueued` more messages had come by `now`.

        That may be before the last time: then what was known to have come later came by now, too.
        """
        times, counts = self._times, self._counts
        total = counts[-1] + enqueued
        while len(times) > 1 and times[-1] > now:
            times.pop()
            counts.pop()
        if enqueued <= 0 and len(counts) > 1 and counts[-2] == total:
            times[-1] = now  # nothing came: the flat piece gets longer
            return
        times.append(now)
        counts.append(total)
        if len(times) > MOST_POINTS:
            self._thin()

    @property
    def first(self) -> float:
        """When the record begins."""
        return self._times[0]

    def pace(self, seconds: float) -> float:
        """Return messages a second over the last `seconds` of the record, or over somewhat more."""
        times, counts = self._times, self._counts
        first = len(times) - 1
        while first > 0 and times[-1] - times[first] < seconds:
            first -= 1
        passed = times[-1] - times[first]
        return (counts[-1] - counts[first]) / passed if passed > 0 else 0.0

    def forget(self, processed: float) -> None:
        """Drop what no message that is still to be processed needs."""
        counts = self._counts
        if len(counts) > 2 and counts[1] <= processed:  # noqa: PLR2004 - a piece has two ends
            keep = bisect_left(counts, processed) - 1
            keep = min(max(keep, 0), len(counts) - 2)
            del counts[:keep]
            del self._times[:keep]

    def time_of(self, number: float) -> float | None:
        """Return when message `number` (the first is 1) was enqueued; None where that is not known.

        Between two points messages are taken to have come evenly. One that is not in the record yet came after its
        last point: that point's time is returned.
        """
        counts, times = self._counts, self._times
        if number <= self._first or number <= counts[0]:
            return None
        index = bisect_left(counts, number)
        if index >= len(counts):
            return times[-1]
        came = counts[index] - counts[index - 1]
        part = (number - 0.5 - counts[index - 1]) / came if came > 0 else 1.0
        return times[index - 1] + min(max(part, 0.0), 1.0) * (times[index] - times[index - 1])

    def _thin(self) -> None:
        half = len(self._times) // 2
        for column in (self._times, self._counts):
            del column[1:half:2]
