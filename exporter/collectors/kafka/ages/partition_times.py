"""What is known of time in one partition: its index of lookups, the records that were read, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from exporter.collectors.kafka.ages.record_times import PLAUSIBLE, is_plausible
from exporter.collectors.kafka.ages.time_index import Bracket, TimeIndex

DISORDER_MS = 200
"""Milliseconds by which timestamps of one partition may run backwards and still count as ordered.

Producers stamp a record before they send its batch, so those of several producers are never quite in order.
"""
ENTRIES = 512
"""Pairs that an index keeps, or twice as many as there are positions to bracket."""
SHOWN = 4.0
"""An age is shown once its error is at most so many times what is wanted."""
PATIENCE = 4
"""Lookups for a position by interpolation, after which the bracket is halved instead."""
ENOUGH = 0.97
"""Part of the tolerance that is aimed at: the age by which it is measured is itself off by a little."""
NEAR = 0.9
"""Part of the wanted width within which a guess is taken for near to a side of its bracket."""

CHECKS = 2
"""Records that have to agree with a partition's index before it is trusted."""
PLAUSIBLE_MS = round(PLAUSIBLE * 1000)

Place = tuple[int, bool]
"""An offset, and whether only committed records count there."""


class Tolerance(NamedTuple):
    """How exact an age has to be: within the larger of the two."""

    seconds: float
    ratio: float
    """Part of the age."""

    def milliseconds(self, age_ms: float) -> float:
        """Return the error that is good enough at an age."""
        return max(self.seconds * 1000, self.ratio * age_ms)


class Estimate(NamedTuple):
    """When the first record at or behind an offset was enqueued."""

    time: float
    """Unix time in seconds; inf where there is no such record."""
    error: float
    """Seconds by which that may be off; negative where it can't be told."""
    read: bool
    """Whether the record itself was read."""


class ReadRecord(NamedTuple):
    """What was found by reading at an offset."""

    time: float | None
    """Unix time in seconds; None where the record has none; inf at the partition's end."""
    offset: int
    """The record's."""
    end: int
    """The partition's end when it was read."""
    look: int = 0
    """Number of the look at which it was read."""
    stamped: bool = False
    """Whether the broker gave the timestamp, and not the producer."""


class _Span(NamedTuple):
    """How much a bracket covers, to compare by; of what covers as much, the middle comes first."""

    per_time: tuple[float, int]
    """Offsets by millisecond."""
    offsets: tuple[int, int]


