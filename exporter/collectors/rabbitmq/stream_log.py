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

DIFFERENCES = 6
"""Looks of which the smallest estimate of the first offset is used, while messages keep coming."""
STORES = 1_000
"""Looks at which stored offsets had changed, of which it is remembered when."""
ENOUGH = 3
"""Estimates that make a first offset known, while messages keep coming."""
STALE_SECONDS = 6.0
"""How old what a stream holds may be, while stored offsets are of the present."""
QUIET_SECONDS = 10.0
"""After which all statistics are of the present, if none of them has changed: RabbitMQ takes them every 5 s."""


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
        self._is_exact = False
        self._told: int | None = None
        """The end that consumers told at the last look."""
        self._counted: tuple[int, int] | None = None
        """Messages and end at the last look."""
        self._same_since = 0.0
        """When they were first seen to be these."""
        self._differences: deque[int] = deque(maxlen=DIFFERENCES)
        self._last: int | None = None
        """Offset of the last chunk of messages that was seen."""
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
        if holds is not None:
            self._find_first(at, holds, end)
        told, self._told = self._told, end
        if self._counted_end is not None:
            self.end = max(self._before, self._counted_end)
        elif told is not None and end is not None:
            # Of a consumer that has just begun the offset is the next one, and what it tells is too large.
            self.end = max(self._before, min(told, end))

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
            return True
        fell = holds is not None and self.holds is not None and holds.messages < self.holds.messages
        return fell and holds is not None and not holds.has_retention

    def _begin_again(self) -> None:
        self.end = self._first = self._last = self.holds = self._counted = self._told = None
        self._is_exact = False
        self._differences.clear()
        self._empty_from = None
        self._sure = self._empty = self._produced = 0
        self._marks = {}
        self._stores.clear()
        self.epoch += 1

    def _find_first(self, at: float, holds: Holds, end: int | None) -> None:
        """Find the offset at which the stream begins.

        What a consumer tells and what the stream holds are counted at different moments, so their difference is right
        while nothing comes in. It may be too small by a chunk, and is the more right the larger it is.
        """
        before, self.holds = self.holds, holds
        if not holds.has_retention and self._first is None:
            self._first = 0
        if before is not None and holds.messages < before.messages:
            # The oldest messages were deleted. As many may have come in at the same time as is not known.
            self._is_exact = False
            self._differences.clear()
            if self._first is not None and self.end is not None:
                self._first = max(self.end - holds.messages, 0)
        counted = None if end is None else (holds.messages, end)
        if counted != self._counted:
            self._counted, self._same_since = counted, at
        if end is None:
            return
        difference = max(end - holds.messages, 0)
        self._differences.append(difference)
        if at - self._same_since >= QUIET_SECONDS:
            self._first = max(difference, self._first or 0) if self._is_exact else difference
            self._is_exact = True
        elif holds.has_retention and not self._is_exact and len(self._differences) >= ENOUGH:
            self._first = min(self._differences)

    def _follow(self, tail: Tail, end: int, before: int) -> None:
        """Learn where messages end from a consumer that was sent all of them."""
        if tail.offset != self._last:
            self._last, self._empty_from, self._sure = tail.offset, None, before
        elif tail.last_is_message:
            # The consumer was counted after the look before, so it was sent all of that.
            self._sure = before
            if end == before:
                self._begin_empty(end)
        elif tail.end >= end:
            # It was counted after all that is known had come, and still no message is after the chunk.
            if self._empty_from is not None:
                self._empty += end - self._empty_from
            self._sure = end
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
