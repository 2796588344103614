"""What is known of the times of one partition: the lookup index, and the records that were read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from exporter.collectors.kafka.ages.estimates import (
    DISORDER_MS,
    AgeTolerance,
    Estimate,
    estimate_between,
    estimate_inside,
)
from exporter.collectors.kafka.ages.index_trust import IndexTrust
from exporter.collectors.kafka.ages.read_points import ReadPoint, ReadRecord
from exporter.collectors.kafka.ages.time_index import TimeIndex

ENTRIES = 512
"""Minimum size limit of an index, in pairs. The limit is at least twice the number of positions."""


class KnownTimes:
    """One partition. `wanted` are the offsets whose times the current poll needs."""

    __slots__ = (
        "_end",
        "_estimates",
        "_lasting",
        "_seen",
        "_start",
        "_unread",
        "compacted",
        "future",
        "index",
        "narrowed",
        "partition",
        "polls",
        "read",
        "topic",
        "trust",
        "wanted",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.index = TimeIndex()
        self.trust = IndexTrust()
        self.read: dict[ReadPoint, ReadRecord] = {}
        self.wanted: set[ReadPoint] = set()
        self.future: set[int] = set()
        """Wanted offsets whose timestamps are in the future."""
        self.compacted = False
        """Whether compaction may delete records, so that a read is valid for one poll only."""
        self.polls = 0
        self.narrowed = False
        """Whether more lookups would not improve the time of any wanted offset."""
        self._start = 0
        self._end = 0
        self._seen: tuple[int, int, int | None] = (0, 0, None)
        """Start, end, and the poll if reads are valid for one poll only: as long as they are the
        same, so is what was computed."""
        self._unread: Sequence[ReadPoint] | None = None
        """The result of `unread`; None if something has changed."""
        self._estimates: Mapping[ReadPoint, Estimate] = {}
        """The last result of `estimates`."""
        self._lasting: tuple[int, bool] | None = None
        """Index version and `proven` for which `_estimates` are right at any time; None if they
        depend on the time, or something has changed."""

    @property
    def end(self) -> int:
        """The partition's end in this poll."""
        return self._end

    def observe(self, start: int, end: int, wanted: set[ReadPoint]) -> None:
        """Start a poll: drop data that is no longer needed."""
        self.polls += 1
        if end < self._end:
            self.forget()
        self._start, self._end = start, end
        seen = (start, end, self.polls if self.compacted else None)
        if seen != self._seen:
            self._seen = seen
            self._changed()
        if wanted is not self.wanted and wanted != self.wanted:
            self._keep_only(wanted)
        self.index.forget_below(start)
        self.trust.forget_below(start)

    def _keep_only(self, wanted: set[ReadPoint]) -> None:
        """Drop what was known of other offsets."""
        self.wanted = wanted
        self._changed()
        self.narrowed = False
        offsets = {offset for offset, _ in wanted}
        self.read = {point: found for point, found in self.read.items() if point in wanted}
        self.future &= offsets
        self.index.keep(offsets, max(ENTRIES, 2 * len(offsets)))

    def want(self, points: set[ReadPoint]) -> None:
        """Set the wanted offsets in a poll in which the partition could not be read."""
        self.wanted = points
        self._changed()

    def _changed(self) -> None:
        """Forget what was computed."""
        self._unread = self._lasting = None

    def forget(self) -> None:
        """Drop everything: the topic was recreated or truncated."""
        self._changed()
        self.index.clear()
        self.trust.clear()
        self.read.clear()

    def unread(self) -> Sequence[ReadPoint]:
        """Return the wanted offsets without a read, or with one of an end that has moved."""
        if self._unread is None:
            self._unread = [
                point
                for point in self.wanted
                if self._start <= point[0] < self._end and self.valid_read(point) is None
            ]
        return self._unread

    def valid_read(self, point: ReadPoint) -> ReadRecord | None:
        """Return the result of a read at this offset if it is still valid."""
        found = self.read.get(point)
        if found is None or (found.time == math.inf and found.end != self._end):
            return None
        if self.compacted and found.poll != self.polls:
            return None
        return found

    def add_read(self, point: ReadPoint, found: ReadRecord) -> bool:
        """Store a read, compare it with the index; return whether the offset has no record."""
        self.read[point] = found
        self._changed()
        offset, _ = point
        if found.offset != offset:
            return True
        if found.time is None:
            # Lookups do not find this record, and possibly others without a timestamp.
            self.trust.note_disorder(offset)
            return False
        self.trust.note_read(offset, stamped=found.stamped)
        bracket = self.index.bracket(offset)
        milliseconds = round(found.time * 1000)
        if bracket.low is not None and milliseconds < bracket.low - DISORDER_MS:
            self.trust.note_disorder(offset)
        elif bracket.low is not None and len(self.index) > 1 and self.narrowed:
            # Any record is inside a wide bracket, in order or not: a wide bracket proves nothing.
            self.trust.note_agreed(stamped=found.stamped)
        return False

    # Estimates

    def estimate(
        self, point: ReadPoint, at_ms: int, tolerance: AgeTolerance, *, proven: bool
    ) -> Estimate | None:
        """Return the time of the first record at or after an offset.

        None if it is not known well enough. `at_ms` is when the position was read: no record there
        was enqueued later, unless its timestamp is wrong. `proven` is True if no disorder was seen
        in the topic's timestamps.
        """
        found = self.valid_read(point)
        if found is not None and found.time is not None:
            return Estimate(found.time, 0.0, read=True)
        bracket = self.index.bracket(point[0])
        if bracket.low is None or point[0] < self._start:
            return None
        if found is not None:
            return estimate_between(bracket, at_ms, tolerance)
        proven = proven and self.trust.covers(point[0])
        return estimate_inside(bracket, at_ms, tolerance, proven=proven)

    def estimates(
        self, at_ms: int, tolerance: AgeTolerance, *, proven: bool
    ) -> Mapping[ReadPoint, Estimate]:
        """Return the times of the wanted offsets that are known well enough.

        If they are equal to those of the last poll, it is the same object.
        """
        version = (self.index.version, proven)
        if self._lasting == version:
            return self._estimates
        found = {}
        for point in self.wanted:
            estimate = self.estimate(point, at_ms, tolerance, proven=proven)
            if estimate is not None:
                found[point] = estimate
        if found != self._estimates:
            self._estimates, self._lasting = found, None
            return found
        # An age may become exact enough as it grows, and an upper bound may be the present time.
        is_lasting = len(found) == len(self.wanted) and all(map(self._is_bounded, self.wanted))
        self._lasting = version if is_lasting else None
        return self._estimates

    def _is_bounded(self, point: ReadPoint) -> bool:
        """Return whether an estimate does not depend on the present time."""
        found = self.valid_read(point)
        if found is not None and found.time is not None:
            return True
        bracket = self.index.bracket(point[0])
        return bracket.exact or (bracket.after if found is not None else bracket.below) is not None

    def future_offsets(self, at_ms: int) -> set[int]:
        """Return the wanted offsets with timestamps later than `at_ms`."""
        late = {
            point[0]
            for point, found in self.read.items()
            if found.time is not None and at_ms / 1000 < found.time < math.inf
        }
        if self.index.newest > at_ms:
            for point in self.unread():
                low = self.index.bracket(point[0]).low
                if low is not None and low > at_ms:
                    late.add(point[0])
        return late