class PartitionTimes:
    """One partition. `wanted` are the places whose times the present look asks for."""

    __slots__ = (
        "_agreed",
        "_agreed_stamped",
        "_blocked_from",
        "_created_to",
        "_disorder_at",
        "_end",
        "_odd",
        "_origin",
        "_settled",
        "_stamped_from",
        "_start",
        "_sure",
        "_tries",
        "checked",
        "compacted",
        "fed",
        "future",
        "index",
        "looks",
        "narrowed",
        "no_lookups",
        "partition",
        "read",
        "topic",
        "wanted",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.index = TimeIndex()
        self.read: dict[Place, ReadRecord] = {}
        self.wanted: set[Place] = set()
        self.future: set[int] = set()
        """Wanted offsets whose timestamps are to come."""
        self.compacted = False
        """Whether records may go from the midst of the log, so that what was read does not last."""
        self.looks = 0
        """Looks so far."""
        self.checked = False
        """Whether enough records with producers' timestamps were read, and agreed with the index."""
        self._agreed = 0
        self._agreed_stamped = 0
        self._stamped_from: int | None = None
        """First offset that was read of those behind all records with producers' timestamps: the broker stamped it."""
        self._created_to = -1
        """Last offset that was read with its producer's timestamp."""
        self._origin = 0
        """The earliest timestamp to look up."""
        self._blocked_from: int | None = None
        """Offset of a record with a timestamp so late that lookups see nothing behind it."""
        self._odd: set[int] = set()
        """Offsets of the records with implausible timestamps that lookups have met."""
        self.narrowed = False
        """Whether lookups have told of every wanted place what they can."""
        self.no_lookups = False
        """Whether the broker has no timestamps to look up."""
        self.fed = 0
        """End of the partition when its tail was last looked up."""
        self._disorder_at: int | None = None
        self._tries: dict[int, int] = {}
        self._settled: int | None = None
        """Version of the index at which nothing was left to ask for the wanted places."""
        self._sure = False
        """Whether lookups could tell all that was wanted when it was settled."""
        self._start = 0
        self._end = 0

    @property
    def end(self) -> int:
        """The partition's end at this look."""
        return self._end

    @property
    def disordered(self) -> bool:
        """Whether timestamps were seen to run backwards, in records that are still there."""
        return self._disorder_at is not None

    def look(self, start: int, end: int, wanted: set[Place]) -> None:
        """Begin a look: forget what is of no use any more."""
        self.looks += 1
        if end < self._end:
            self.forget()
        self._start, self._end = start, end
        if wanted != self.wanted:
            self.wanted = wanted
            self.narrowed = False
            self._settled = None
            offsets = {offset for offset, _ in wanted}
            self.read = {place: found for place, found in self.read.items() if place in wanted}
            self.future &= offsets
            self._tries = {o: tries for o, tries in self._tries.items() if o in offsets}
            self.index.keep(offsets, max(ENTRIES, 2 * len(offsets)))
        self.index.forget_below(start)
        if self._disorder_at is not None and start > self._disorder_at:
            self._disorder_at = None
        if self._blocked_from is not None and start > self._blocked_from:
            self._blocked_from = None
            self._settled = None
        if self._odd:
            self._odd = {offset for offset in self._odd if offset >= start}

    def forget(self) -> None:
        """The log is another than before."""
        self.index.clear()
        self.read.clear()
        self._tries.clear()
        self._disorder_at = None
        self.checked = False
        self._agreed = self._agreed_stamped = 0
        self._stamped_from, self._created_to = None, -1
        self._origin, self._blocked_from = 0, None
        self._odd.clear()

    def unread(self) -> list[Place]:
        """Return the wanted places at which nothing was read, or the end, which has moved since."""
        return [
            place
            for place in self.wanted
            if self._start <= place[0] < self._end and self.reading(place) is None
        ]

    def reading(self, place: Place) -> ReadRecord | None:
        """Return what was found by reading there, while it holds."""
        found = self.read.get(place)
        if found is None or (found.time == math.inf and found.end != self._end):
            return None
        if self.compacted and found.look != self.looks:
            return None
        return found

    def take(self, place: Place, found: ReadRecord) -> bool:
        """Note what was read, and hold it against the index; tell whether the offset holds no record."""
        self.read[place] = found
        offset, _ = place
        if found.offset != offset:
            return True
        if found.time is None:
            # Lookups do not see it, nor others like it.
            self._disorder_at = max(offset, self._disorder_at or 0)
            return False
        self._note_kind(offset, stamped=found.stamped)
        bracket = self.index.bracket(offset)
        milliseconds = round(found.time * 1000)
        if bracket.low is not None and milliseconds < bracket.low - DISORDER_MS:
            self._disorder_at = max(offset, self._disorder_at or 0)
        elif bracket.low is not None and len(self.index) > 1 and self.narrowed:
            # A record is inside a wide bracket whatever the order: that is no test.
            self._agreed += not found.stamped
            self._agreed_stamped += found.stamped
            self.checked = self.checked or self._agreed >= CHECKS
        return False

    def _note_kind(self, offset: int, *, stamped: bool) -> None:
        """Note who stamped a record: the topic's message.timestamp.type may have been another one before or since."""
        if not stamped:
            self._created_to = max(self._created_to, offset)
            if self._stamped_from is not None and self._stamped_from <= offset:
                self._stamped_from, self._agreed_stamped = None, 0
        elif offset > self._created_to:
            known = self._stamped_from
            self._stamped_from = offset if known is None else min(known, offset)

    @property
    def is_checked(self) -> bool:
        """Whether there are offsets of which the index is trusted."""
        stamped = self._stamped_from is not None and self._agreed_stamped >= CHECKS
        return self.checked or stamped

    def trusts(self, offset: int) -> bool:
        """Whether the records that were read vouch for the index at an offset.

        A record that the broker stamped tells nothing of those before it: their producers may have stamped them.
        """
        if self.checked:
            return True
        return self.is_checked and self._stamped_from is not None and offset >= self._stamped_from

    # Estimates

    def estimate(
        self, place: Place, at_ms: int, tolerance: Tolerance, *, proven: bool
    ) -> Estimate | None:
        """Return the time of the first record at or behind a place; None where it is not known well enough.

        `at_ms` is when the position was read; no record there was enqueued later, or its timestamp is wrong. `proven`
        tells whether the topic's timestamps are in order as far as is known.
        """
        found = self.reading(place)
        if found is not None and found.time is not None:
            return Estimate(found.time, 0.0, read=True)
        bracket = self.index.bracket(place[0])
        if bracket.low is None or place[0] < self._start:
            return None
        if found is not None:
            return _between(bracket, at_ms, tolerance)
        proven = proven and self.trusts(place[0])
        if bracket.exact:
            return Estimate(bracket.low / 1000, 0.0 if proven else -1.0, read=False)
        slack = DISORDER_MS if proven else 0
        high = self._high(bracket, at_ms)
        error = (high - bracket.low + slack) / 2
        middle = (high + bracket.low - slack) / 2
        if error > SHOWN * tolerance.milliseconds(at_ms - middle):
            return None
        return Estimate(middle / 1000, error / 1000 if proven else -1.0, read=False)

    def estimates(
        self, at_ms: int, tolerance: Tolerance, *, proven: bool
    ) -> Mapping[Place, Estimate]:
        """Return the times of the wanted places, as far as they are known well enough."""
        found = {}
        for place in self.wanted:
            estimate = self.estimate(place, at_ms, tolerance, proven=proven)
            if estimate is not None:
                found[place] = estimate
        return found

    def to_come(self, at_ms: int) -> set[int]:
        """Return the wanted offsets whose timestamps are later than `at_ms`."""
        late = {
            place[0]
            for place, found in self.read.items()
            if found.time is not None and at_ms / 1000 < found.time < math.inf
        }
        if self.index.newest > at_ms:
            for place in self.unread():
                low = self.index.bracket(place[0]).low
                if low is not None and low > at_ms:
                    late.add(place[0])
        return late

    def doubtful(self, at_ms: int) -> list[Place]:
        """Return the unread places where reading tells more than lookups: nothing is known, or a time to come."""
        if self._sure and self._settled == self.index.version:
            return []
        found = [place for place in self.unread() if self._is_doubtful(place[0], at_ms)]
        self._sure = not found
        return found

    def _is_doubtful(self, offset: int, at_ms: int) -> bool:
        low = self.index.bracket(offset).low
        return low is None or low > at_ms or self._is_blocked(offset)

    def _is_blocked(self, offset: int) -> bool:
        return self._blocked_from is not None and offset >= self._blocked_from

    def telling(self) -> list[Place]:
        """Return the unread places in the order in which reading tells most of whether lookups can be trusted.

        Where old records are replayed behind newer ones, lookups see many offsets in no time; so it is where many came
        at once, hence those that see most offsets come second. The record that a lookup answered is no test of it.
        """
        spans = {place: self._span(place[0]) for place in self.unread()}
        found = sorted(spans, key=lambda place: spans[place].per_time, reverse=True)
        if len(found) > CHECKS:
            second = max(found[1:], key=lambda place: spans[place].offsets)
            found.remove(second)
            found.insert(1, second)
        if found and self._stamped_from is not None and not self.trusts(first := min(found)[0]):
            # Only the first one can vouch for all of them.
            found.sort(key=lambda place: place[0] != first)
        return found

    def _span(self, offset: int) -> _Span:
        bracket = self.index.bracket(offset)
        low, below = bracket.low, bracket.below
        if bracket.exact or low is None:
            return _Span((0.0, 0), (0, 0))
        high_offset, width = (self._end, 1) if below is None else (bracket.high_offset, below - low)
        offsets = high_offset - bracket.low_offset
        # What is out of order lies inside; at the sides it may be in order again.
        from_middle = -abs(2 * offset - bracket.low_offset - high_offset)
        return _Span((offsets / max(width, 1), from_middle), (offsets, from_middle))

    # Lookups

    def questions(self, at_ms: int, tolerance: Tolerance) -> list[int]:
        """Return the timestamps to look up next, so that the wanted places' times become known."""
        if self.no_lookups or self._settled == self.index.version:
            self.narrowed = not self.no_lookups
            return []
        asked: set[int] = set()
        recent = at_ms - round(tolerance.seconds * 1000)
        newest = 0
        lasting = True
        for place in sorted(self.wanted):
            found = self.reading(place)
            if found is not None and found.time is not None:
                lasting = lasting and found.time != math.inf
                continue
            offset = place[0]
            if not self._start <= offset < self._end:
                continue
            bracket = self.index.bracket(offset)
            if bracket.exact:
                continue
            lasting = lasting and bracket.below is not None
            blocked = self._is_blocked(offset)
            if bracket.low is None and bracket.below != self._origin and not blocked:
                asked.add(self._origin)
            if bracket.below is None and not blocked and (bracket.low or 0) < recent:
                asked.add(recent)
            if bracket.low is None or bracket.below is None:
                continue
            question = self._question(offset, bracket, at_ms, tolerance)
            if question is not None and question > newest:
                # Those of one bracket that lie close together are answered by one of them.
                asked.add(question)
                newest = question + round(tolerance.milliseconds(at_ms - question) / 2)
        self.narrowed = not asked
        self._settled = self.index.version if lasting and not asked else None
        self._sure = False
        return sorted(asked)

    def feed(self, at_ms: int, tolerance: Tolerance) -> list[int]:
        """Return the timestamp to look up so that the tail of a log that grows is known once it is a backlog."""
        if self.no_lookups or self.fed == self._end or not self.wanted or not len(self.index):
            return []
        self.fed = self._end
        return [at_ms - round(tolerance.seconds * 1000)]

    def answered(self, asked: int, offset: int, timestamp: int) -> bool:
        """Take the answer to a lookup, a negative offset is no record; tell whether its timestamp is newly found odd."""
        if offset >= 0 and timestamp >= 0 and not is_plausible(timestamp / 1000):
            return self._met_odd(asked, offset, timestamp)
        if offset >= 0 and timestamp >= 0:
            self.index.answered(asked, offset, timestamp)
        elif asked == 0:
            self.no_lookups = self._end > self._start
        else:
            self.index.unanswered(asked, self._end)
        return False

    def has_met(self, offset: int) -> bool:
        """Whether a lookup has answered the record, and its timestamp was implausible."""
        return offset in self._odd

    def _met_odd(self, asked: int, offset: int, timestamp: int) -> bool:
        """Take an answer whose timestamp is in another unit than milliseconds; tell whether it was not met before."""
        was_read = (offset, False) in self.read or (offset, True) in self.read
        is_new = offset not in self._odd and not was_read
        self._odd.add(offset)
        if timestamp < PLAUSIBLE_MS:
            self._origin = PLAUSIBLE_MS
        else:
            self.index.blocked(asked, offset)
            known = self._blocked_from
            self._blocked_from = offset if known is None else min(known, offset)
        return is_new

    def _high(self, bracket: Bracket, at_ms: int) -> int:
        high = at_ms if bracket.below is None else bracket.below - 1
        return max(high, bracket.low or 0)

    def _question(
        self, offset: int, bracket: Bracket, at_ms: int, tolerance: Tolerance
    ) -> int | None:
        """Return a timestamp inside the bracket, chosen so that two or three of them narrow it enough."""
        low, below = bracket.low, bracket.below
        if low is None or below is None or below - low <= 1:
            return None
        width = below - low
        enough = tolerance.milliseconds(at_ms - (low + below) / 2) * ENOUGH
        if (width + DISORDER_MS) / 2 <= enough:
            return None
        tries = self._tries[offset] = self._tries.get(offset, 0) + 1
        share = (offset - bracket.low_offset) / max(bracket.high_offset - bracket.low_offset, 1)
        guess = low + share * width
        wanted = max(2 * tolerance.milliseconds(at_ms - guess) - DISORDER_MS, 1.0) * NEAR
        if tries > PATIENCE and tries % 2:
            guess = (low + below) / 2
        elif guess - low <= wanted:
            guess = low + wanted
        elif below - guess <= wanted:
            guess = below - wanted
        return min(max(round(guess), low + 1), below - 1)


def _between(bracket: Bracket, at_ms: int, tolerance: Tolerance) -> Estimate | None:
    """Return the time of a record without a timestamp of its own, by its neighbours'; None where they are far apart."""
    low = bracket.low
    if low is None:
        return None
    high = max(at_ms if bracket.after is None else bracket.after, low)
    middle, error = (high + low) / 2, (high - low) / 2
    if error > SHOWN * tolerance.milliseconds(at_ms - middle):
        return None
    return Estimate(middle / 1000, -1.0, read=False)
