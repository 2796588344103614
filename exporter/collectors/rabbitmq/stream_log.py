"""What is known of one stream from look to look: where it ends, and where stopped consumers stand in it.

The management API does not tell where a stream ends. It tells how many messages a stream holds, and for each consumer
how far it is from the end. Together these give the offset at which the stream begins.

RabbitMQ writes each stored offset into the stream itself, where it takes an offset like a message. So offsets after the
last message may hold no message at all. A consumer that has been sent everything shows where the messages end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

STORES = 1_000
"""Looks at which stored offsets had changed, of which it is remembered when."""
STALE_SECONDS = 6.0
"""How old RabbitMQ's statistics may be: it takes them every 5 s."""


class Holds(NamedTuple):
    """What a stream holds, by the management API; its statistics are some seconds old."""

    messages: int
    has_retention: bool
    """Whether RabbitMQ may delete its oldest messages."""


class Tail(NamedTuple):
    """A consumer that has been sent every message of the stream."""

    offset: int
    """Of the chunk that was sent to it last."""
    end: int
    """Where the stream ended when that was counted, stored offsets included; it may be too small."""
    last_is_message: bool
    """Whether nothing came after that chunk, not even a stored offset."""


class Mark(NamedTuple):
    """Where a consumer goes on after a restart."""

    stored: int
    """Offset of the last message that it has processed."""
    position: int
    """Offset below which nothing is left to process."""


