"""Tracks one stream: the offset of its end, and the positions of stopped consumers.

The management API does not report where a stream ends. It reports how many messages a stream has,
and how far each consumer is from the end. Together these give the offset at which the stream
begins.

RabbitMQ writes each stored offset into the stream, where it takes an offset like a message. So
offsets after the last message may have no message at all. A consumer that has been sent everything
shows where the messages end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

STORES = 1_000
"""Largest number of remembered runs in which stored offsets had changed."""
STALE_SECONDS = 6.0
"""Largest age of RabbitMQ's statistics in seconds: it takes them every 5 s."""


class StreamSize(NamedTuple):
    """Number of messages in a stream.

    It is from the management API's statistics, which are some seconds old.
    """

    messages: int
    has_retention: bool
    """Whether RabbitMQ may delete its oldest messages."""


class Tail(NamedTuple):
    """A consumer that has been sent every message of the stream."""

    offset: int
    """Offset of the chunk that was sent to it last."""
    end: int
    """End of the stream when this was counted, including stored offsets; may be too small."""
    last_is_message: bool
    """Whether nothing came after that chunk, not even a stored offset."""


class Mark(NamedTuple):
    """Where a consumer continues after a restart."""

    stored: int
    """Offset of the last message that it has processed."""
    position: int
    """Offset below which nothing is left to process."""


class StreamLog:
    """Tracks one stream from run to run."""

    def __init__(self) -> None:
        self.end: int | None = None
        """Offset that the next message will get; None if unknown."""
        self.epoch = 0
        """Increased when the stream was deleted and created again."""
        self.stored: Mapping[str, int] = {}
        """Consumer name to the offset that it stored last; set by `store`."""
        self.is_stored_known = False
        """Whether the last attempt to read the stored offsets succeeded."""
        self.size: StreamSize | None = None
        self._first: int | None = None
        self._ends: deque[tuple[float, int]] = deque()
        """Time of the run, and the stream's end according to the consumers."""
        self._last: int | None = None
        """Offset of the last known chunk of messages."""
        self._last_at = 0.0
        """When a consumer last reported that chunk."""
        self._empty_from: int | None = None
        """Offset after that chunk from which on only stored offsets have come."""
        self._stores: deque[float] = deque(maxlen=STORES)
        """Times of runs in which stored offsets had changed, and so may have come after that
        offset.
        """
        self._sure = 0
        """An end of the stream up to which the consumer of that chunk had certainly been sent
        everything.
        """
        self._empty = 0
        """Number of offsets that are known to have no message."""
        self._produced = 0
        self._at = 0.0
        self._before = 0
        """Time of the last run, and the stream's end before it."""
        self._marks: dict[str, Mark] = {}

    def store(self, at: float, stored: Mapping[str, int]) -> None:
        """Note the offsets that are stored now."""
        changed = any(self.stored.get(name) != offset for name, offset in stored.items())
        if changed and self.is_stored_known:
            self._stores.append(at)
        self.stored, self.is_stored_known = stored, True

    def measure(self, at: float, size: StreamSize | None, end: int | None) -> None:
        """Find where the stream ends. `end` is the largest end that a consumer reports."""
        self._at = at
        if self._is_another(size, end):
            self._begin_again()
        self._before = self.end or 0
        told = self._told(at, end)
        if size is not None:
            self._find_first(size, told)
        known = [each for each in (told, self._counted_end) if each is not None]
        if known:
            self.end = max(self._before, *known)

    def _told(self, at: float, end: int | None) -> int | None:
        """Return where the stream ended some seconds ago according to its consumers.

        A consumer that has just started reports too large an end until its statistics are updated.
        So this is the smallest end of that time.
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
        """End of the stream according to its number of messages."""
        if self._first is None or self.size is None:
            return None
        return self._first + self.size.messages

    def is_last(self, offset: int, end: int) -> bool:
        """Return whether only stored offsets come after the chunk at `offset`.

        `end` is its consumer's end of the stream.
        """
        if offset != self._last or self._empty_from is None or self.end is None or end < self.end:
            return False
        return self.end - self._empty_from <= len(self._stores)

    def follow(self, tail: Tail | None) -> None:
        """Learn from a consumer that was sent all messages, if there is one."""
        counted = self._counted_end
        # A consumer that has just started reports the end instead of its last chunk.
        knows = tail is not None and counted is not None and tail.offset < counted
        if tail is not None and self.end is not None and knows:
            self._follow(tail, self.end, self._before)
        self._mark(is_current=knows)

    @property
    def produced(self) -> int:
        """Number of published messages.

        Offsets without a message are excluded as far as they are known.
        """
        self._produced = max(self._produced, (self.end or 0) - self._empty)
        return self._produced

    def waiting(self, name: str) -> int | None:
        """Return an upper bound on the messages that a stopped consumer has not processed.

        None if unknown.
        """
        mark = self._marks.get(name)
        if mark is None or self.end is None:
            return None
        return max(self.end - mark.position, 0)

    def _is_another(self, size: StreamSize | None, end: int | None) -> bool:
        """Return whether the stream was deleted and created again: its end went back."""
        if end is not None and self._last is not None and end <= self._last:
            # Another consumer's statistics may be older than those that reported the chunk.
            return self._at - self._last_at >= STALE_SECONDS
        fell = size is not None and self.size is not None and size.messages < self.size.messages
        return fell and size is not None and not size.has_retention

    def _begin_again(self) -> None:
        self.end = self._first = self._last = self.size = None
        self._ends.clear()
        self._empty_from = None
        self._sure = self._empty = self._produced = 0
        self._marks = {}
        self._stores.clear()
        self.epoch += 1

    def _find_first(self, size: StreamSize, told: int | None) -> None:
        """Find the offset at which the stream begins.

        `told` is older than the number of messages. Their difference is right while nothing is
        published, and otherwise too small, so the largest is the best.
        """
        before, self.size = self.size, size
        if before is not None and size.messages < before.messages and self._first is not None:
            # The oldest messages were deleted. It is unknown how many were published at the same
            # time.
            self._first = max((self.end or 0) - size.messages, 0)
        if not size.has_retention and self._first is None:
            self._first = 0
        if told is not None:
            self._first = max(told - size.messages, self._first or 0)

    def _follow(self, tail: Tail, end: int, before: int) -> None:
        """Learn where messages end from a consumer that was sent all of them."""
        if self._last is not None and tail.offset < self._last:
            return  # its statistics are older, or the next run shows that the stream was recreated
        self._last_at = self._at
        if tail.offset != self._last:
            self._last, self._empty_from, self._sure = tail.offset, None, before
        elif tail.last_is_message:
            # The consumer was counted after the last run, so it was sent all messages up to then.
            self._sure = before
            if end == before:
                self._begin_empty(end)
        if tail.end == end:
            self._sure = end  # counted at the same time, so it was sent everything
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
        """Note where each consumer with a stored offset continues."""
        marks: dict[str, Mark] = {}
        for name, stored in self.stored.items():
            position = stored + 2  # its stored offset is itself in the stream, after the message
            before = self._marks.get(name)
            if self._last is not None and stored >= self._last:
                is_late = before is not None and before.stored != stored and not is_current
                position = max(position, self._sure + is_late)
            if before is not None and before.stored == stored:
                position = max(position, before.position)
            marks[name] = Mark(stored, min(position, self.end or position))
        self._marks = marks
