"""All known times of one partition, and which lookups and reads would improve them."""

from __future__ import annotations

import math

from exporter.collectors.kafka.ages.estimates import AgeTolerance
from exporter.collectors.kafka.ages.known_times import KnownTimes
from exporter.collectors.kafka.ages.narrowing import narrowing_timestamp
from exporter.collectors.kafka.ages.read_points import ReadPoint
from exporter.collectors.kafka.ages.reading_order import best_checks_first
from exporter.collectors.kafka.ages.record_times import is_plausible


class PartitionTimes(KnownTimes):
    """One partition, and what to ask next."""

    __slots__ = ("_settled", "_sure", "_tries", "fed", "no_lookups")

    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(topic, partition)
        self.no_lookups = False
        """Whether the broker has no timestamps to look up."""
        self.fed = 0
        """End of the partition when its newest records were last looked up."""
        self._tries: dict[int, int] = {}
        self._settled: int | None = None
        """Index version at which no lookup was left for the wanted offsets."""
        self._sure = False
        """Whether at `_settled` no wanted offset needed a read."""

    def _keep_only(self, wanted: set[ReadPoint]) -> None:
        super()._keep_only(wanted)
        self._settled = None
        offsets = {offset for offset, _ in wanted}
        self._tries = {o: tries for o, tries in self._tries.items() if o in offsets}

    def forget(self) -> None:
        """Drop everything: the topic was recreated or truncated."""
        super().forget()
        self._tries.clear()

    # Reads

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