class StreamLog:
    """Follows one stream."""

    def __init__(self) -> None:
        self.end: int | None = None
        """Offset that the next message will get; None where that is not known."""
        self.epoch = 0
        """Another number is another stream of the same name."""
        self.stored: Mapping[str, int] = {}
        """Consumer name to the offset that it stored last; `store` sets it."""
        self.is_stored_known = False
        """Whether the last attempt to read the stored offsets succeeded."""
        self.holds: Holds | None = None
        self._first: int | None = None
        self._ends: deque[tuple[float, int]] = deque()
        """The end that consumers told, by the time of the look."""
        self._last: int | None = None
        """Offset of the last chunk of messages that was seen."""
        self._last_at = 0.0
        """When a consumer last told of that chunk."""
        self._empty_from: int | None = None
        """Offset after that chunk, from which on nothing but stored offsets has come."""
        self._stores: deque[float] = deque(maxlen=STORES)
        """When stored offsets were seen to have changed, those that may come after that offset."""
        self._sure = 0
        """An end of the stream up to which that chunk's consumer had been sent everything for certain."""
        self._empty = 0
        """Offsets that are known to hold no message."""
        self._produced = 0
        self._at = 0.0
        self._before = 0
        """When the last look was, and where the stream ended before it."""
        self._marks: dict[str, Mark] = {}

    def store(self, at: float, stored: Mapping[str, int]) -> None:
        """Take what is stored now."""
        changed = any(self.stored.get(name) != offset for name, offset in stored.items())
        if changed and self.is_stored_known:
            self._stores.append(at)
        self.stored, self.is_stored_known = stored, True

    def measure(self, at: float, holds: Holds | None, end: int | None) -> None:
        """Find where the stream ends. `end` is the largest that a consumer tells."""
        self._at = at
        if self._is_another(holds, end):
            self._begin_again()
        self._before = self.end or 0
        told = self._told(at, end)
        if holds is not None:
            self._find_first(holds, told)
        known = [each for each in (told, self._counted_end) if each is not None]
        if known:
            self.end = max(self._before, *known)

    def _told(self, at: float, end: int | None) -> int | None:
        """Return where the stream ended some seconds ago, as consumers told it.

        While a consumer's statistics are still those of its beginning, it tells too much. So the smallest of all
        since then is taken.
        """
        if end is None:
            self._ends.clear()
            return None
        while len(self._ends) > 1 and at - self._ends[1][0] >= STALE_SECONDS:
            self._ends.popleft()
        self._ends.append((at, end))
        if at - self._ends[0][0] < STALE_SECONDS:
            return None
        return min(each for _, each in self._ends)

    @property
    def _counted_end(self) -> int | None:
        """Where the stream ends by what it holds."""
        if self._first is None or self.holds is None:
            return None
        return self._first + self.holds.messages

    def is_last(self, offset: int, end: int) -> bool:
        """Whether nothing but stored offsets is after the chunk at `offset`, by a consumer that tells of an `end`."""
        if offset != self._last or self._empty_from is None or self.end is None or end < self.end:
            return False
        return self.end - self._empty_from <= len(self._stores)

    def follow(self, tail: Tail | None) -> None:
        """Learn from a consumer that was sent all messages, if there is one."""
        counted = self._counted_end
        # One that has just begun tells the end instead of its last chunk.
        knows = tail is not None and counted is not None and tail.offset < counted
        if tail is not None and self.end is not None and knows:
            self._follow(tail, self.end, self._before)
        self._mark(is_current=knows)

    @property
    def produced(self) -> int:
        """How many messages have come in, offsets without a message left out as far as they are known."""
        self._produced = max(self._produced, (self.end or 0) - self._empty)
        return self._produced

    def waiting(self, name: str) -> int | None:
        """Return how many messages a stopped consumer has not processed: at most that many; None where not known."""
        mark = self._marks.get(name)
        if mark is None or self.end is None:
            return None
        return max(self.end - mark.position, 0)

    def _is_another(self, holds: Holds | None, end: int | None) -> bool:
        """Whether the stream was deleted and made again: its end went back."""
        if end is not None and self._last is not None and end <= self._last:
            # Another consumer's statistics may be older than those that told of the chunk.
            return self._at - self._last_at >= STALE_SECONDS
        fell = holds is not None and self.holds is not None and holds.messages < self.holds.messages
        return fell and holds is not None and not holds.has_retention

    def _begin_again(self) -> None:
        self.end = self._first = self._last = self.holds = None
        self._ends.clear()
        self._empty_from = None
        self._sure = self._empty = self._produced = 0
        self._marks = {}
        self._stores.clear()
        self.epoch += 1

    def _find_first(self, holds: Holds, told: int | None) -> None:
        """Find the offset at which the stream begins.

        `told` is older than what the stream holds, so their difference is right while nothing comes in, and else
        too small: the largest is the nearest.
        """
        before, self.holds = self.holds, holds
        if before is not None and holds.messages < before.messages and self._first is not None:
            # The oldest messages were deleted. How many may have come in at the same time is not known.
            self._first = max((self.end or 0) - holds.messages, 0)
        if not holds.has_retention and self._first is None:
            self._first = 0
        if told is not None:
            self._first = max(told - holds.messages, self._first or 0)

    def _follow(self, tail: Tail, end: int, before: int) -> None:
        """Learn where messages end from a consumer that was sent all of them."""
        if self._last is not None and tail.offset < self._last:
            return  # its statistics are older, or the next look tells that the stream was made again
        self._last_at = self._at
        if tail.offset != self._last:
            self._last, self._empty_from, self._sure = tail.offset, None, before
        elif tail.last_is_message:
            # The consumer was counted after the look before, so it was sent all of that.
            self._sure = before
            if end == before:
                self._begin_empty(end)
        if tail.end == end:
            self._sure = end  # counted at the same moment, so it was sent all there is
        if self._empty_from is not None and not tail.last_is_message and tail.end >= end:
            self._empty += end - self._empty_from
            self._begin_empty(end)
        elif tail.end == end:
            self._begin_empty(end)

    def _begin_empty(self, end: int) -> None:
        self._empty_from = end
        while self._stores and self._stores[0] < self._at - STALE_SECONDS:
            self._stores.popleft()

    def _mark(self, *, is_current: bool) -> None:
        """Note where each consumer goes on that has stored an offset."""
        marks: dict[str, Mark] = {}
        for name, stored in self.stored.items():
            position = stored + 2  # what it stored is in the stream, too, after the message
            before = self._marks.get(name)
            if self._last is not None and stored >= self._last:
                is_late = before is not None and before.stored != stored and not is_current
                position = max(position, self._sure + is_late)
            if before is not None and before.stored == stored:
                position = max(position, before.position)
            marks[name] = Mark(stored, min(position, self.end or position))
        self._marks = marks
