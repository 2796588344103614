"""All known times of one partition: the lookup index, the records read, and whether they agree."""

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
from exporter.collectors.kafka.ages.narrowing import narrowing_timestamp
from exporter.collectors.kafka.ages.read_points import ReadPoint, ReadRecord
from exporter.collectors.kafka.ages.reading_order import best_checks_first
from exporter.collectors.kafka.ages.record_times import is_plausible
from exporter.collectors.kafka.ages.time_index import TimeIndex

ENTRIES = 512
"""Minimum size limit of an index, in pairs. The limit is at least twice the number of positions."""


class PartitionTimes:
    """One partition. `wanted` are the offsets whose times the current poll needs."""

    __slots__ = (
        "_end",
        "_estimates",
        "_lasting",
        "_seen",
        "_settled",
        "_start",
        "_sure",
        "_tries",
        "_unread",
        "compacted",
        "fed",
        "future",
        "index",
        "narrowed",
        "no_lookups",
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
        self.no_lookups = False
        """Whether the broker has no timestamps to look up."""
        self.fed = 0
        """End of the partition when its newest records were last looked up."""
        self._tries: dict[int, int] = {}
        self._settled: int | None = None
        """Index version at which no lookup was left for the wanted offsets."""
        self._sure = False
        """Whether at `_settled` no wanted offset needed a read."""
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
            self.wanted = wanted
            self._changed()
            self.narrowed = False
            self._settled = None
            offsets = {offset for offset, _ in wanted}
            self.read = {point: found for point, found in self.read.items() if point in wanted}
            self.future &= offsets
            self._tries = {o: tries for o, tries in self._tries.items() if o in offsets}
            self.index.keep(offsets, max(ENTRIES, 2 * len(offsets)))
        self.index.forget_below(start)
        self.trust.forget_below(start)

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
        self._tries.clear()

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
            self._estimates = found
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

    def doubtful(self, at_ms: int) -> list[ReadPoint]:
        """Return the unread offsets for which lookups found nothing or a time in the future."""
        if self._sure and self._settled == self.index.version:
            return []
        found = [point for point in self.unread() if self._is_doubtful(point[0], at_ms)]
        self._sure = not found
        return found

    def _is_doubtful(self, offset: int, at_ms: int) -> bool:
        low = self.index.bracket(offset).low
        return low is None or low > at_ms or self.index.is_blocked(offset)

    def unread_best_first(self) -> list[ReadPoint]:
        """Return the unread offsets in the order in which their reads best verify the lookups."""
        found = best_checks_first(self.unread(), self.index, self._end)
        if found and self.trust.begins_after(first := min(found)[0]):
            # Only a read of the first offset can verify lookups for all of them.
            found.sort(key=lambda point: point[0] != first)
        return found

    # Lookups

    def questions(self, at_ms: int, tolerance: AgeTolerance) -> list[int]:
        """Return the timestamps to look up next for the wanted offsets."""
        index = self.index
        if self.no_lookups or self._settled == index.version:
            self.narrowed = not self.no_lookups
            return []
        asked: set[int] = set()
        recent = at_ms - round(tolerance.seconds * 1000)
        newest = 0
        lasting = True
        for point in sorted(self.wanted):
            found = self.valid_read(point)
            if found is not None and found.time is not None:
                lasting = lasting and found.time != math.inf
                continue
            offset = point[0]
            if not self._start <= offset < self._end:
                continue
            bracket = index.bracket(offset)
            if bracket.exact:
                continue
            lasting = lasting and bracket.below is not None
            blocked = index.is_blocked(offset)
            if bracket.low is None and bracket.below != index.origin and not blocked:
                asked.add(index.origin)
            if bracket.below is None and not blocked and (bracket.low or 0) < recent:
                asked.add(recent)
            tries = self._tries.get(offset, 0) + 1
            question = narrowing_timestamp(offset, bracket, tries, at_ms, tolerance)
            if question is None:
                continue
            self._tries[offset] = tries
            if question > newest:
                # One lookup is enough for positions of one bracket that are close together.
                asked.add(question)
                newest = question + round(tolerance.milliseconds(at_ms - question) / 2)
        self.narrowed = not asked
        self._settled = index.version if lasting and not asked else None
        self._sure = False
        return sorted(asked)

    def feed(self, at_ms: int, tolerance: AgeTolerance) -> list[int]:
        """Return the timestamp to look up for the newest records, before they become lag."""
        if self.no_lookups or self.fed == self._end or not self.wanted or not len(self.index):
            return []
        self.fed = self._end
        return [at_ms - round(tolerance.seconds * 1000)]

    def add_answer(self, asked: int, offset: int, timestamp: int) -> bool:
        """Store the answer to a lookup; return whether it has a new implausible timestamp.

        A negative offset means that no record was found.
        """
        if offset < 0 or timestamp < 0:
            if asked == 0:
                self.no_lookups = self._end > self._start
            else:
                self.index.add_no_answer(asked, self._end)
            return False
        if is_plausible(timestamp / 1000):
            self.index.add_answer(asked, offset, timestamp)
            return False
        was_read = (offset, False) in self.read or (offset, True) in self.read
        return self.index.add_implausible(asked, offset, timestamp) and not was_read
