"""The results of timestamp lookups in one partition: (offset, timestamp) pairs to bracket offsets.

A lookup of T returns the first record whose timestamp is at least T. So every record before it has
a timestamp below T, in any order. If timestamps are in order, every record after it has at least
its timestamp. Times are Unix time in milliseconds, as in the broker.
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
"""Shared by all indexes without implausible timestamps, which is nearly all of them."""


class Bracket(NamedTuple):
    """Bounds on the timestamp of the record at a position; None is an unknown bound."""

    low: int | None
    """Lower bound, if timestamps are in order."""
    low_offset: int
    below: int | None
    """Exclusive upper bound."""
    high_offset: int
    """First offset to which the upper bound does not apply."""
    exact: bool
    """Whether `low` is the timestamp of the first record at or after the position."""
    after: int | None = None
    """Timestamp of the record at `high_offset`."""


class TimeIndex:
    """Pairs of one partition in ascending order of offsets and so of timestamps."""

    __slots__ = (
        "_blocked_from",
        "_highs",
        "_implausible",
        "_lows",
        "_offsets",
        "origin",
        "version",
    )

    def __init__(self) -> None:
        self._offsets = array("q")
        self._lows = array("q")
        """Smallest T known to return this offset or a later one."""
        self._highs = array("q")
        """The record's timestamp; UNKNOWN if there was no record yet."""
        self.origin = 0
        """The earliest timestamp to look up."""
        self._blocked_from: int | None = None
        """Offset of a record with a timestamp so late that it hides later records from lookups."""
        self._implausible = NO_OFFSETS
        """Offsets of records with implausible timestamps that lookups have returned."""
        self.version = 0
        """Incremented at each change."""

    def __len__(self) -> int:
        return len(self._offsets)

    def add_answer(self, asked: int, offset: int, timestamp: int) -> None:
        """Store that the lookup of `asked` returned the record at `offset`."""
        self._put(offset, asked, timestamp)

    def add_no_answer(self, asked: int, end: int) -> None:
        """Store that no record below `end` has a timestamp of `asked` or more."""
        row = bisect_left(self._offsets, end)
        if row == len(self._offsets) or self._lows[row] > asked:
            self._put(end, asked, UNKNOWN)

    def add_implausible(self, asked: int, offset: int, timestamp: int) -> bool:
        """Store a lookup's answer with an implausible timestamp; return whether it is new.

        If the timestamp is too early, the origin moves: lookups from there skip these records. If
        it is too late, lookups cannot find the records after it.
        """
        is_new = offset not in self._implausible
        self._implausible |= {offset}
        if timestamp < PLAUSIBLE_MS:
            self.origin = PLAUSIBLE_MS
        else:
            # No record before `offset` has a timestamp of `asked` or more; the one there gives no
            # bound.
            self._put(offset, asked, UNKNOWN)
            known = self._blocked_from
            self._blocked_from = offset if known is None else min(known, offset)
        return is_new

    def is_implausible(self, offset: int) -> bool:
        """Return whether a lookup has returned this record with an implausible timestamp."""
        return offset in self._implausible

    def is_blocked(self, offset: int) -> bool:
        """Return whether lookups miss this record because of a too late timestamp before it."""
        return self._blocked_from is not None and offset >= self._blocked_from

    def bracket(self, position: int) -> Bracket:
        """Return the bounds on the timestamp of the record at `position`."""
        offsets, highs = self._offsets, self._highs
        following = bisect_right(offsets, position)
        at = following - 1
        while at >= 0 and highs[at] == UNKNOWN:
            at -= 1
        low, low_offset = (highs[at], offsets[at]) if at >= 0 else (None, 0)
        below, high_offset = (
            (self._lows[following], offsets[following]) if following < len(offsets) else (None, 0)
        )
        if low is None and below == 0 and highs[following] != UNKNOWN:
            # No record is older than the epoch, so this is the log's first record.
            return Bracket(highs[following], high_offset, None, 0, exact=True)
        known = following < len(offsets) and highs[following] != UNKNOWN
        after = highs[following] if known else None
        exact = at >= 0 and low_offset == position
        return Bracket(low, low_offset, below, high_offset, exact, after)

    @property
    def newest(self) -> int:
        """The latest known timestamp; UNKNOWN if there is none."""
        return next((high for high in reversed(self._highs) if high != UNKNOWN), UNKNOWN)

    def keep(self, positions: Iterable[int], most: int) -> None:
        """Drop pairs until about `most` are left, first those that bracket none of `positions`."""
        count = len(self._offsets)
        if count <= most:
            return
        stamped = (row for row in reversed(range(count)) if self._highs[row] != UNKNOWN)
        needed = {0, count - 1, count - 2, next(stamped, 0)}
        for position in positions:
            following = bisect_right(self._offsets, position)
            at = following - 1
            while at > 0 and self._highs[at] == UNKNOWN:
                at -= 1
            needed.update((at, following))
        spare = [row for row in range(count) if row not in needed]
        step = max(len(spare) // max(most // 2, 1), 1) + 1
        needed.update(spare[::step])
        self._rebuild([row for row in range(count) if row in needed])

    def forget_below(self, start: int) -> None:
        """Drop pairs of deleted records, except the last: it bounds the next record's timestamp."""
        dropped = bisect_right(self._offsets, start) - 1
        if dropped > 0:
            for column in (self._offsets, self._lows, self._highs):
                del column[:dropped]
        if self._blocked_from is not None and start > self._blocked_from:
            self._blocked_from = None
            self.version += 1
        if self._implausible:
            self._implausible = frozenset(offset for offset in self._implausible if offset >= start)

    def clear(self) -> None:
        """Drop everything: the topic was recreated or truncated."""
        for column in (self._offsets, self._lows, self._highs):
            del column[:]
        self.origin, self._blocked_from, self._implausible = 0, None, NO_OFFSETS
        self.version += 1

    def _put(self, offset: int, asked: int, timestamp: int) -> None:
        """Insert a pair, and drop pairs that contradict it: they are outdated."""
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
