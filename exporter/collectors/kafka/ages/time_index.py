"""What lookups by timestamp have told of one partition: pairs of offset and timestamp that bracket any position.

A lookup of T answers the first record whose timestamp is at least T. So every record before the answer is older than
T, whatever the order of the timestamps; and where timestamps do not run backwards, every record behind the answer is at
least as young as it. Times are in milliseconds of Unix time, as the broker has them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from exporter.collectors.kafka.ages.record_times import PLAUSIBLE

UNKNOWN = -1
PLAUSIBLE_MS = round(PLAUSIBLE * 1000)
NO_OFFSETS: frozenset[int] = frozenset()
"""Shared by all indexes that have met no odd timestamp, which are nearly all."""


class Bracket(NamedTuple):
    """What is known of the timestamp of the record at a position; None is a side of which nothing is known."""

    low: int | None
    """It is at least this, where timestamps are in order."""
    low_offset: int
    below: int | None
    """It is less than this."""
    high_offset: int
    """First offset of which that is not known."""
    exact: bool
    """Whether `low` is the timestamp of the first record at or behind the position."""
    after: int | None = None
    """Timestamp of the record at `high_offset`."""


class TimeIndex:
    """Pairs of one partition in ascending order of offsets, and so of timestamps."""

    __slots__ = ("_blocked_from", "_highs", "_lows", "_odd", "_offsets", "origin", "version")

    def __init__(self) -> None:
        self._offsets = array("q")
        self._lows = array("q")
        """Smallest T whose lookup is known to answer the offset (or a later one)."""
        self._highs = array("q")
        """The record's timestamp; UNKNOWN where no record was there yet."""
        self.origin = 0
        """The earliest timestamp to look up."""
        self._blocked_from: int | None = None
        """Offset of a record with a timestamp so late that lookups see nothing after it."""
        self._odd = NO_OFFSETS
        """Offsets of the records with implausible timestamps that lookups have met."""
        self.version = 0
        """Grows with each change."""

    def __len__(self) -> int:
        return len(self._offsets)

    def answered(self, asked: int, offset: int, timestamp: int) -> None:
        """Note that the lookup of `asked` answered the record at `offset`."""
        self._put(offset, asked, timestamp)

    def unanswered(self, asked: int, end: int) -> None:
        """Note that no record below `end` has a timestamp of `asked` or more."""
        row = bisect_left(self._offsets, end)
        if row == len(self._offsets) or self._lows[row] > asked:
            self._put(end, asked, UNKNOWN)

    def met_odd(self, asked: int, offset: int, timestamp: int) -> bool:
        """Note that a lookup answered a timestamp in another unit than milliseconds; tell whether it was not met before.

        One that is too early moves the origin: lookups from there on pass over such records. One that is too late hides
        the records after it from lookups.
        """
        is_new = offset not in self._odd
        self._odd |= {offset}
        if timestamp < PLAUSIBLE_MS:
            self.origin = PLAUSIBLE_MS
        else:
            # No record before `offset` has a timestamp of `asked` or more; the one there tells nothing.
            self._put(offset, asked, UNKNOWN)
            known = self._blocked_from
            self._blocked_from = offset if known is None else min(known, offset)
        return is_new

    def has_met(self, offset: int) -> bool:
        """Whether a lookup has answered the record, and its timestamp was implausible."""
        return offset in self._odd

    def is_blocked(self, offset: int) -> bool:
        """Whether lookups can't see the record, because one before it has a timestamp that is too late."""
        return self._blocked_from is not None and offset >= self._blocked_from

    def bracket(self, position: int) -> Bracket:
        """Return what is known of the record at `position`."""
        offsets, highs = self._offsets, self._highs
        behind = bisect_right(offsets, position)
        at = behind - 1
        while at >= 0 and highs[at] == UNKNOWN:
            at -= 1
        low, low_offset = (highs[at], offsets[at]) if at >= 0 else (None, 0)
        below, high_offset = (
            (self._lows[behind], offsets[behind]) if behind < len(offsets) else (None, 0)
        )
        if low is None and below == 0 and highs[behind] != UNKNOWN:
            # No record is older than the epoch: this is the log's first, and nothing is left before it.
            return Bracket(highs[behind], high_offset, None, 0, exact=True)
        known = behind < len(offsets) and highs[behind] != UNKNOWN
        after = highs[behind] if known else None
        exact = at >= 0 and low_offset == position
        return Bracket(low, low_offset, below, high_offset, exact, after)

    @property
    def newest(self) -> int:
        """The latest timestamp that is known; UNKNOWN where there is none."""
        return next((high for high in reversed(self._highs) if high != UNKNOWN), UNKNOWN)

    def keep(self, positions: Iterable[int], most: int) -> None:
        """Drop pairs until at most some `most` are left: first those that bracket none of `positions`."""
        count = len(self._offsets)
        if count <= most:
            return
        stamped = (row for row in reversed(range(count)) if self._highs[row] != UNKNOWN)
        needed = {0, count - 1, count - 2, next(stamped, 0)}
        for position in positions:
            behind = bisect_right(self._offsets, position)
            at = behind - 1
            while at > 0 and self._highs[at] == UNKNOWN:
                at -= 1
            needed.update((at, behind))
        spare = [row for row in range(count) if row not in needed]
        step = max(len(spare) // max(most // 2, 1), 1) + 1
        needed.update(spare[::step])
        self._rebuild([row for row in range(count) if row in needed])

    def forget_below(self, start: int) -> None:
        """Drop pairs of deleted records, but for the last of them, whose timestamp still bounds the next."""
        dropped = bisect_right(self._offsets, start) - 1
        if dropped > 0:
            for column in (self._offsets, self._lows, self._highs):
                del column[:dropped]
        if self._blocked_from is not None and start > self._blocked_from:
            self._blocked_from = None
            self.version += 1
        if self._odd:
            self._odd = frozenset(offset for offset in self._odd if offset >= start)

    def clear(self) -> None:
        """Forget all: the log is another."""
        for column in (self._offsets, self._lows, self._highs):
            del column[:]
        self.origin, self._blocked_from, self._odd = 0, None, NO_OFFSETS
        self.version += 1

    def _put(self, offset: int, asked: int, timestamp: int) -> None:
        """Insert a pair, and drop those that it contradicts: what they say was of a log that has changed."""
        offsets, lows, highs = self._offsets, self._lows, self._highs
        row = bisect_left(offsets, offset)
        self.version += 1
        if row < len(offsets) and offsets[row] == offset:
            lows[row] = min(lows[row], asked)
            if timestamp != UNKNOWN:
                highs[row] = timestamp
        else:
            offsets.insert(row, offset)
            lows.insert(row, asked)
            highs.insert(row, timestamp)
        first = row
        while first > 0 and (highs[first - 1] >= asked or lows[first - 1] > asked):
            first -= 1
        last = row + 1
        while last < len(offsets) and lows[last] <= max(timestamp, asked):
            last += 1
        for column in (offsets, lows, highs):
            del column[row + 1 : last]
            del column[first:row]

    def _rebuild(self, rows: list[int]) -> None:
        self._offsets = array("q", (self._offsets[row] for row in rows))
        self._lows = array("q", (self._lows[row] for row in rows))
        self._highs = array("q", (self._highs[row] for row in rows))
